# A conversation on a terminal.
exec python3 "$QL_SOURCE/tests/cli/chat_terminal.py" qlora-generate \
    --model "$QL_SOURCE/tools/demo/stories260K" --temperature 0 --chat
