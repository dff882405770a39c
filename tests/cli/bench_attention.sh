# Attention is measured in both directions, for each shape; what comes out is a
# number that can be.
qlora-bench attention --threads 2 --head-sizes 8,64 --heads 4 --kv-heads 2 \
    --length 50 --sequences 1,3 --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
rows = [line for line in lines if line["result"] == "attention"]
# two head sizes, two cuts, two directions, two numbers of threads
assert len(rows) == 2 * 2 * 2 * 2, len(rows)
assert {(r["head_size"], r["sequences"]) for r in rows} == \
    {(8, 1), (8, 3), (64, 1), (64, 3)}
for r in rows:
    assert r["gflops"] > 0 and r["ms"] > 0, r
    n = [50] if r["sequences"] == 1 else [16, 17, 17]
    flop = {"fwd": 4, "bwd": 10}[r["pass"]] * sum(i * (i + 1) // 2 for i in n)
    flop *= 4 * r["head_size"]
    assert abs(r["gflops"] * 1e6 * r["ms"] / flop - 1) < 1e-6, (r, flop)
'
qlora-bench attention --threads 1 --head-sizes 64 --heads 1 --kv-heads 1 \
    --length 20 --sequences 1 >table.txt
grep -q '^ *64 *1 *1 *20 *1 bwd *1 ' table.txt
