# Runs that are stopped, killed, damaged or changed, and go on.
. "$QL_SOURCE/tests/cli/refuse.sh"

for word in a the cat dog sun moon tree bird fish stone wind rain; do
    printf '{"prompt": "a b", "completion": "%s is hot"}\n' $word
done >data.jsonl
head -n 3 data.jsonl >eval.jsonl

# start ARGUMENT...: a run of 24 steps in the background, $pid
start() {
    qlora-train --model d --data data.jsonl --eval-data eval.jsonl \
        --threads 1 --no-packing --lora-r 2 --learning-rate 2e-2 \
        --gradient-accumulation-steps 3 --num-train-epochs 6 \
        --logging-steps 1 --eval-steps 5 --save-steps 2 "$@" \
        >"$log/out" 2>"$log/err" &
    pid=$!
}

# go ARGUMENT...: the same, to its end
go() {
    start "$@"
    code=0
    wait $pid || code=$?
}

# expect CODE TEXT: of the last run
expect() {
    [ "$code" = "$1" ] || complain "exit code $code, not $1"
    grep -q -e "$2" "$log/err" || complain "not said: $2"
}

# same FOLDER: is what the run that was not stopped left
same() {
    for name in adapter_model.safetensors adapter_config.json \
        best/adapter_model.safetensors checkpoint-24/optimizer.bin; do
        cmp whole/$name "$1/$name" || complain "another $name"
    done
    cut -d, -f1-7 whole/metrics.csv >"$log/whole"
    cut -d, -f1-7 "$1/metrics.csv" >"$log/other"
    cmp "$log/whole" "$log/other" || complain "another log"
    [ "$(ls -A whole)" = "$(ls -A "$1")" ] || complain "$(ls -A "$1")"
}

go --output whole
expect 0 '^training: 24 steps'
[ "$(ls -d whole/checkpoint-*)" = "whole/checkpoint-20
whole/checkpoint-22
whole/checkpoint-24" ] || complain "$(ls whole)"

# Stopped at some steps, in each way. A run may be done before it is stopped.
for signal in INT TERM KILL; do
    for step in 1 7 16; do
        [ ! -e out/adapter_config.json ] || continue
        : >"$log/err"
        start --output out
        until grep -q "^step $step/" "$log/err"; do
            kill -0 $pid 2>"$log/kill" || break
            sleep 0.002
        done
        kill -$signal $pid 2>"$log/kill" || :
        code=0
        wait $pid 2>"$log/wait" || code=$?
        case $signal$code in
        INT130 | TERM130)
            expect 130 'stopped after step [0-9]* of 24; the checkpoint of step'
            ;;
        KILL137 | *0) ;;
        *) complain "SIG$signal: exit code $code" ;;
        esac
    done
    if [ ! -e out/adapter_config.json ]; then
        go --output out
        expect 0 'going on from out/checkpoint-'
    fi
    same out
    mv out "$signal"
done
go --output INT
expect 2 'INT holds an adapter already'

# A checkpoint that is damaged is passed over
half() {
    rm -rf out
    cp -R whole out
    rm -r out/adapter_config.json out/best
}
half
toy flip out/checkpoint-24/optimizer.bin 4001
toy cut out/checkpoint-22/adapter_model.safetensors -1
go --output out
expect 0 'checkpoint-24/optimizer.bin is damaged: its CRC-32 is another; the'
expect 0 'checkpoint-22/adapter_model.safetensors is damaged'
expect 0 'going on from out/checkpoint-20, after step 20 of 24'
same out

# One of before there was a setting, which is not given, is of the same run
half
rm -r out/checkpoint-24
python3 - out/checkpoint-22/checkpoint.json <<'PY'
import json
import sys
import zlib

with open(sys.argv[1], encoding='utf-8') as f:
    made = json.load(f)
del made['run']['identity']['settings']['lr-scheduler-kwargs']
text = json.dumps(made['run'], indent=2, sort_keys=True)
made['crc32'] = f'{zlib.crc32(text.encode()):08x}'
with open(sys.argv[1], 'w', encoding='utf-8') as f:
    json.dump(made, f)
PY
go --output out
expect 0 'going on from out/checkpoint-22'
! grep 'lr-scheduler-kwargs' "$log/err" || complain "a setting that is the same"
same out

# One of another run is refused, and stays
half
rm -r out/checkpoint-20
go --output out --lora-r 3
expect 3 'checkpoint-22: lora-r was 2, is 3; no checkpoint in out can be used'
go --output out --max-length 5
expect 3 'the training data, or how they are read, are others'
go --output out --resume off
expect 2 'out holds checkpoints of a run that was not finished'
go --output out --resume out/checkpoint-21
expect 3 'out/checkpoint-21: no such folder'
half
go --output out --resume out/checkpoint-20 --num-train-epochs 7
expect 0 'num-train-epochs was 6.0, is 7.0'
expect 0 'the run now ends after step 28 instead of 24'
expect 0 'the learning rate of step 21 is now '

# Where quiet is asked for, warnings stay, and nothing else
half
toy flip out/checkpoint-24/optimizer.bin 4001
go --output out --num-train-epochs 7 --quiet
expect 0 'checkpoint-24/optimizer.bin is damaged: its CRC-32 is another; the'
expect 0 'num-train-epochs was 6.0, is 7.0'
expect 0 'the run now ends after step 28 instead of 24'
expect 0 'the learning rate of step 23 is now '
expect 0 'out/run.yaml was there before and stays'
[ "$(wc -l <"$log/err")" = 5 ] || complain "not quiet: $(cat "$log/err")"
half
go --output out --resume off --overwrite-output-dir
expect 0 '^step 1/24'
same out

# Early stopping, and the adapter that is kept
go --output early --learning-rate 0.5 --early-stopping-patience 1 \
    --lr-scheduler-type constant --num-train-epochs 60
expect 0 'evaluation at step'
grep -q '^kept:  *step [0-9]*, eval loss' "$log/out" || complain "not kept"
early='stopped early after step [0-9]* of 240: 1 evaluation without a smaller'
expect 0 "$early loss"
grep -q "class=\"status finished\".*$early" early/report.html ||
    complain "the report does not say that it stopped early"
cmp early/adapter_model.safetensors early/best/adapter_model.safetensors
go --output bad --learning-rate 90 --lr-scheduler-type constant --eval-steps 1 \
    --max-steps 30 --logging-steps 10 --early-stopping-patience 2 --json \
    --no-load-best-model-at-end --quiet
worse='the adapter kept is worse than the model without it (.* against '
expect 0 "$worse"
[ "$(wc -l <"$log/err")" = 1 ] || complain "not quiet: $(cat "$log/err")"
grep -q "class=\"status finished\".*$worse" bad/report.html ||
    complain "the report does not say that it is worse"
step=$(sed -n 's/^.*"steps": \([0-9]*\),.*"stopped_early": true, .*/\1/p' \
    "$log/out")
[ "$step" -lt 30 ] && grep -q "^$step,[0-9]" bad/metrics.csv ||
    complain "no training loss of its last step: $(cat bad/metrics.csv)"
grep -q '"eval_loss": .*, "best_step": ' "$log/out" || complain "no best step"
go --output vain --early-stopping-patience 4 --dry-run
expect 0 'patience 4 cannot end this run of 24 steps early: 4 evaluations are '
go --output vain --early-stopping-patience 3 --dry-run
! grep 'cannot end this run' "$log/err" || complain "it can end the run early"
refuse 2 "early-stopping-patience goes by the loss of evaluation data; give *" \
    train --output vain --early-stopping-patience 1 --eval-steps 1

# A run that fails at its very end: its checkpoint is told, the report says why,
# nothing else of the end is there, and it is gone on from
mkdir d/vocab.json
# failed SENTENCE
failed() {
    expect 3 "$1"
    grep -q "class=\"status failed\".*$1" out/report.html ||
        complain "the report does not say why"
    for name in README.md run.yaml tokenizer.json adapter_config.json; do
        [ ! -e out/$name ] || complain "$name is there"
    done
}
rm -rf out
go --output out
failed "vocab.json.*; the checkpoint of step 24 is in out/checkpoint-24"
rm -r d/vocab.json
go --output out
expect 0 'going on from out/checkpoint-24, after step 24 of 24'
same out
mkdir d/vocab.json
rm -rf out
go --output out --save-strategy no --no-load-best-model-at-end
failed "vocab.json.*; the checkpoint of step 24 is in out/checkpoint-24"
rm -rf d/vocab.json
go --output out --save-strategy no --no-load-best-model-at-end
expect 0 'going on from out/checkpoint-24, after step 24 of 24'
[ "$(cut -d, -f1-7 out/metrics.csv)" = "$(cut -d, -f1-7 whole/metrics.csv)" ] ||
    complain "another log"

# What is learnt makes other texts less likely: the first evaluation is best.
mkdir d/vocab.json
printf '{"prompt": "a b", "completion": "b b b b b b"}\n' >eval.jsonl
go --output out --resume off --overwrite-output-dir --save-strategy no
expect 3 'vocab.json.*; the best adapter, of step 5, is in out/best$'
rm -r d/vocab.json
head -n 3 data.jsonl >eval.jsonl

# What a run replaces stays until its end, and is not taken for what it made
rm -rf out
go --output out
mkdir d/vocab.json
go --output out --seed 7 --overwrite-output-dir
expect 3 'vocab.json.*; the checkpoint of step 24 is in out/checkpoint-24'
cmp out/adapter_model.safetensors whole/adapter_model.safetensors ||
    complain "what was there is gone"
rm -r d/vocab.json
go --output out --seed 7 --overwrite-output-dir
expect 0 'going on from out/checkpoint-24, after step 24 of 24'
! cmp -s out/adapter_model.safetensors whole/adapter_model.safetensors ||
    complain "what was there is still there"
go --output out --seed 7 --overwrite-output-dir
expect 0 '^step 1/24'

# On from an adapter, with its settings, which run.yaml has
go --output more --adapter whole --lora-r 5
expect 2 'lora-r is not what the adapter of --adapter has'
accept train --output more --adapter whole
grep -q '^lora_r: 2$' more/run.yaml || complain "$(cat more/run.yaml)"
accept qlora-train --config more/run.yaml --output again --quiet
cmp more/adapter_model.safetensors again/adapter_model.safetensors

# A loss that is not finite: where it comes from, and what is saved
go --output diverged --learning-rate 900 --weight-decay 9 --adam-beta1 0 \
    --max-grad-norm 0 --lr-scheduler-type constant
expect 5 'is not finite, .*for data.jsonl:[0-9]*'
expect 5 'the checkpoint of step [0-9]* is in diverged/checkpoint-'
