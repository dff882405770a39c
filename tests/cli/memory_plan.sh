# What the plan promises is what a training takes: private memory is no more
# than planned and no less than 85 % of it; all of it stays within the budget,
# however small, and the adapter is the same. Texts fill their sequences; and
# memory counts only where the program itself writes to it.
unset MALLOC_PERTURB_
toy=$QL_SOURCE/tests/cli/toy.py
python3 "$toy" texts 12 600 >data.jsonl
python3 "$toy" texts 24 70 20 >asked.jsonl

# run NAME MODEL OPTION...: trains two steps, checks the promise
run() {
    name=$1 model=$2
    shift 2
    qlora-train --model "$model" --data data.jsonl --output "$name" --json \
        --quiet --max-steps 2 --gradient-accumulation-steps 1 \
        --sample-prompts 0 "$@" \
        >"$name.json"
    python3 - "$name" <<'END'
import json
import sys

rows = [json.loads(r) for r in open(sys.argv[1] + '.json', encoding='utf-8')]
plan = rows[0]['memory_plan']
took = rows[-1]['peak_anonymous_bytes']
share = took / plan['anonymous']
print(sys.argv[1], took, plan['anonymous'], f'{share:.3f}')
assert share <= 1, (share, plan)
assert share >= 0.85 or sys.argv[1] == 'log', (share, plan)
assert rows[-1]['peak_rss_bytes'] <= plan['peak'], rows
assert 0 < rows[-1]['peak_file_bytes'] <= plan['mapped'] + plan['files'], rows
assert plan['total'] <= plan['budget'], plan
END
}

# field NAME KEY: of the plan
field() {
    python3 -c 'import json, sys
print(json.loads(open(sys.argv[1] + ".json").readline())["memory_plan"][
    sys.argv[2]])' "$1" "$2"
}

# shapes, lengths, ranks; what is kept; optimizers and methods
for shape in 'hidden=320 layers=2' 'hidden=192 layers=5'; do
    rm -rf toy toy4
    # shellcheck disable=SC2086
    python3 "$toy" model toy $shape
    qlora-quantize toy toy4 --quiet >/dev/null
    for length in 192 512; do
        for rank in 8 64; do
            keep=true
            [ "$rank" = 64 ] || keep=false
            case=$(echo "$shape-$length-$rank" | tr ' =' '--')
            run "$case" toy4 --max-length "$length" --lora-r "$rank" \
                --gradient-checkpointing $keep
        done
    done
done
run samples toy4 --max-length 96 --sample-prompts 1
run whole toy --max-length 256
run sixteen toy --max-length 256 --method lora
run eight toy4 --max-length 256 --optim adamw_8bit --lora-r 32
for length in 256 768; do
    run "full-$length-keep" toy --method full --max-length "$length" \
        --gradient-checkpointing false
    run "full-$length-repeat" toy --method full --max-length "$length" \
        --gradient-checkpointing true
    cmp "full-$length-keep/model.safetensors" \
        "full-$length-repeat/model.safetensors"
done
run full-eight toy --method full --max-length 256 --optim adamw_8bit
run full-bf16 toy --method full --max-length 256 --dtype bfloat16 \
    --optim adamw_torch
rm -rf wide
python3 "$toy" model wide hidden=64 layers=1 dtype=F32 spare=60000
run full-embedding wide --method full --max-length 64 --dtype bfloat16
run full-wide wide --method full --max-length 64 --optim adamw_8bit
run dora toy4 --max-length 256 --use-dora
run batches toy4 --max-length 128 --per-device-train-batch-size 3
run accumulated toy4 --max-length 256 --gradient-accumulation-steps 3
run unpacked toy4 --max-length 192 --no-packing --per-device-train-batch-size 2
run saved toy4 --max-length 192 --modules-to-save embed_tokens,lm_head
run pissa toy --max-length 192 --init-lora-weights pissa_niter_2 --lora-r 32
run loftq toy --max-length 192 --init-lora-weights loftq --lora-r 8
run asked toy4 --data asked.jsonl --max-length 256
run evaluated toy4 --max-length 256 --eval-split 3
run sixteen-bits toy4 --max-length 384 --activation-dtype bf16 --lora-r 16

# so small a model that what is kept ready for reports is the most of it
head -n 4 data.jsonl >few.jsonl
rm -rf toy
python3 "$toy" model toy hidden=64 layers=1
run log toy --data few.jsonl --max-length 16 --lora-r 8 --max-steps 1500 \
    --logging-steps 1 --save-steps 1000

# less and less: some layers are kept, none, the optimizer is paged, weights
# are read layer by layer; then it is refused before anything is written
run all toy4 --max-length 384 --lora-r 64
[ "$(field all keep_layers)" = 5 ]
total=$(field all total)
activations=$(field all activations)
run some toy4 --max-length 384 --lora-r 64 --memory $((total - activations / 3))
kept=$(field some keep_layers)
[ "$kept" -gt 0 ] && [ "$kept" -lt 5 ]
run none toy4 --max-length 384 --lora-r 64 --gradient-checkpointing
lean=$(field none total)
run paged toy4 --max-length 384 --lora-r 64 --memory $((lean - 1000000))
[ "$(field paged keep_layers)" = 0 ]
[ "$(field paged page_file)" -gt 0 ]
for other in some none paged; do
    cmp all/adapter_model.safetensors "$other/adapter_model.safetensors"
done

# inputs go through a file, which changes nothing; in 16 bits they take half
rm -rf toy toy4
python3 "$toy" model toy hidden=128 layers=10
qlora-quantize toy toy4 --quiet >/dev/null
set -- --max-length 512 --lora-r 8 --optim adamw_8bit --gradient-checkpointing
run inputs toy4 "$@"
run file toy4 "$@" --memory $(($(field inputs total) - 900000))
[ "$(field file activation_file)" -gt 0 ]
[ "$(field file weight_memory)" = 0 ]
cmp inputs/adapter_model.safetensors file/adapter_model.safetensors
run half toy4 "$@" --activation-dtype bf16
[ "$(field half activations)" -lt $(($(field inputs activations) - 900000)) ]

# magnitudes are made of all weights, and what is trained whole begins as the
# weights; neither keeps these in memory
rm -rf toy
python3 "$toy" model toy hidden=512 layers=8
set -- --max-length 64 --method lora --lora-r 2
run magnitudes toy "$@" --use-dora
run streamed toy "$@" --use-dora --memory 40M
[ "$(field streamed weight_memory)" -gt 0 ]
cmp magnitudes/adapter_model.safetensors streamed/adapter_model.safetensors
run blocks toy "$@" --modules-to-save down_proj --lora-target-modules q_proj

# a norm behind the feed-forward layer: what goes into it is kept, as far as
# there is room, in all layers but the last, which repeats nothing
rm -rf toy toy4
python3 "$toy" model toy hidden=192 layers=5 family=gemma2
qlora-quantize toy toy4 --quiet >/dev/null
set -- --max-length 512 --lora-r 8 --gradient-checkpointing
run outputs toy4 "$@"
[ "$(field outputs keep_outputs)" = 4 ]
run fewer toy4 "$@" --memory $(($(field outputs total) - 900000))
kept=$(field fewer keep_outputs)
[ "$kept" -gt 0 ] && [ "$kept" -lt 4 ]
run neither toy4 "$@" --memory $(($(field outputs total) - 1800000))
[ "$(field neither keep_outputs)" = 0 ]
for other in fewer neither; do
    cmp outputs/adapter_model.safetensors "$other/adapter_model.safetensors"
done
qlora-train --model toy4 --data data.jsonl --output dry --dry-run --quiet \
    "$@" | grep -q '^  but for what goes into the last norm in 4 of these$'

code=0
qlora-train --model toy4 --data data.jsonl --output tight --max-length 512 \
    --memory 8M >out.txt 2>err.txt || code=$?
[ "$code" = 4 ]
[ ! -e tight ]
tail -n 1 err.txt | grep -q 'more than the 8.0 MiB that it may have (--memory)'

# a model that must be quantized is not begun with
code=0
qlora-train --model toy --data data.jsonl --output tight --memory 5M \
    >out.txt 2>err.txt || code=$?
[ "$code" = 4 ]
tail -n 1 err.txt | grep -q 'toy: loading the model takes .* (--memory); a fold'

# a dry run shows the table and writes nothing
qlora-train --model toy4 --data data.jsonl --output dry --dry-run --quiet \
    >table.txt
grep -q '^memory plan:$' table.txt
grep -q '^  gradients  ' table.txt
[ ! -e dry ]
for dry in --dry-run --no-dry-run; do
    qlora-train --model toy4 --data data.jsonl --output dry --quiet --json \
        --max-steps 1 $dry | grep -o '"trainable_parameters": [1-9][0-9]*' \
        >"params$dry"
done
cmp params--dry-run params--no-dry-run
