opt_demo --lora-r 8 --help
