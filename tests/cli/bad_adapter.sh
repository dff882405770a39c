# Adapters that are missing, damaged, or of another model; and prompts.
. "$QL_SOURCE/tests/cli/refuse.sh"

accept train
mv out good
a=a/adapter_model.safetensors
c=a/adapter_config.json
name=base_model.model.model.layers.0.self_attn.q_proj

# adapter CODE PATTERN: of adapter a, which is then repaired.
adapter() {
    refuse "$1" "$2" generate --adapter a
    rm -rf a
    cp -R good a
}

adapter 3 "a: no such folder; give a folder with a LoRA adapter"
accept generate --adapter a
rm $c
adapter 3 "cannot open $c: No such file or directory"
rm $a
adapter 3 "cannot open $a: No such file or directory"
rm -r a
: >a
adapter 3 "a: a file, not a folder; give a folder with a LoRA adapter"
toy cut $a -4
adapter 3 "$a: the file is truncated: *"
toy cut $c 30
adapter 3 "$c: not valid JSON: *"
toy drop $a $name.lora_A.weight
adapter 3 "$a: ${name#*.*.} must have a lora_A"
toy zeros $a $name.lora_B.weight F32 60 16
adapter 3 "$a: $name.lora_B.weight must be there with shape \[64, 16\]; *"
toy zeros $a extra F32 3
adapter 3 "$a: extra is not a name that PEFT gives"
toy poke $a $name.lora_B.weight 5 nan
adapter 3 "$a: $name.lora_B.weight: a number is not finite; the adapter *"
toy set $c r 8
adapter 3 "$a: * has rank 16, but adapter_config.json says 8"
toy set $c r 0
adapter 3 "$c: LoRA rank 0: must be a number from 1 to 16384"
toy set $c r 4000000000
adapter 3 "$c: LoRA rank 4000000000: must be a number from 1 to 16384"
toy set $c lora_alpha '"32"'
adapter 3 "$c: \"lora_alpha\" must be a number"
toy set $c use_dora true
adapter 3 "$a: * must have 64 magnitudes, since \"use_dora\" of * is set"
toy set $c peft_type '"IA3"'
adapter 3 "$c: \"peft_type\" is \"IA3\", but of PEFT's * only LORA is read"
toy set $c trainable_token_indices '[5]'
adapter 3 "$c: \"trainable_token_indices\" is set, so * changes *; merge *"
toy set $c init_lora_weights '"pissa"'
adapter 3 "$c: \"init_lora_weights\" is \"pissa\", which belongs to a changed *"
mv $a a/adapter_model.bin
adapter 3 "a/adapter_model.bin: a pickle, which may run code and is not read; *"
toy set $c target_modules '["wqkv"]'
adapter 3 "$a: *_proj is adapted, but \"target_modules\", *do not ask for it"

# Of a model with another width, and with more layers
toy model wide hidden=32
refuse 3 "$a: * must be there with shape *; the adapter was made for another*" \
    generate --model wide --adapter a
toy model tall layers=3
refuse 3 "$a: *layers.2.* must be there, *; the adapter was made for another*" \
    generate --model tall --adapter a

# Prompts
accept generate --prompt ""
toy set d/tokenizer.json post_processor null
toy set d/tokenizer_config.json bos_token null
refuse 2 "the prompt is empty and the model has no token to begin with; *" \
    generate --prompt ""
damaged
toy set d/config.json max_position_embeddings 4
refuse 2 "the prompt has * tokens, but the model was made for 4, *shorten it" \
    generate --prompt "a b c d e f"
damaged
refuse 3 "the text is not UTF-8 at byte 1" \
    generate --prompt "$(printf 'a\377b')"
refuse 2 "top-p 0: give a number above 0, at most 1" generate --top-p 0

# What options ask for and the model has not, before it is loaded
refuse 2 \
    "lora-target-modules: \"x_proj\" is no module of this model, *lm_head" \
    train --lora-target-modules q_proj,x_proj
refuse 2 "modules-to-save: \"score\" is no module of this model, *" \
    train --modules-to-save score
refuse 2 "layers-to-transform: \"9\" is no layer; there are 0 to 1" \
    train --layers-to-transform 0,9
refuse 2 "rank-pattern: \"q_proj\" must be PATTERN=NUMBER, such as q_proj=8" \
    train --rank-pattern q_proj
