# Methods side by side at toy size: in the files and the page are the same
# numbers, what is held is what was planned, and all begin with the same loss.
# The name of a real model may mean something to HTML and CSV.
mkdir work
real='<b>"real" & more'
python3 "$QL_SOURCE/tests/cli/toy.py" model "$real" hidden=64
qlora-bench memory --measure tiny --predict tiny,llama-7b --real "$real" \
    --max-length 32 --lora-r 4 --steps 2 --rounds 2 --work-dir work \
    --threads 2 --output out >table.txt
test -z "$(ls work)"
grep -q '^qlora-bench memory --measure tiny ' table.txt
grep -q '^tiny *qlora *measured ' table.txt
grep -q '^llama-7b *qlora *predicted ' table.txt
python3 "$QL_SOURCE/tests/cli/bench_pages.py" memory out
python3 - <<'END'
import json

root = json.load(open('out/memory.json', encoding='utf-8'))
measured = {(r['shape'], r['way']): r for r in root['measured']}
predicted = {(r['shape'], r['way']): r for r in root['predicted']}
ways = {way for _, way in measured}
assert {'full-bf16', 'lora', 'qlora', 'qlora-paged'} <= ways, ways
assert len(measured) == 2 * len(ways) == len(predicted), root
for shape in 'tiny', '<b>"real" & more':
    lora, qlora = measured[shape, 'lora'], measured[shape, 'qlora']
    assert lora['linear_4bit'] == 0 < qlora['linear_4bit']
    assert lora['trainable'] == qlora['trainable']
counts_swap = 'VmSwap:' in open('/proc/self/status', encoding='ascii').read()
for row in root['measured']:
    assert len(row['losses']) == 3, row
    assert row['rounds'] == 2, row
    assert row['swap'] == 0 if counts_swap else row['swap'] is None, row
    assert 0 < row['anonymous'] < row['peak'], row
    assert row['anonymous'] <= row['plan_anonymous'], row
    # parts, each at its largest, are all that the kernel counts, but for what
    # is never written to
    assert -2 ** 18 < sum(row['held'].values()) - row['anonymous'] < 2 ** 20
    # what the allocator holds for a purpose is what was planned for it
    for part in 'trained weights', 'gradients', 'optimizer', 'activations':
        assert row['held'][part] <= row['plan'][part], (part, row)
        assert row['held'][part] >= 0.9 * row['plan'][part], (part, row)
for shape in 'tiny', '<b>"real" & more':
    # 16 bits take half of 32, in all that is held for a parameter
    full, half = measured[shape, 'full'], measured[shape, 'full-bf16']
    for part in 'trained weights', 'gradients', 'optimizer':
        share = half['held'][part] / full['held'][part]
        assert 0.5 <= share < 0.53, (part, share)
losses = [measured['tiny', way]['first_loss'] for way in sorted(ways)]
assert max(losses) - min(losses) < 1e-4 * losses[0], losses
# the same plan from a folder of holes as from one with weights
for way in ways:
    a, b = measured['tiny', way], predicted['tiny', way]
    for part in 'trained weights', 'gradients', 'optimizer', 'activations', \
            'work space', 'weights, mapped':
        assert a['plan'][part] == b['plan'][part], (way, part)
# 4 bits and their scales: 6.5 billion parameters in products but the head, two
# matrices of 131 million in 16 bits
qlora = predicted['llama-7b', 'qlora']
linear = qlora['product_parameters'] - 32000 * 4096
want = linear * (0.5 + 1 / 64 + 4 / (64 * 256)) + 2 * 2 * 32000 * 4096
assert abs(qlora['plan']['weights, mapped'] / want - 1) < 1e-3, qlora
lora = predicted['llama-7b', 'lora']
want = 2 * (linear + 2 * 32000 * 4096)
assert abs(lora['plan']['weights, mapped'] / want - 1) < 1e-3, lora
END

qlora-bench memory --measure tiny --predict none --max-length 32 --steps 0 \
    --rounds 1 --work-dir work --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
kinds = {line["result"] for line in lines}
assert kinds == {"machine", "measured", "published"}, kinds
'

# one that is called as a shape is told from it by its path
python3 "$QL_SOURCE/tests/cli/toy.py" model tiny hidden=64
qlora-bench memory --measure tiny --predict none --real ./tiny --steps 0 \
    --max-length 32 --rounds 1 --work-dir work --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
shapes = [x["shape"] for x in lines if x["result"] == "measured"]
assert shapes.count("tiny") == shapes.count("./tiny") == 5, shapes
'

# of a real model in bf16, all but full fine-tuning in fp32 is rounded
qlora-bench memory --isa generic-bf16 --measure none --predict none \
    --real "$QL_SOURCE/tools/demo/stories260K" --max-length 32 --lora-r 4 \
    --steps 0 --rounds 1 --work-dir work --threads 1 --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
loss = {x["way"]: x["first_loss"] for x in lines if x["result"] == "measured"}
assert 1e-4 < abs(loss["full"] / loss["lora"] - 1) < 5e-3, loss
'

# what is asked of the plans at 512 tokens and rank 16
qlora-bench memory --measure none --predict tinyllama,llama-7b \
    --work-dir work --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
floors = [x for x in lines if x["result"] == "floor"]
assert [x["limit"] for x in floors] == [0.55, 1.3, 13, 1.5, 5.2, 100], floors
assert all(x["holds"] for x in floors), floors
plans = {(x["shape"], x["way"]): x for x in lines if x["result"] == "predicted"}
small, large = plans["llama-7b", "qlora"], plans["llama-7b", "full"]
assert small["plan_anonymous"] <= 1.5 * 2 ** 30, small
assert small["plan_total"] <= 5.2 * 2 ** 30, small
assert large["plan_total"] > 100 * 2 ** 30, large
small, large = plans["tinyllama", "qlora"], plans["tinyllama", "full"]
assert small["plan_anonymous"] <= 0.55 * 2 ** 30, small
assert small["plan_total"] <= 1.3 * 2 ** 30, small
assert large["plan_total"] >= 13 * small["plan_total"], (small, large)
'

# what was measured before a failure is not lost
. "$QL_SOURCE/tests/cli/bench_part.sh"
part 3 memory measured shape 5 ./tiny --measure none --predict none
grep -q '^\S*tiny *qlora *measured ' table.txt
