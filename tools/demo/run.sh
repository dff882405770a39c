#!/usr/bin/env bash
# From a fresh checkout to a trained adapter, with the small model and the text
# that lie in this folder:
#
#     tools/demo/run.sh            results go to build/demo/
#     tools/demo/run.sh FOLDER     results go to FOLDER
#
# Installs what is missing, builds in build/ (or in $QL_BUILD), quantizes the
# model, trains an adapter, and shows what the model writes before and after.
# Running it again replaces the results.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
if [ $# -gt 1 ] || [[ ${1-} == -* ]]; then
    echo "usage: $0 [FOLDER]" >&2
    exit 2
fi
given=${1:+$(realpath -m -- "$1")}
cd "$root"
build=${QL_BUILD:-build}
out=${given:-$build/demo}
demo=tools/demo
prompt=ROMEO:
commands=(qlora-quantize qlora-train qlora-generate)
step=0

say() {
    step=$((step + 1))
    printf '\n== %d of 6: %s\n' "$step" "$*"
}

# Prints a command as one would type it, an option a line if it is long.
show() {
    local word line=
    for word in "$@"; do
        if [[ $word == --* ]] && [ $# -gt 8 ]; then
            line+=$' \\\n   '
        fi
        line+=" $(printf '%q' "$word")"
    done
    printf '\n$%s\n' "$line"
}

# logged LOG COMMAND...: what the command says is shown only if it fails.
logged() {
    local log=$1
    shift
    show "$@"
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}

# generate FILE OPTION...: the text goes to FILE and to the screen.
generate() {
    local file=$1
    shift
    set -- "$build/tools/qlora-generate" "$@" --prompt "$prompt" \
        --max-new-tokens 120 --temperature 0.7 --seed 1
    show "$@"
    "$@" | tee "$file"
}

# result SED: what the sed script finds in the trainer's results.
result() {
    sed -n "$1" "$out/result.txt" | grep .
}

say "install what is missing"
show tools/install-deps.sh
tools/install-deps.sh
mkdir -p "$out"

say "build"
if [ ! -e "$build/meson-private/coredata.dat" ]; then
    logged "$out/setup.log" meson setup "$build"
fi
logged "$out/build.log" ninja -C "$build" "${commands[@]/#/tools/}"
"$build/tools/qlora-train" --version

say "quantize the model to NF4, and read the result back"
set -- "$build/tools/qlora-quantize" "$demo/stories260K" "$out/nf4" \
    --quant-type nf4 --verify --force
show "$@"
"$@"

say "what the model writes: it was made for children's stories"
generate "$out/before.txt" --model "$out/nf4"

say "train an adapter on passages from plays; this takes about a minute"
set -- "$build/tools/qlora-train" --model "$out/nf4" \
    --data "$demo/plays.jsonl.gz" --eval-data "$demo/plays-eval.jsonl.gz" \
    --output "$out/adapter" --overwrite-output-dir --num-train-epochs 3 \
    --per-device-train-batch-size 2 --gradient-accumulation-steps 1 \
    --learning-rate 1e-2 --max-grad-norm 1 --logging-steps 20
show "$@"
# The settings, one "name: value" a line, go to the log only.
"$@" 2>&1 >"$out/result.txt" | tee "$out/train.log" |
    grep --line-buffered -Ev '^[a-z0-9_]+: [^ ]*$'

say "what the model writes with the adapter"
generate "$out/after.txt" --model "$out/nf4" --adapter "$out/adapter"

first=$(result 's/^eval loss: *\(.*\) ->.*/\1/p')
last=$(result 's/^eval loss:.*-> *//p')
cat <<END

== Result

Text before
-----------
$(cat "$out/before.txt")

Text after
----------
$(cat "$out/after.txt")

Training loss     $(result 's/^train loss: *//p') (first step, last step)
Evaluation loss   $first -> $last (passages that were not trained on)
Peak memory       $(result 's/.*peak memory: //p') in training
Training time     $(result 's/.*time: \([^,]*\),.*/\1/p') (minutes:seconds)
Adapter           $out/adapter
Report            $out/adapter/report.html
Losses by step    $out/adapter/metrics.csv
Settings          $out/train.log
END
if ! awk "BEGIN { exit !($last < $first) }"; then
    echo "run.sh: the evaluation loss did not fall" >&2
    exit 1
fi
