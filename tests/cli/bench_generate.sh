# Reading and writing are measured for each prompt; what comes out is a number
# that can be.
qlora-bench generate --shape tiny --contexts 5,300 --new-tokens 3 --json \
    >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
rows = [line for line in lines if line["result"] == "generate"]
assert [r["context"] for r in rows] == [5, 300], rows
for r in rows:
    assert 0 < r["tokens_per_second"] <= r["best_tokens_per_second"], r
    assert r["prompt_tokens_per_second"] > 0, r
    assert r["prompt_spread_percent"] >= 0, r
    assert r["spread_percent"] >= 0, r
    bytes_read = (r["weights_mb"] + r["cache_mb"]) / 1e3
    assert abs(bytes_read * r["best_tokens_per_second"] / r["gbytes"] - 1) \
        < 1e-6, r
assert rows[1]["cache_mb"] > 50 * rows[0]["cache_mb"]
'
