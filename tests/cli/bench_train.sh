# Steps of a tiny model come as JSON and as a table, the profile adds up, and no
# folder stays behind.
mkdir work
qlora-bench train --shape tiny --max-length 16 --batch-size 2 --steps 2 \
    --lora-r 4 --no-gradient-checkpointing --profile --threads 2 \
    --work-dir work --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
assert lines[0]["result"] == "machine" and lines[0]["threads"] == 2, lines[0]
run = lines[1]
assert run["result"] == "train", run
# two layers of Q, O [64, 64], K, V [32, 64], three times [176, 64]; the head
assert run["product_parameters"] == 2 * (3 * 4096 + 3 * 176 * 64) + 256 * 64
assert run["step_tokens"] == 32 and run["steps"] == 2, run
assert run["gradient_checkpointing"] == 0 and run["lora_r"] == 4, run
assert 4 < run["loss"] < 7, run  # ln 256 is 5.5
assert run["tokens_per_second"] > 0, run
assert 0 < run["bf16_peak_percent"] <= run["fp32_peak_percent"], run
assert run["peak_mib"] > 0, run
profile = {line["work"]: line for line in lines if "work" in line}
beside = [line for line in lines if "beside" in line]
for work in ("products", "lora", "attention", "norm", "rope", "activation",
             "loss", "optimizer", "other"):
    assert profile[work]["seconds"] > 0, profile
assert abs(sum(p["percent"] for p in profile.values()) - 100) < 1e-6, profile
parts = [b["seconds"] for b in beside]  # the last one is their sum
assert len(parts) == 5 and min(parts[:3]) > 0, beside
assert abs(sum(parts[:4]) - parts[4]) < 1e-9, beside
'
qlora-bench train --shape tiny --max-length 16 --steps 1 --work-dir work \
    >table.txt
grep -q '^gradient checkpointing *1$' table.txt
test -z "$(ls work)"

# Each family in its own form, with as many parameters in products
for family in llama mistral qwen2 qwen3 gemma gemma2 gemma3_text olmo2 \
    smollm3 phi3 gpt2 gpt_neox; do
    qlora-bench train --shape tiny --family $family --max-length 16 --steps 1 \
        --work-dir work --json >lines.json
    python3 -c '
import json
import sys
with open("lines.json", encoding="utf-8") as f:
    run = [json.loads(line) for line in f][1]
assert run["family"] == sys.argv[1], run
# the tiny shape: two layers of Q, O, K, V and the rest; the head
assert run["product_parameters"] == 2 * (3 * 4096 + 3 * 176 * 64) + 256 * 64
assert 4 < run["loss"] < 9, run
' $family
done
code=0
qlora-bench train --family bert --work-dir work 2>error.txt || code=$?
test $code = 2
grep -q 'the family "bert" is none that writes text; known are: ' error.txt
test -z "$(ls work)"
