opt_demo --config nowhere.yaml
