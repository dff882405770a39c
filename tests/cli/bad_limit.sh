# A file that must not grow beyond a limit (ulimit -f): the write fails, the
# process is not killed.
. "$QL_SOURCE/tests/cli/refuse.sh"

refuse 4 "cannot write out*: File too large; the file system or a limit *" \
    sh -c 'ulimit -f 8; exec qlora-quantize d out'
limited="--quiet --model d --max-steps 1 --data data.jsonl --output out"
refuse 4 "cannot write out/*: File too large; the file system or a limit *" \
    sh -c "ulimit -f 8; exec qlora-train $limited --sample-prompts 0"

# Samples of before the training stay; the same command goes on from there.
! sh -c "ulimit -f 8; exec qlora-train $limited" 2>said || exit 1
grep -q 'cannot write out/.*: File too large' said
[ "$(ls out)" = samples.json ]
accept qlora-train $limited
