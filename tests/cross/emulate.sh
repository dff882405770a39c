#!/bin/sh
# Runs a test program under emulation:
#
#     emulate.sh EMULATOR PROCESSOR PROGRAM [SET...]
#
# Fails if the program skips an instruction set other than those named, which
# are the ones that the processor lacks.
set -eu

emulator=$1
processor=$2
program=$3
shift 3

libraries=/usr/aarch64-linux-gnu # where Debian has them

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"$emulator" -L "$libraries" -cpu "$processor" "$program" >"$log" || status=$?
cat "$log"
if [ "$status" -ne 0 ]; then
    exit "$status"
fi
skipped=$(sed -n 's/^SKIP: \(.*\) cannot run on this machine$/\1/p' "$log")
for set in $skipped; do
    case " $* " in
    *" $set "*) ;;
    *)
        echo "$processor should be able to run $set"
        exit 1
        ;;
    esac
done
