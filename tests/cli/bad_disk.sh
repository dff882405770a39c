# A disk that is full, and a file that must not grow. The disk is a small one
# in memory, which needs the right to mount one in a private namespace.
if [ -z "${QL_DISK-}" ]; then
    mkdir disk
    if ! unshare -m mount -t tmpfs -o size=8k none disk 2>mount.log; then
        echo "no small disk can be mounted: $(cat mount.log)"
        exit 77
    fi
    rm mount.log
    exec env QL_DISK="$PWD/disk" unshare -m sh -eu "$0"
fi
mount -t tmpfs -o size=400k none disk
. "$QL_SOURCE/tests/cli/refuse.sh"

left() {
    dd if=/dev/zero of=disk/fill bs=1024 count=1000 2>"$log/dd" || :
    truncate -s -"$1"K disk/fill
}

# The newest checkpoint that is whole; 0: none.
last_step() {
    { echo 0 && ls disk/out 2>"$log/ls"; } |
        sed -n 's/^\(checkpoint-\)\{0,1\}\([0-9]*\)$/\2/p' | sort -n | tail -n 1
}

left 64
refuse 4 "disk/out[ /]*needs * of disk, but only * are free; free some space*" \
    qlora-quantize d disk/out
refuse 4 "disk/out needs * of disk, but only * are free; free some space *" \
    train --lora-r 32 --output disk/out
accept train --lora-r 1
refuse 4 "disk/out[ /]*needs * of disk, but only * are free; free some space*" \
    qlora-export merge --model d --adapter out --output disk/out
rm disk/fill

# A merge counts what it carries along, and says so if there is no room to
# compare its result.
kib=$(($(wc -c <d/model.safetensors) / 1024))
head -c 40000 /dev/zero >d/notes.txt
left $((kib + 28))
refuse 4 "disk/out*needs * of disk, but only * are free; free some space or *" \
    qlora-export merge --model d --adapter out --output disk/out
rm d/notes.txt disk/fill
left $((kib + 28))
run qlora-export merge --model d --adapter out --output disk/out --quiet
[ "$code" = 4 ] || complain "exit code $code"
said "qlora-export: disk/out is written, but there is no room to compare it: *"
rm -r disk/fill disk/out

# The forms of llama.cpp: the adapter's file, and for Ollama both together,
# where the model's alone would have room
left 4
refuse 4 "disk/a.gguf needs * of disk, but only * are free; free some space *" \
    qlora-export gguf-adapter --model d --adapter out --output disk/a.gguf
rm -r disk/fill out
stories=$QL_SOURCE/tools/demo/stories260K
accept qlora-train --quiet --model "$stories" --data data.jsonl --output pair \
    --max-steps 1 --gradient-accumulation-steps 1 --lora-r 16 --threads 1
accept qlora-export ollama --model "$stories" --adapter pair --output both \
    --type q8_0
bytes=$(wc -c <both/model.gguf)
left $((bytes / 1024 - 8))
refuse 4 "disk/m.gguf needs * of disk, but only * are free; free some space *" \
    qlora-export gguf --model "$stories" --output disk/m.gguf --type q8_0
rm disk/fill
left $((bytes / 1024 + 12))
refuse 4 "disk/o[ /]*needs * of disk, but only * are free; free some space*" \
    qlora-export ollama --model "$stories" --adapter pair --output disk/o \
    --type q8_0
rm disk/fill
accept qlora-export gguf --model "$stories" --output disk/m.gguf --type q8_0
rm -r disk/m.gguf pair both

# Room for the adapter, but not for the file of the optimizer
left 120
refuse 4 "disk/out needs * of disk, but only * are free; free some space *" \
    train --lora-r 6 --optimizer-memory 24000 --output disk/out \
    --save-strategy no
rm disk/fill
left 300
accept train --lora-r 6 --optimizer-memory 24000 --output disk/out \
    --save-strategy no
rm -r disk/fill disk/out

# Enough room for the weights, as is asked before, but not for all
size=$(qlora-quantize --json --dry-run d disk/out |
    sed -n 's/.*"all".*"bytes_after": \([0-9]*\),.*/\1/p')
head -c 40000 /dev/zero >d/notes.txt
left $((size / 1024 + 28))
refuse 4 "cannot write disk/out/[!.]*: No space left on device; free some *" \
    qlora-quantize d disk/out
rm disk/fill
accept train --lora-r 1 --output disk/out
cp -R disk/out before
head -c 40000 /dev/zero >d/vocab.json
left 60
run train --lora-r 1 --output disk/out --overwrite-output-dir --seed 9
[ "$code" = 4 ] || complain "exit code $code"
said "qlora-train: *; free some space or write elsewhere; the *"
for name in adapter_model.safetensors adapter_config.json metrics.csv; do
    cmp before/$name disk/out/$name >&2 || complain "$name was touched"
done
rm disk/fill
accept generate --adapter disk/out

# The disk fills up while a run goes on: its last checkpoint stays, and is gone
# on from when there is room again
rm -rf disk/out d/vocab.json
qlora-train --model d --data data.jsonl --output disk/out --threads 1 \
    --lora-r 1 --gradient-accumulation-steps 1 --max-steps 100000000 \
    --save-steps 1 --logging-steps 5 >"$log/out" 2>"$log/err" &
pid=$!
until grep -q 'step 5/' "$log/err"; do
    kill -0 $pid || complain "ended too early"
    sleep 0.01
done
dd if=/dev/zero of=disk/fill bs=1024 count=1000 2>"$log/dd" || :
code=0
wait $pid || code=$?
[ "$code" = 4 ] || complain "exit code $code"
said "qlora-train: *; free some space or write elsewhere"
rm disk/fill
step=$(last_step)
accept train --lora-r 1 --output disk/out --save-steps 1 \
    --logging-steps 5 --max-steps $((step + 2))
[ "$(sed -n '$s/,.*//p' disk/out/metrics.csv)" = $((step + 2)) ] ||
    complain "not gone on with: $(cat disk/out/metrics.csv)"
grep -q "^5," disk/out/metrics.csv || complain "the log is not whole"
set -- disk/out/.[!.]* disk/out/*.part-*
[ "$*" = "disk/out/.[!.]* disk/out/*.part-*" ] || complain "left: $*"

# What a killed run has written already is not asked for once more
rm -rf disk/out
tight="qlora-train --model d --data data.jsonl --output disk/out --threads 1
    --eval-data data.jsonl --eval-steps 1 --save-steps 1 --lora-r 2
    --gradient-accumulation-steps 1 --sample-prompts 0"
$tight --max-steps 100000000 >"$log/out" 2>"$log/err" &
pid=$!
until [ "$(last_step)" -ge 4 ]; do
    kill -0 $pid || complain "ended too early"
    sleep 0.01
done
kill -9 $pid
wait $pid 2>"$log/wait" || :
step=$(last_step)
refuse 4 "disk/other needs * of disk, but only * are free; free some space *" \
    $tight --quiet --output disk/other --max-steps 100000000
accept $tight --max-steps $((step + 9))

# Nor what a run that begins anew takes the place of: it needs room for one
# checkpoint beside the old ones
rm -rf disk/out
accept $tight --lora-r 1 --max-steps 9
left 100
refuse 4 "disk/other needs * of disk, but only * are free; free some space *" \
    $tight --quiet --lora-r 1 --output disk/other --max-steps 9
accept $tight --lora-r 1 --max-steps 8 --overwrite-output-dir
rm disk/fill
left 20
refuse 4 "disk/out needs * of disk, but only * are free; free some space *" \
    $tight --quiet --lora-r 1 --max-steps 7 --overwrite-output-dir

# A run that ends early, and has no room for a checkpoint of where it was: it
# says why it ended, with the exit code of that, and so does the report
rm -rf disk/out disk/fill
left 96
run train --output disk/out --lora-r 4 --save-strategy no --max-steps 20 \
    --learning-rate 900 --weight-decay 9 --adam-beta1 0 --max-grad-norm 0 \
    --lr-scheduler-type constant
lost="; and the checkpoint could not be written: *; free some space or *"
[ "$code" = 5 ] || complain "exit code $code"
said "qlora-train: step *is not finite*$lost"
grep -q 'class="status failed".*is not finite.*could not be written' \
    disk/out/report.html || complain "the report does not say it"
rm -rf disk/out
$tight --lora-r 4 --save-strategy no --eval-strategy no --logging-steps 1 \
    --max-steps 100000000 >"$log/out" 2>"$log/err" &
pid=$!
until grep -q 'step 3/' "$log/err"; do
    kill -0 $pid || complain "ended too early"
    sleep 0.01
done
kill -INT $pid
code=0
wait $pid || code=$?
[ "$code" = 130 ] || complain "exit code $code"
said "qlora-train: stopped after step * of 100000000$lost"
grep -q 'class="status stopped".*topped after step .*could not be written' \
    disk/out/report.html || complain "the report does not say it"
