# A training that does not fit is refused before anything large is taken, with
# flags that make it fit: the same command with these flags does its steps, in
# the memory that it may have.
toy=$QL_SOURCE/tests/cli/toy.py
python3 "$toy" model toy hidden=256 layers=4
qlora-quantize toy toy4 --quiet >quantized
python3 "$toy" texts 12 600 >data.jsonl

# refused MEMORY OUT OPTION...: ends with 4 and writes nothing; what it says is
# in refusal, its leanest plan in plan.json
refused() {
    memory=$1 out=$2
    shift 2
    code=0
    qlora-train --data data.jsonl --output "$out" --memory "$memory" --json \
        --quiet --max-steps 2 --gradient-accumulation-steps 2 \
        --sample-prompts 0 "$@" >plan.json 2>refusal || code=$?
    [ "$code" = 4 ] || { cat refusal; exit 1; }
    [ ! -e "$out" ]
    [ "$(wc -l <refusal)" = 1 ]
}

# advised NAME LESS FLAGS OPTION...: so many bytes less than the least that it
# takes; the flags that are told are like FLAGS
advised() {
    name=$1 less=$2 like=$3
    shift 3
    refused 9M "$name" "$@"
    total=$(python3 -c 'import json
print(json.loads(open("plan.json").readline())["memory_plan"]["total"])')
    refused $((total - less)) "$name" "$@"
    flags=$(sed -n 's/.*; it fits with //p' refusal)
    echo "$name, $less of $total: $flags"
    # shellcheck disable=SC2254
    case $flags in
    $like) ;;
    *) cat refusal; exit 1 ;;
    esac
    # shellcheck disable=SC2086
    qlora-train --data data.jsonl --output "$name" --json --quiet \
        --max-steps 2 --gradient-accumulation-steps 2 --sample-prompts 0 \
        --memory $((total - less)) "$@" $flags >"$name.json"
    python3 - "$name" $((total - less)) <<'PY'
import json
import sys

with open(sys.argv[1] + '.json', encoding='utf-8') as f:
    rows = [json.loads(line) for line in f]
assert rows[-1]['steps'] == 2, rows[-1]
assert rows[-1]['peak_rss_bytes'] <= int(sys.argv[2]), rows[-1]
PY
}

advised keep 2000000 '--gradient-checkpointing auto' --model toy4 \
    --max-length 512 --gradient-checkpointing false
advised page 2000000 '--optim paged_adamw_32bit' --model toy4 \
    --max-length 256 --lora-r 64 --optim adamw_32bit
advised pages 2000000 '--optim paged_adamw_32bit --optimizer-memory 0' \
    --model toy4 --max-length 256 --lora-r 64 --optim adamw_32bit \
    --optimizer-memory 1000
advised batch 1000000 \
    '--per-device-train-batch-size ? --gradient-accumulation-steps *' \
    --model toy4 --max-length 256 --per-device-train-batch-size 6
advised length 3000000 '*--max-length ??*' --model toy4 --max-length 1024
# What changes no result is kept for the sake of what does. The memory lies
# amid those that the same length fits: what the program itself takes differs by
# some 100 KiB from run to run.
advised first 39850000 '*--optim paged_adamw_32bit --max-length [6-9]??' \
    --model toy4 --max-length 1024 --gradient-checkpointing false \
    --optim adamw_32bit
advised lean 2000000 '*--max-length *' --model toy4 --max-length 512 \
    --gradient-checkpointing --optim paged_adamw_8bit --activation-dtype bf16
advised rank 12000000 '*--lora-r *' --model toy4 --max-length 128 --lora-r 512
advised full 4000000 '*' --model toy --max-length 768 --method full \
    --per-device-train-batch-size 2
advised bf16 8000000 '*--dtype bfloat16*' --model toy --max-length 64 \
    --method full --optim paged_adamw_8bit

# An adapter of a gigabyte takes no gigabyte before it is refused
python3 - <<'PY'
import resource
import subprocess

done = subprocess.run(
    ['qlora-train', '--model', 'toy4', '--data', 'data.jsonl', '--output',
     'huge', '--memory', '300M', '--lora-r', '16384', '--quiet'],
    stderr=subprocess.PIPE, text=True, check=False)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak, done.stderr)
assert done.returncode == 4, done
assert '; it fits with ' in done.stderr, done
assert peak < 100 * 1024, peak  # kilobytes
PY

# What no flags can do is told, too, after the table
refused 8M none --model toy4
grep -q 'it takes [0-9.]* MiB, and less with no flags' refusal
# and only if it is so: near the least, too, which is in MiB
least=$(sed -n 's/.* it takes \([0-9.]*\) MiB, .*/\1/p' refusal)
for more in 0 100000 200000 300000; do
    refused "$(python3 -c "print(int($least * 2**20) + $more)")" none \
        --model toy4
    python3 - <<'PY'
import re

told = open('refusal', encoding='utf-8').read()
has = float(re.search(r'the ([0-9.]+) MiB that it may have', told)[1])
takes = re.search(r' it takes ([0-9.]+) MiB, and less with no', told)
print(has, takes and takes[1])
assert (float(takes[1]) >= has if takes else '; it fits' in told), told
PY
done
code=0
qlora-train --model toy4 --data data.jsonl --output none --memory 8M \
    >out.txt 2>err.txt || code=$?
[ "$code" = 4 ]
grep -q '^memory plan:$' err.txt
