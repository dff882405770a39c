# Results that nobody can take: exit code 1 and a sentence; work that is done
# stays done.
. "$QL_SOURCE/tests/cli/refuse.sh"

# lost COMMAND...: with stdout closed, full, and without a reader
lost() {
    for to in '>&-' '>/dev/full' '| true'; do
        code=0
        case $to in
        '>&-') "$@" >&- 2>"$log/err" || code=$? ;;
        '>/dev/full') "$@" >/dev/full 2>"$log/err" || code=$? ;;
        *) code=$({ { "$@" || echo $? >&3; } 2>"$log/err" | true; } 3>&1) ;;
        esac
        [ "${code:-0}" = 1 ] || complain "$* $to: exit code $code"
        said "qlora-*: cannot write to stdout" "$* $to"
    done
}

: >"$log/out"
lost qlora-generate --model d --prompt a --max-new-tokens 50
lost qlora-quantize --force d out
accept generate --model out
rm -r out
lost qlora-train --quiet --json --model d --data data.jsonl --output out \
    --overwrite-output-dir --max-steps 20 --gradient-accumulation-steps 1 \
    --logging-steps 1
accept generate --adapter out

# A closed stderr or stdin takes nothing of the files
rm -r out
qlora-quantize d out >"$log/out" 2>&- <&- || complain "no stderr"
accept generate --model out
