# Every line that a command writes with --json is JSON, whatever the names.
demo=$QL_SOURCE/tools/demo
out='a "quoted" \folder'
{
    qlora-quantize "$demo/stories260K" nf4 --json --quiet
    qlora-train --model nf4 --data "$demo/plays-eval.jsonl.gz" --eval-split 4 \
        --output "$out" --json --quiet --max-length 32 --max-steps 2 \
        --gradient-accumulation-steps 2
    qlora-generate --model nf4 --adapter "$out" --json --prompt 'Say "hi"' \
        --temperature 0 --max-new-tokens 8
} >lines.json
python3 -c '
import json, sys
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
assert lines[0]["group"] == "self_attn.q_proj", lines[0]
assert lines[-2]["output_dir"] == sys.argv[1], lines[-2]
assert lines[-1]["prompt"] == "Say \"hi\"", lines[-1]
assert any("eval_loss" in line for line in lines)
' "$out"
