# One bit of the header turned over: each time a sound end, and never a file
# that was not complete.
. "$QL_SOURCE/tests/cli/refuse.sh"

bit=1
while [ $bit -lt 12000 ]; do
    damaged
    toy flip d/model.safetensors $bit
    run qlora-quantize --threads 1 d out
    case $code in
    0) accept generate --model out ;;
    3) said "qlora-quantize: d*" "bit $bit" ;;
    *) complain "bit $bit: exit code $code" ;;
    esac
    rm -rf out
    set -- out*
    [ "$*" = "out*" ] || complain "bit $bit left $*"
    bit=$((bit + 379))
done
