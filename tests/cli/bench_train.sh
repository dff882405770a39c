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

# Each family in its own form, with as many parameters in products; set side by
# side, each has the losses that it has alone
some='llama mistral qwen2 qwen3 gemma gemma2 gemma3_text olmo2 smollm3 phi3'
for family in $some gpt2 gpt_neox; do
    qlora-bench train --shape tiny --family $family --max-length 16 --steps 3 \
        --work-dir work --json >$family.json
done
all=llama,mistral,qwen2,qwen3,gemma,gemma2,gemma3_text,olmo2,smollm3,phi3
qlora-bench train --shape tiny --family $all,gpt2,gpt_neox,llama \
    --max-length 16 --steps 3 --profile --work-dir work --json >all.json
python3 -c '
import json
import math
import sys
def read(name):
    with open(name, encoding="utf-8") as f:
        return [json.loads(line) for line in f]
families = sys.argv[1].split(",")
lines = read("all.json")[1:]
n = len(families)
assert [line["result"] for line in lines] == [
    kind for kind in ("train", "families", "profiles") for i in range(n)], lines
for i, family in enumerate(families):
    alone = read(family + ".json")[1]
    run, side, profile = lines[i::n]
    assert alone["family"] == run["family"] == side["family"] == family, lines
    assert profile["family"] == family, profile
    # the tiny shape: two layers of Q, O, K, V and the rest; the head
    P = 2 * (3 * 4096 + 3 * 176 * 64) + 256 * 64
    assert run["product_parameters"] == alone["product_parameters"] == P, run
    assert 4 < run["loss"] < 9 and run["loss"] == alone["loss"], (run, alone)
    assert run["steps"] == side["rounds"] == 3, (run, side)
    assert alone["peak_mib"] > 0 and run["peak_mib"] is None, (run, alone)
    for key in "tokens_per_second", "fp32_peak_percent", "bf16_peak_percent":
        assert side[key] == run[key] > 0, (side, run)
    for key in "ratio", "cpu_ratio":
        low, mid, high = side[key + "_low"], side[key], side[key + "_high"]
        assert 0 <= low <= mid <= high < math.inf, side
    assert 0 < side["cpu_ratio_best"] < math.inf, side
    assert profile["products"] > 0 and profile["attention"] > 0, profile
' $all,gpt2,gpt_neox,llama
# The time of one is not counted for the other
qlora-bench train --shape tiny --family qwen2,gpt2 --max-length 16 --steps 1 \
    --profile --work-dir work --json >one.json
python3 -c '
import json
with open("one.json", encoding="utf-8") as f:
    lines = [json.loads(line) for line in f][1:]
for run, profile in zip(lines[:2], lines[4:]):
    parts = sum(x for x in profile.values() if not isinstance(x, str))
    seconds = run["step_tokens"] / run["tokens_per_second"]
    assert 0 < parts <= seconds * (1 + 1e-6), (run, profile)
'
qlora-bench train --shape tiny --family qwen2,gpt2 --max-length 16 --steps 1 \
    --work-dir work >table.txt
grep -q '^family *rounds *tokens/s .* ratio ' table.txt
grep -q '^qwen2 *1 ' table.txt
grep -q '^gpt2 *1 ' table.txt
test -z "$(ls work)"

# What was measured before Ctrl-C is told: the signal comes later and later
# until there is a result
# interrupt RESULT FAMILIES
interrupt() {
    delay=1
    : >lines.json
    while ! grep -q "\"result\": \"$1\"" lines.json; do
        test $delay -le 32
        qlora-bench train --shape tiny --family "$2" --max-length 2048 \
            --steps 100 --threads 1 --work-dir work --json >lines.json \
            2>error.txt &
        pid=$!
        sleep $delay
        kill -INT $pid
        code=0
        wait $pid || code=$?
        test $code = 130
        test -z "$(ls work)"
        delay=$((2 * delay))
    done
}
interrupt train llama
python3 -c '
import json
with open("lines.json", encoding="utf-8") as f:
    run = [json.loads(line) for line in f][1]
assert 1 <= run["steps"] < 100, run
assert run["peak_mib"] >= run["anonymous_mib"] > 0, run
'
interrupt families llama,gpt2
python3 -c '
import json
with open("lines.json", encoding="utf-8") as f:
    lines = [json.loads(line) for line in f][1:]
steps = {line["family"]: line["steps"] for line in lines if "steps" in line}
rounds = {line["family"]: line["rounds"] for line in lines if "rounds" in line}
assert 1 <= rounds["llama"] <= steps["llama"] < 100, lines
assert abs(steps["llama"] - steps.get("gpt2", 0)) <= 1, lines
assert sum(steps.values()) - sum(rounds.values()) in (0, 1), lines
'
