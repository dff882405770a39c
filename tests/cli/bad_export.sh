# What qlora-export refuses.
. "$QL_SOURCE/tests/cli/refuse.sh"

accept train
mv out a
export_() {
    code=$1 pattern=$2
    shift 2
    refuse "$code" "$pattern" qlora-export merge --model d --adapter a \
        --output o --quiet "$@"
}
refuse 2 "FORM is missing: what to make" qlora-export
refuse 2 "FORM cannot be 'fuse': it takes *" \
    qlora-export fuse --model d --adapter a --output o
export_ 3 "nowhere: no such folder; give a folder with a LoRA adapter" \
    --adapter nowhere
export_ 3 "nowhere: no such folder; give a Hugging Face model folder" \
    --model nowhere
export_ 2 "d would be replaced, *" --output d --force
export_ 2 "a exists already; name another folder or use --force" --output a
export_ 2 "a holds something else, for there is no config.json in it; *" \
    --output a --force
toy model wide hidden=32
export_ 3 "*the adapter was made for another model" --model wide
accept qlora-quantize d d4
export_ 2 "d4 is in 4 bits: its original weights are not there; *" \
    --model d4 --base original

cp a/adapter_config.json good.json
cp -R wide wide2
rm wide2/tokenizer.json
toy set a/adapter_config.json use_qalora true
export_ 3 "*: \"use_qalora\" is set, so * averages *; merge it by PEFT*"
cp good.json a/adapter_config.json
gguf() {
    code=$1 pattern=$2
    shift 2
    refuse "$code" "$pattern" qlora-export gguf-adapter --model d \
        --adapter a --output o.gguf --quiet "$@"
}
refuse 2 "--adapter is missing" \
    qlora-export gguf-adapter --model d --output o.gguf
gguf 2 "a is a folder; name a file" --output a
accept qlora-export gguf-adapter --model d --adapter a --output there.gguf
gguf 2 "there.gguf exists already; name another file or use --force" \
    --output there.gguf
gguf 3 "*the adapter was made for another model" --model wide
refuse 3 "*tokenizer.json*" qlora-export gguf --model wide2 --output o.gguf
refuse 2 "d holds something else, for there is no Modelfile in it; *" \
    qlora-export ollama --model m --adapter a --output d --force --quiet
export_ 2 "folders of weights in Q8_0 cannot be written: choose --type f32, *" \
    --type q8_0

# Parts that the architecture has not go into no file.
for name in lm_head.bias model.norm.bias model.layers.0.mlp.up_proj.scales \
    model.layers.0.input_layernorm.bias; do
    damaged
    toy zeros d/model.safetensors "$name" F32 8
    refuse 3 "*tensor $name: *not supported" \
        qlora-export gguf --model d --output o.gguf --quiet
done
damaged
toy zeros d/model.safetensors model.layers.1.self_attn.q_proj.bias F32 8
refuse 3 "*tensor model.layers.1.self_attn.q_proj.bias: *no bias" \
    qlora-export gguf --model d --output o.gguf --quiet
rm -rf d
cp -R "$QL_SOURCE/tools/demo/stories260K" d
toy zeros d/model.safetensors model.layers.1.self_attn.rotary_emb.cos_cached \
    F32 8
accept qlora-export gguf --model d --output o.gguf --quiet
