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

# What is read is not replaced: not an adapter that lies where a model is to be.
cp -R d run
cp -R a run/adapter
: >run/Modelfile
inside="run would be replaced, but run/adapter is the same folder or lies in *"
export_ 2 "$inside" --adapter run/adapter --output run --force
refuse 2 "$inside" qlora-export ollama --model d --adapter run/adapter \
    --output run --force --quiet
cp run/config.json run/Modelfile run/adapter
inside="run/adapter would be replaced, but run/adapter is the same folder *"
export_ 2 "$inside" --adapter run/adapter --output run/adapter --force
refuse 2 "$inside" qlora-export ollama --model d --adapter run/adapter \
    --output run/adapter --force --quiet
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
cp d/model.safetensors kept
gguf 2 "d/model.safetensors is no GGUF file and is not replaced; *" \
    --output d/model.safetensors --force
refuse 2 "a/adapter_model.safetensors is no GGUF file and is not replaced; *" \
    qlora-export gguf --model d --adapter a --force \
    --output a/adapter_model.safetensors
cmp d/model.safetensors kept
accept qlora-export gguf-adapter --model d --adapter a --output there.gguf \
    --force

# Options that do nothing.
gguf 2 "--base has no meaning here: gguf-adapter writes no weights" \
    --base dequantized
gguf 2 "--quant-type has no meaning here: *" --quant-type fp4
gguf 2 "--double-quant has no meaning here: *" --no-double-quant
refuse 2 "--max-shard-size has no meaning here: only merge *" \
    qlora-export gguf --model d --output o.gguf --max-shard-size 1KB
refuse 2 "--compare has no meaning here: only merge *" \
    qlora-export ollama --model d --adapter a --output o --compare

# The model beside an adapter is the one that it was trained on.
beside() {
    model=$1
    shift
    qlora-export gguf-adapter --model "$model" --adapter a --output there.gguf \
        --force --json "$@" >report.json 2>said.txt
    ! grep -q '"base"' report.json || exit 1
}
told="qlora-export gguf --model d --base dequantized --output FILE"
beside d
grep -q -e "$told\$" said.txt
beside d4
! grep -q -e "--base" said.txt || exit 1
cp a/run.yaml run.yaml
sed -i -e 's/^quant_type: .*/quant_type: fp4/' \
    -e 's/^double_quant: .*/double_quant: false/' a/run.yaml
beside d
grep -q -e "--base dequantized --quant-type fp4 --no-double-quant " said.txt
echo 'method: lora' >a/run.yaml
beside d
! grep -q -e "--base" said.txt || exit 1
mv run.yaml a/run.yaml
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

# Nor does a model that is not whole, which generate refuses by the same words.
broken() {
    refuse 3 "*$1" generate
    refuse 3 "$1" qlora-export gguf --model d --output o.gguf --quiet
    refuse 3 "${2-$1}" \
        qlora-export ollama --model d --adapter a --output o --quiet
    refuse 3 "$1" qlora-export merge --model d --adapter a --output o --quiet
    damaged
}
damaged
for name in model.layers.1.mlp.up_proj.weight model.norm.weight; do
    toy drop d/model.safetensors "$name"
    broken "d: the model has no tensor $name"
done
toy shards d
rm d/model.safetensors.index.json d/model-00002-of-00002.safetensors
broken "d: the model has no tensor model.*"
toy set d/config.json num_hidden_layers 3
broken "d: the model has no tensor model.layers.2.*" \
    "*model.layers.2.*the adapter was made for another model"
toy set d/config.json attention_bias true
broken "d: the model has no tensor model.layers.0.self_attn.*.bias"
toy set d/config.json tie_word_embeddings false
broken "d: the model has no tensor lm_head.weight"
toy set d/config.json vocab_size 99
broken "d: tensor model.embed_tokens.weight: shape * does not fit config.json*"
toy set d/config.json head_dim 8
broken "d: *config.json*" "*the adapter was made for another model"

# llama.cpp has no tokenizer of bytes that merges nothing.
toy set d/tokenizer.json pre_tokenizer \
    '{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}'
toy set d/tokenizer.json decoder '{"type": "ByteLevel"}'
toy set d/tokenizer.json normalizer null
toy set d/tokenizer.json post_processor null
accept qlora-export gguf --model d --output bytes.gguf --quiet
toy set d/tokenizer.json model.merges '[]'
refuse 3 "*the tokenizer has no merges, *" \
    qlora-export gguf --model d --output o.gguf --quiet

rm -rf d
cp -R "$QL_SOURCE/tools/demo/stories260K" d
toy zeros d/model.safetensors model.layers.1.self_attn.rotary_emb.cos_cached \
    F32 8
accept qlora-export gguf --model d --output o.gguf --quiet

# Folders above the output are made.
accept qlora-export gguf --model d --output new/sub/o.gguf --quiet
cmp o.gguf new/sub/o.gguf
refuse 2 "--output is empty" qlora-export gguf --model d --output ""
