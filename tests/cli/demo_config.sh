opt_demo --model 'my model' --no-packing --lora_r=8 > run.yaml
opt_demo --config run.yaml
opt_demo --config run.yaml --lora-rank 4
