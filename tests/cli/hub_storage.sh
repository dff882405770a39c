# 4-bit folders as they are on the hub: packed weights stored as other types,
# some modules left dense, larger blocks without double quantization. Each is
# written with, trained, merged and exported as it is.
demo=$QL_SOURCE/tools/demo
toy="python3 $QL_SOURCE/tests/cli/toy.py"

train() { # HOME OUT
    (cd "$1" && qlora-train --model model --data "$demo/plays.jsonl.gz" \
        --output "$2" --max-length 64 --max-steps 2 --lora-r 4 \
        --per-device-train-batch-size 2 --gradient-accumulation-steps 1 \
        --quiet > train.txt)
}

# The text, the merged model and the GGUF file of a folder and its adapter.
serve() { # HOME
    (cd "$1"
        qlora-generate --model model --adapter adapter --prompt ROMEO: \
            --temperature 0 --max-new-tokens 12 > text.txt
        qlora-export merge --model model --adapter adapter --output merged \
            --type f32 --quiet > merge.txt
        qlora-export gguf --model model --adapter adapter \
            --output all.gguf --type f16 --quiet > gguf.txt)
}

same() { # HOME HOME
    cmp "$1/adapter/adapter_model.safetensors" \
        "$2/adapter/adapter_model.safetensors"
    cmp "$1/text.txt" "$2/text.txt"
    cmp "$1/merged/model.safetensors" "$2/merged/model.safetensors"
    cmp "$1/all.gguf" "$2/all.gguf"
}

quantize() { # HOME OPTION...
    home=$1
    shift
    mkdir "$home"
    qlora-quantize "$demo/stories260K" "$home/model" --quiet "$@" > /dev/null
    train "$home" adapter
    serve "$home"
}

quantize plain
grep -q . plain/text.txt
for dtype in BF16 F16 F32 I8; do
    mkdir "as_$dtype"
    cp -R plain/model "as_$dtype/model"
    $toy storage "as_$dtype/model/model.safetensors" "$dtype"
    ! cmp -s plain/model/model.safetensors \
        "as_$dtype/model/model.safetensors" || exit 1
    train "as_$dtype" adapter
    serve "as_$dtype"
    same plain "as_$dtype"
done

# Modules that are dense are exact: the merged weights are those of the model.
quantize dense --skip-modules lm_head,self_attn,model.layers.1.mlp.down_proj
grep -q '"self_attn"' dense/model/config.json
test "$(grep -c '"lm_head"' dense/model/config.json)" = 1
test "$(stat -c %s dense/model/model.safetensors)" -gt \
    "$(stat -c %s plain/model/model.safetensors)"

quantize wide --block-size 256 --no-double-quant --quant-type fp4
grep -q '"fp4"' wide/model/config.json
for home in dense wide; do
    ! cmp -s plain/merged/model.safetensors $home/merged/model.safetensors ||
        exit 1
    qlora-generate --model $home/merged --no-quantize --prompt ROMEO: \
        --temperature 0 --max-new-tokens 12 > $home/again.txt
    cmp $home/text.txt $home/again.txt
done

# An entry that keeps nothing is told.
qlora-quantize "$demo/stories260K" idle --skip-modules lm_head,down_proj,mlp \
    > /dev/null 2> said.txt
grep -q "no linear layer is kept by 'down_proj'" said.txt
! grep -q "'lm_head'\|'mlp'" said.txt || exit 1
