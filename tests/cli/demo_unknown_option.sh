opt_demo --model x --lora-rnk 8
