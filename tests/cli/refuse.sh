# For cases about bad input; read with: . "$QL_SOURCE/tests/cli/refuse.sh"
#
# Makes the toy model m and the data data.jsonl, and gives
#   toy ARGUMENT...                   tests/cli/toy.py
#   damaged                           a fresh copy d of the model m
#   refuse CODE PATTERN COMMAND...    the command must end with this exit code,
#       say one line on stderr that is like the pattern (of case), say nothing
#       on stdout, and leave every file as it was, without a file more or less
#   accept COMMAND...                 the command must end with 0
# COMMAND may begin with train or generate, short for what they need for d.
# The commands' output is kept out of the working directory.

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

toy() {
    python3 "$QL_SOURCE/tests/cli/toy.py" "$@"
}

damaged() {
    rm -rf d
    cp -R m d
}

# Names, sizes and sums of all that lies here.
snapshot() {
    find . -type d -print | sort
    find . -type f -exec cksum {} + | sort
    find . -type l -print | sort
}

complain() {
    printf '%s\n' "$@" '--- stdout' "$(cat "$log/out")" '--- stderr' \
        "$(cat "$log/err")"
    exit 1
}

# run COMMAND...: its exit code in $code. train and generate stand for the
# command with what it needs for d.
run() {
    case $1 in
    train)
        shift
        set -- qlora-train --quiet --model d --data data.jsonl --output out \
            --max-steps 2 --gradient-accumulation-steps 1 --threads 1 "$@"
        ;;
    generate)
        shift
        set -- qlora-generate --model d --prompt "a b" --max-new-tokens 2 \
            --threads 1 "$@"
        ;;
    esac
    code=0
    timeout -k 5 100 "$@" >"$log/out" 2>"$log/err" || code=$?
}

# said PATTERN COMMAND...: of stderr the last line, which is the sentence.
said() {
    pattern=$1
    shift
    sentence=$(grep -v "^See 'qlora" "$log/err" | tail -n 1)
    # shellcheck disable=SC2254
    case $sentence in
    $pattern) ;;
    *) complain "$*:" "said:   $sentence" "not:    $pattern" ;;
    esac
}

refuse() {
    want=$1
    pattern="qlora-*: $2"
    shift 2
    snapshot >"$log/before"
    run "$@"
    [ "$code" = "$want" ] || complain "$*: exit code $code, not $want"
    said "$pattern" "$@"
    [ ! -s "$log/out" ] || complain "$*: something on stdout"
    snapshot >"$log/after"
    cmp -s "$log/before" "$log/after" ||
        complain "$*: files changed" "$(diff "$log/before" "$log/after")"
}

accept() {
    run "$@"
    [ "$code" = 0 ] || complain "$*: exit code $code, not 0"
}

toy model m
for text in "the cat sat" "a bad dog ran" "the sun is hot"; do
    printf '{"prompt": "a b", "completion": "%s"}\n' "$text"
done >data.jsonl
damaged
