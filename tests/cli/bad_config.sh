# What config.json may say wrong: unknown, absurd, or quantized otherwise.
. "$QL_SOURCE/tests/cli/refuse.sh"

c=d/config.json

# all CODE PATTERN: the commands say the same of d, which is then repaired.
all() {
    refuse "$1" "$2" qlora-quantize d out
    refuse "$1" "$2" train
    refuse "$1" "$2" generate
    damaged
}

# wrong KEY VALUE PATTERN
wrong() {
    toy set $c "$1" "$2"
    all 3 "*$3"
}

echo '{"model_type": "llama"' >$c
all 3 "$c: not valid JSON: *"
echo '[]' >$c
all 3 "$c: must be a JSON object"
wrong model_type - "$c: \"model_type\" is missing"
wrong model_type '"parrot"' \
    "$c: architecture \"parrot\" is not supported; known are: llama,*"
wrong model_type '"mixtral"' \
    "$c: architecture \"mixtral\" is not supported: it is a mixture of exp*"
wrong model_type '"gemma3"' \
    "$c: architecture \"gemma3\" is not supported: it is a model with a vis*"
wrong num_local_experts 8 \
    "$c: \"num_local_experts\" is set: a mixture of experts is not supported"
wrong vision_config '{"hidden_size": 8}' \
    "$c: \"vision_config\" is set: a model with a vision tower is not supported"
wrong alibi true \
    "$c: \"alibi\" is set: a model with ALiBi positions is not supported"
wrong layer_types '["full_attention"]' \
    "$c: \"layer_types\" must be a list of 2 entries"
wrong layer_types '["full_attention", "sliding_attention"]' \
    "$c: \"layer_types\"\[1\] is \"sliding_attention\", which is not *llama"
wrong partial_rotary_factor 0.5 \
    "$c: \"partial_rotary_factor\" 0.5 is not supported for llama, only 1"
wrong model_type 7 "$c: \"model_type\" must be a string"
wrong hidden_size - "$c: \"hidden_size\" is missing or 0"
wrong hidden_size 0 "$c: \"hidden_size\" is missing or 0"
wrong hidden_size -64 \
    "$c: \"hidden_size\" must be a whole number, not negative"
wrong hidden_size '"64"' "$c: \"hidden_size\" must be a whole number,*"
wrong hidden_size 1e6 "$c: \"hidden_size\" must be a whole number,*"
wrong hidden_size 9223372036854775807 \
    "$c: \"hidden_size\" is 9223372036854775807, but at most *"
wrong hidden_size 1000000 \
    "d: tensor model.embed_tokens.weight: shape *needs \[*, 1000000\]"
wrong intermediate_size 4000000 \
    "d: tensor model.layers.0.mlp.gate_proj.weight: shape *\[4000000, 64\]"
wrong vocab_size 16000000 \
    "d: tensor model.embed_tokens.weight: shape *\[16000000, 64\]"
wrong num_hidden_layers 3 \
    "d: the model has no tensor model.layers.2.input_layernorm.weight"
wrong num_hidden_layers 4000 \
    "d: the model has no tensor model.layers.2.input_layernorm.weight"
wrong num_hidden_layers 100000 \
    "$c: \"num_hidden_layers\" is 100000, but at most *"
wrong num_attention_heads 3 "$c: 3 attention heads cannot share 2 key/value*"
wrong num_attention_heads 6 "$c: hidden_size 64 is no multiple of 6 heads"
wrong head_dim 15 "$c: head_dim 15 is odd"
wrong head_dim 16000 \
    "d: tensor model.layers.0.self_attn.q_proj.weight: shape *"
wrong max_position_embeddings 0 \
    "$c: \"max_position_embeddings\" is missing or 0"
wrong rms_norm_eps 2 "$c: \"rms_norm_eps\" is absurd"
wrong rope_theta 0 "$c: \"rope_theta\" must be greater than 1"
wrong rope_scaling '{"rope_type": "spiral"}' \
    "$c: rope type \"spiral\" is not supported"
wrong rope_scaling '{"rope_type": "linear", "factor": 0}' \
    "$c: rope \"factor\" must be at least 1"
wrong hidden_act '"relu6"' "$c: activation \"relu6\" is not supported"
wrong torch_dtype '"float8"' "$c: dtype \"float8\" is not supported"
wrong tie_word_embeddings false "d: the model has no tensor lm_head.weight"
wrong tie_word_embeddings 1 "$c: \"tie_word_embeddings\" must be true or false"
wrong quantization_config '{"quant_method": "gptq", "bits": 4}' \
    "$c: weights quantized by \"gptq\" are not supported; use the original*"
wrong quantization_config \
    '{"quant_method": "bitsandbytes", "load_in_8bit": true}' \
    "$c: bitsandbytes 8-bit weights are not supported; use the original *"
wrong quantization_config 4 "$c: \"quantization_config\" must be an object"

# In 4 bits: no input for qlora-quantize, and damaged where it is
accept qlora-quantize m q4
refuse 3 "q4: the model is quantized already; give the original" \
    qlora-quantize q4 out
s=model.layers.0.self_attn.q_proj.weight
w=d/model.safetensors
q4() {
    rm -rf d
    cp -R q4 d
}
# four PATTERN
four() {
    refuse 3 "$1" train
    refuse 3 "$1" generate
    q4
}
q4
toy drop $w $s.absmax
four "d: the model has no tensor $s.absmax"
toy zeros $w $s.absmax U8 63
four "d: tensor $s.absmax: must be 64 elements of U8"
toy zeros $w $s U8 100 1
four "d: tensor $s: 100 bytes, but \[64, 64\] in 4 bits needs 2048"
toy zeros $w $s.quant_state.bitsandbytes__nf4 U8 10
four "d: $s.quant_state.bitsandbytes__nf4: not valid JSON: *"
