# What qlora-train shows: one live line that fits the terminal, in the
# characters that it has; plain lines where there is none.
python3 "$QL_SOURCE/tests/cli/toy.py" model d
yes '{"prompt": "abc def", "completion": " ghi jkl."}' | head -n 12 >data.jsonl

run='qlora-train --model d --data data.jsonl --output out'
seven='--eval-split 2 --max-steps 7 --logging-steps 3 --eval-steps 4
    --gradient-accumulation-steps 1'

# show COLUMNS OPTION...: to the file shown
show() {
    columns=$1
    shift
    rm -rf out
    # shellcheck disable=SC2086
    python3 "$QL_SOURCE/tests/cli/terminal.py" "$columns" $run $seven "$@" \
        >shown
}

cat >check.py <<'END'
import re
import sys

how, columns = sys.argv[1], int(sys.argv[2])
text = open('shown', encoding='utf-8', newline='').read()
text = text.replace('\r\n', '\n')
lines = text.split('\n')
live = [part for line in lines for part in line.split('\r')[:-1]
        if part.strip()]
steps = [part for part in live if part.startswith('step ')]
bar = [part for part in steps if re.search('[\u2501\u2500]|[#.]{5}', part)]
logged = [line.split('\r')[-1] for line in lines]
logged = [line for line in logged if re.match('step [1367]/7  loss', line)]
if how in ('wide', 'narrow', 'ascii'):
    # every step, each not wider than there is room for
    seen = {int(re.match(r'step (\d+)/7', part).group(1)) for part in steps}
    assert seen == set(range(1, 8)), (seen, text)
    assert max(map(len, live)) <= columns - 1, text
    assert bool(bar) == (how != 'narrow'), text
    assert any('evaluating at step 4: 1 of 1' in part for part in live), text
if how in ('plain', 'dumb'):
    assert '\r' not in text and '\033' not in text, text
    for field in ('loss', 'acc', 'lr', '|g|', 'tok/s', 'ETA', 'mem'):
        assert all(field in line for line in logged), (field, logged)
if how == 'wide':
    assert '\u2501' in text and '\u2581' in text, text
if how == 'ascii':
    assert '#' in text and '\u2501' not in text, text
assert len(logged) == 4 and all('ETA' in line for line in logged), text
assert text.count('evaluation at step') == 3, text
assert '[[' in text or '\033[32m' in text, text
assert text.count('sample ') == 2 and '  after    ' in text, text
END

show 150
python3 check.py wide 150
show 40
python3 check.py narrow 40
LC_ALL=C show 150
python3 check.py ascii 150
TERM=dumb show 150
python3 check.py dumb 150
rm -rf out
$run $seven 2>shown >results
python3 check.py plain 80
grep -q '^adapter: out$' results

# quiet is quiet, and --json has each sample, with what was written
show 80 --quiet
[ ! -s shown ]
rm -rf out
$run --eval-split 2 --max-steps 1 --json --quiet >lines 2>shown
[ ! -s shown ]
python3 -c '
import json
lines = [json.loads(line) for line in open("lines", encoding="utf-8")]
samples = [line for line in lines if "sample" in line]
saved = json.load(open("out/samples.json", encoding="utf-8"))["samples"]
assert [s["sample"] for s in samples] == [1, 2], lines
for a, b in zip(samples, saved):
    for key in ("prompt", "before", "after", "expected"):
        assert a[key] == b[key], (a, b)
assert samples[0]["prompt"] == "abc def", samples
'
rm -rf out
$run --max-steps 1 --sample-prompts 0 2>shown >results
! grep -q '^sample [0-9]' shown || exit 1
[ ! -e out/samples.json ]

# The other commands that have a live line heed --quiet, too.
# alone COMMAND...: its live line is there, and not with --quiet
alone() {
    python3 "$QL_SOURCE/tests/cli/terminal.py" 80 "$@" >shown
    grep -q ' %)' shown
    python3 "$QL_SOURCE/tests/cli/terminal.py" 80 "$@" --quiet >shown
    [ ! -s shown ]
}
alone qlora-quantize d q --force
alone qlora-export merge --model d --adapter out --output m --force
