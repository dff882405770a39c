# A tiny model under limits: the same losses, memory within them, and nothing is
# left behind but what was asked for. With as little memory as its plan allows,
# weights are read layer by layer.
mkdir work
qlora-bench large --shape tiny --max-length 16 --steps 2 --lora-r 4 \
    --limits 0,1G --rounds 2 --work-dir work --threads 2 --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
assert lines[0]["result"] == "machine", lines[0]
assert "--rounds 2" in lines[0]["command"], lines[0]
free, tight = lines[1:]
assert free["limit_gib"] is None and free["enforced_by"] == "none", free
assert tight["limit_gib"] == 1, tight
assert tight["enforced_by"] in ("control group", "private memory"), tight
for run in free, tight:
    assert run["steps"] == 4 and run["step_tokens"] == 16, run
    assert 0 < run["anonymous_gib"] < run["peak_gib"] < 1, run
    assert run["tokens_per_second"] > 0, run
    assert 4 < run["first_loss"] < 7, run  # ln 256 is 5.5
    assert run["first_loss"] == free["first_loss"], run
    assert run["last_loss"] == free["last_loss"], run
assert free["speed_ratio"] == 1, free
'
test -z "$(ls work)"

# the folder that is named stays, and is not written again
qlora-bench large --shape tiny --max-length 16 --steps 1 --work-dir work \
    --model work/model >/dev/null
sum=$(cksum <work/model/model.safetensors)
qlora-bench large --shape tiny --max-length 16 --steps 1 --work-dir work \
    --model work/model >table.txt
[ "$(cksum <work/model/model.safetensors)" = "$sum" ]
grep -q '^tiny ' table.txt
[ "$(ls work)" = model ]

# one training on it
qlora-bench job --model work/model --max-length 16 --steps 2 --work-dir work |
    tail -n 1 >job.json
python3 -c '
import json
run = json.load(open("job.json", encoding="utf-8"))
assert run["weights_read"] == 0 and run["stalls"] == 0, run
assert len(run["losses"]) == len(run["seconds"]) == 3, run
assert run["linear_4bit"] == run["linear_layers"] == 14, run
assert run["trainable"] * 4 <= run["held"]["gradients"], run
'
