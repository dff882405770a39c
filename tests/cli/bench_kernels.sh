# The measurements come as JSON and as a table; what they say is not judged but
# for being numbers that can be.
qlora-bench kernels --quick --busy --threads 2 --shapes tiny --tokens 1,32 \
    --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
of = {}
for line in lines:
    of.setdefault(line["result"], []).append(line)
assert set(of) == {"machine", "peak", "memory", "product"}, set(of)
assert of["machine"][0]["threads"] == 2, of["machine"]
for peak in of["peak"] + of["product"]:
    assert peak["gflops"] > 0, peak
products = of["product"]
# three matrices, two numbers of tokens, two directions; one thread, all, all
# beside the busy process
assert len(products) == 3 * 2 * 2 * 3, len(products)
assert {(p["threads"], p["busy"]) for p in products} == \
    {(1, 0), (2, 0), (2, 1)}
for p in products:
    assert p["best"] >= p["gflops"] > 0 and p["sgemm_ratio"] > 0, p
    assert (p["gbytes"] is not None) == (p["tokens"] == 1), p
'
qlora-bench kernels --quick --threads 1 --shapes tiny --tokens 4 >table.txt
grep -q '^instruction set ' table.txt
grep -q '^ *64 *64 *4 bwd *1 *0 ' table.txt
