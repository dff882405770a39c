# Processes that are stopped in the middle, by a user or by the system.
. "$QL_SOURCE/tests/cli/refuse.sh"

# A model that takes a second or more, and a training without an end
toy model large hidden=1024 layers=4
start_endless() {
    qlora-train --model d --data data.jsonl --output out --threads 1 \
        --gradient-accumulation-steps 1 --max-steps 100000000 \
        --logging-steps 1 --overwrite-output-dir "$@" \
        >"$log/out" 2>"$log/err" &
    pid=$!
}

# until TEXT FILE: waits for the text in the file
until_said() {
    n=0
    until grep -q "$1" "$2" 2>"$log/grep"; do
        n=$((n + 1))
        [ $n -lt 600 ] || complain "no \"$1\": $(cat "$2")"
        sleep 0.1
    done
}

# ended CODE: of the process in the background
ended() {
    code=0
    wait "$pid" 2>"$log/wait" || code=$?
    [ "$code" = "$1" ] || complain "exit code $code, not $1"
}

: >"$log/out"
train_until_step() {
    rm -rf out
    : >"$log/err"
    start_endless
    until_said 'step 1/' "$log/err"
}

# Many small files: each takes its time to reach the disk
quantize_until_shard() {
    qlora-quantize --threads 1 --max-shard-size 100KB large out \
        >"$log/out" 2>"$log/err" &
    pid=$!
    until ls out.part-*/*.safetensors >"$log/ls" 2>&1; do
        kill -0 $pid || complain "ended too early"
        sleep 0.01
    done
}

# SIGKILL leaves no OUT, and what it leaves is not in the way
quantize_until_shard
kill -9 $pid
ended 137
[ ! -e out ] || complain "OUT is there after SIGKILL"
mkdir -p out.part-1
echo stale >out.part-1/config.json
accept qlora-quantize d out
[ ! -e out.part-$$ ] && accept generate --model out
rm -rf out out.part-*

# Ctrl-C while quantizing: nothing is left
quantize_until_shard
kill -TERM $pid
ended 130
said "qlora-quantize: stopped; nothing was written"
set -- out*
[ "$*" = "out*" ] || complain "left: $*"

# SIGINT and SIGTERM while training: a checkpoint is saved, which can be used
for signal in INT TERM; do
    train_until_step
    kill -$signal $pid
    ended 130
    said "qlora-train: stopped after step * of 100000000; the checkpoint of *"
    set -- out/*
    accept generate --adapter "$1"
done

# SIGKILL while training: an adapter that was there stays as it was
rm -rf out
accept train
cp -R out before
: >"$log/err"
start_endless
until_said 'step 1/' "$log/err"
kill -9 $pid
ended 137
rm -rf out/.part-*
diff -r -x runs before out || complain "the adapter was touched"

# A second signal ends at once, without saving
rm -rf out
: >"$log/err"
start_endless
until_said 'step 1/' "$log/err"
kill -STOP $pid
kill -INT $pid
kill -TERM $pid
kill -CONT $pid
ended 130
rm -rf out/runs # TensorBoard's file is there from the beginning
set -- out/*
[ "$*" = "out/*" ] || complain "saved after the second signal: $*"
