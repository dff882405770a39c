# The steps of tools/demo/run.sh, shortened: the evaluation loss falls, and the
# adapter changes what the model writes.
demo=$QL_SOURCE/tools/demo
qlora-quantize "$demo/stories260K" nf4 --verify --quiet
qlora-train --model nf4 --data "$demo/plays.jsonl.gz" \
    --eval-data "$demo/plays-eval.jsonl.gz" --output adapter --quiet \
    --max-length 128 --max-steps 12 --per-device-train-batch-size 8 \
    --gradient-accumulation-steps 1 --learning-rate 1e-2 --max-grad-norm 1 \
    > result.txt
cat result.txt
sed -n 's/^eval loss: *\([0-9.]*\) -> \([0-9.]*\)$/\1 \2/p' result.txt |
    awk '{ fell += $2 < $1 - 0.5 } END { exit fell != 1 }'
test -s adapter/adapter_model.safetensors
test -s adapter/adapter_config.json
# The header, steps 1, 10 and 12, two evaluations.
test "$(wc -l < adapter/metrics.csv)" -eq 6

generate() {
    qlora-generate --quiet --model nf4 --prompt ROMEO: --temperature 0 \
        --max-new-tokens 20 "$@"
}
generate > before.txt
generate --adapter adapter > after.txt
grep -q '^ROMEO:' before.txt
grep -q '^ROMEO:' after.txt
if cmp -s before.txt after.txt; then
    echo "the adapter changes nothing"
    exit 1
fi

# The settings that were left beside the adapter repeat the run, bit for bit.
qlora-train --config adapter/run.yaml --output again --quiet > /dev/null
cmp adapter/adapter_model.safetensors again/adapter_model.safetensors
