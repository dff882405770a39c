# A run may go on with its optimizer's state elsewhere: from memory to a page
# file and back, in 32 and in 8 bits, to the same bits.
toy=$QL_SOURCE/tests/cli/toy.py
python3 "$toy" model d hidden=192 layers=2
yes '{"text": "the cat sat on the mat, and the dog ran to the sea."}' |
    head -n 30 >data.jsonl

# train OUT OPTION...: six steps, with a checkpoint after the third
train() {
    out=$1
    shift
    qlora-train --model d --data data.jsonl --output "$out" --json \
        --max-steps 6 --save-steps 3 --gradient-accumulation-steps 1 \
        --lora-r 64 --sample-prompts 0 --max-length 64 "$@" >"$out.json" \
        2>"$out.err"
}

# paged OUT: bytes in its page file
paged() {
    python3 -c 'import json, sys
print(json.loads(open(sys.argv[1] + ".json").readline())["memory_plan"][
    "page_file"])' "$1"
}

# other FROM OUT OPTION...: goes on after the third step of another run
other() {
    from=$1 out=$2
    shift 2
    mkdir "$out"
    cp -R "$from/checkpoint-3" "$out"
    train "$out" "$@"
    grep -q "going on from $out/checkpoint-3" "$out.err"
    cmp "$from/adapter_model.safetensors" "$out/adapter_model.safetensors"
    cmp "$from/checkpoint-6/optimizer.bin" "$out/checkpoint-6/optimizer.bin"
}

for bits in 32 8; do
    least=2500000
    [ $bits = 32 ] || least=900000
    train "memory$bits" --optim adamw_${bits}bit
    train "file$bits" --optim paged_adamw_${bits}bit --optimizer-memory $least
    [ "$(paged "memory$bits")" = 0 ]
    [ "$(paged "file$bits")" -gt 0 ]
    cmp "memory$bits/adapter_model.safetensors" \
        "file$bits/adapter_model.safetensors"
    other "memory$bits" "out$bits" --optim paged_adamw_${bits}bit \
        --optimizer-memory $least
    [ "$(paged "out$bits")" -gt 0 ]
    other "file$bits" "in$bits" --optim adamw_${bits}bit
    [ "$(paged "in$bits")" = 0 ]
done
