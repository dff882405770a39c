# Losses of all forms of a toy model are not the same, and in the order of what
# they leave out; the page has the same numbers. Two folders may be called the
# same, and nothing is said twice.
mkdir work other
python3 "$QL_SOURCE/tests/cli/toy.py" model real hidden=64
python3 "$QL_SOURCE/tests/cli/toy.py" model other/real hidden=64 layers=1
python3 -c '
import json
for i in range(24):
    print(json.dumps({"text": "the cat sat on the mat, and ran " + "b" * i}))
' >all.jsonl
head -n 16 all.jsonl >data.jsonl
tail -n 8 all.jsonl >eval.jsonl
qlora-bench quality --real real --real other/real --data data.jsonl \
    --eval-data eval.jsonl \
    --max-length 64 --batch-size 4 --steps 2 --rounds 2 --lora-r 4 \
    --learning-rate 0.01 \
    --work-dir work --threads 2 --output out >table.txt 2>notes.txt
test -z "$(ls work)"
test -z "$(sort notes.txt | uniq -d)"
grep -q '^real *as stored, LoRA ' table.txt
grep -q '^real: NF4 loses no more than FP4: ' table.txt
python3 "$QL_SOURCE/tests/cli/bench_pages.py" quality out
python3 - <<'END'
import json

root = json.load(open('out/quality.json', encoding='utf-8'))
rows = {r['form']: r for r in root['rows'] if r['model'] == 'real'}
others = {r['form']: r for r in root['rows'] if r['model'] == 'other/real'}
assert rows.keys() == others.keys() and len(root['rows']) == 2 * len(rows)
assert all(r['linear_layers'] == 7 for r in others.values()), others
before = {name: r['eval_before'] for name, r in rows.items()}
assert rows.keys() >= {'full', 'lora', 'nf4', 'nf4-dq', 'fp4', 'fp4-dq'}, rows
assert abs(before['full'] - before['lora']) < 1e-6, before
assert len({before[f] for f in ('lora', 'nf4', 'nf4-dq', 'fp4')}) == 4, before
for name, row in rows.items():
    assert row['eval_after'] < row['eval_before'], row
    # adapters that begin elsewhere end elsewhere
    assert len(set(row['eval_afters'])) == 2 or name == 'full', row
    assert len(row['losses']) == 3, row
    four = row['linear_4bit'] == row['linear_layers'] == 14
    assert four == (name != 'lora' and name != 'full'), row
# the scales in 8 bits change less than the codes of 4 do
assert abs(before['nf4-dq'] - before['nf4']) < \
    abs(before['nf4'] - before['fp4']), before
# of FP4 they may change nothing: the toy's weights are BF16, to which products
# of a scale and one of its few codes are rounded
assert abs(before['fp4-dq'] / before['fp4'] - 1) < 1e-3, before
assert len(root['claims']) == 14, root['claims']
END

# what was measured before a failure is not lost
. "$QL_SOURCE/tests/cli/bench_part.sh"
part 5 quality rows model 6 real --data data.jsonl --eval-data eval.jsonl
grep -q '^real *as stored, LoRA ' table.txt
