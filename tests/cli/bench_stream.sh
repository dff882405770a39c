# 245 MB of weights in 240 MiB with all the rest: some are read when their turn
# comes, on the way forward and back
mkdir work
qlora-bench large --shape 220m --max-length 8 --steps 1 --lora-r 4 \
    --limits 0,240M --work-dir work --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
free, tight = lines[1:]
assert free["weights_read_gib"] == 0 and free["weight_memory_gib"] is None
assert tight["weights_read_gib"] > 0, tight
assert tight["peak_gib"] < 240 / 1024, tight
assert tight["last_loss"] == free["last_loss"], (tight, free)
'
