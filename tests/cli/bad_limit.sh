# A file that must not grow beyond a limit (ulimit -f): the write fails, the
# process is not killed.
. "$QL_SOURCE/tests/cli/refuse.sh"


refuse 4 "cannot write out*: File too large; the file system or a limit *" \
    sh -c 'ulimit -f 8; exec qlora-quantize d out'
refuse 4 "cannot write out/*: File too large; the file system or a limit *" \
    sh -c 'ulimit -f 8; exec qlora-train --quiet --model d --max-steps 1 \
        --data data.jsonl --output out'
