# Memory that cannot be had: exit code 4 and a sentence. The address space is
# limited, which a sanitizer needs for itself.
. "$QL_SOURCE/tests/cli/refuse.sh"

if ! sh -c 'ulimit -v 400000; exec qlora-quantize --help' >"$log/out" 2>&1; then
    echo "the commands do not start in 400 MB of address space"
    exit 77
fi

# small COMMAND...: in 400 MB
small='ulimit -v 400000; exec "$@"'

python3 - >long.jsonl <<'PY'
print('{"text": "' + 'the cat sat on a dog ' * 20000 + '"}')
PY
toy set d/config.json max_position_embeddings 1000000
toy model big hidden=256 layers=8
toy set big/config.json max_position_embeddings 1000000
refuse 4 "*: out of memory (* bytes asked for); use a smaller model, length *" \
    sh -c "$small" sh qlora-train --quiet --model d --data long.jsonl \
    --output out --max-length 500000 --threads 1
refuse 4 "*: out of memory (* bytes asked for); use a smaller model, length *" \
    sh -c "$small" sh qlora-train --quiet --model d --data data.jsonl \
    --output out --lora-r 16384 --threads 1
refuse 4 "*: out of memory (* bytes asked for); use a smaller model, length *" \
    sh -c "$small" sh qlora-generate --model big --threads 1 \
    --prompt "$(head -c 120000 /dev/zero | tr '\0' a)"

# A config that promises a giant takes no memory for it
toy set d/config.json hidden_size 1000000
refuse 3 "d: tensor model.embed_tokens.weight: shape *" \
    sh -c "$small" sh qlora-quantize --threads 1 d out
