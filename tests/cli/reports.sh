# What a run leaves for people, read by readers that are not ours.
toy() {
    python3 "$QL_SOURCE/tests/cli/toy.py" "$@"
}

check() {
    python3 "$QL_SOURCE/tests/cli/reports.py" "$@"
}

toy model d
i=0
while [ $i -lt 20 ]; do
    echo '{"prompt": "abc def", "completion": " ghi jkl."}'
    i=$((i + 1))
done >data.jsonl
train() {
    qlora-train --data data.jsonl --gradient-accumulation-steps 1 --quiet \
        --logging-steps 1 "$@" >results 2>said
}

# With evaluations, in a folder whose name would be markup; of one step
out='a <i>b & "c"'
mkdir -p "$out"
train --model d --output "$out" --eval-split 3 --eval-steps 4 --max-steps 9 \
    --lr-scheduler-type cosine_with_restarts \
    --lr-scheduler-kwargs '{"num_cycles": 2}'
check "$out"
grep -q '<h1>a &lt;i&gt;b &amp; &quot;c&quot;</h1>' "$out/report.html"
grep -q '<dt>eval_split</dt><dd>3</dd>' "$out/report.html"
train --model d --output one --max-steps 1
check one

# run.yaml repeats it: all numbers are the same but times and memory
train --config "$out/run.yaml" --output again
cmp "$out/adapter_model.safetensors" again/adapter_model.safetensors
cut -d, -f1-7 "$out/metrics.csv" >first
cut -d, -f1-7 again/metrics.csv >second
cmp first second
grep -q "^lr_scheduler_kwargs: " again/run.yaml

# A card that is the user's stays; a run that overwrites replaces it
mkdir mine
echo '# mine' >mine/README.md
train --model d --output mine --max-steps 1
[ "$(cat mine/README.md)" = '# mine' ]
train --model d --output mine --max-steps 1 --overwrite-output-dir
check mine

# Stopped and killed on the way: the report says so, and what it says at the
# end is whole, as if nothing had happened
toy model large hidden=256 layers=2
begin() {
    : >news
    rm -f news
    qlora-train --model large --data data.jsonl --output long --max-steps 120 \
        --gradient-accumulation-steps 4 --logging-steps 1 --save-steps 5 \
        --eval-split 3 --eval-steps 30 2>news >results &
    pid=$!
}

until_step() {
    n=0
    until grep -q "^step $1/" news 2>seen; do
        n=$((n + 1))
        [ $n -lt 10000 ] || exit 1
        sleep 0.02
    done
}

begin
until_step 12
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ]
check long stopped
grep -q 'Stopped after step [0-9]* of 120' long/report.html
begin
until_step 40
kill -9 $pid
wait $pid 2>seen || true
check long running
begin
wait $pid
check long
[ "$(ls long/runs | wc -l)" = 3 ]
# before training is what it was at the very beginning
grep -q 'Before training' long/report.html

# A run that never came to a step leaves nothing
toy poke d/model.safetensors model.norm.weight 0 3e38
toy poke d/model.safetensors model.embed_tokens.weight 0 3e38
code=0
train --model d --output none --max-steps 2 || code=$?
[ $code = 5 ]
[ ! -e none ]
