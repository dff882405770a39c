# A chat template that tells the time: all data of a run are told the same,
# that of its beginning, when it goes on later, and when it is repeated.
. "$QL_SOURCE/tests/cli/refuse.sh"

cat >clock.jinja <<'EOF'
{%- for c in strftime_now('%Y%m%d%H%M%S') %}{{ 'abcdefghij'[c | int] }}
{%- endfor %}
{%- for m in messages %}{{ m.role }}: {{ m.content }}.{% endfor %}
EOF
for word in cat dog sun moon; do
    printf '{"messages": [{"role": "user", "content": "a %s"},' "$word"
    printf ' {"role": "assistant", "content": "is hot"}]}\n'
done >data.jsonl

# chat ARGUMENT...: a run of 6 steps
chat() {
    accept qlora-train --model d --data data.jsonl --eval-data data.jsonl \
        --chat-template clock.jinja --threads 1 --max-steps 6 \
        --gradient-accumulation-steps 1 --save-steps 1 "$@"
}

# ids DATE: of what the template tells on that date
ids() {
    accept qlora-data --model d --data data.jsonl --ids --date "$1" \
        --chat-template clock.jinja
    cat "$log/out"
}

chat --output whole
grep -q 'the chat template tells the date: it is 20' "$log/err" ||
    complain "no date"
sleep 1.1
cp -R whole later
rm -r later/adapter_config.json later/best later/checkpoint-6 \
    later/checkpoint-5
chat --output later
grep -q 'going on from later/checkpoint-4' "$log/err" || complain "from where?"
cmp whole/adapter_model.safetensors later/adapter_model.safetensors
cmp whole/run.yaml later/run.yaml || sed 's/later/whole/' later/run.yaml |
    cmp - whole/run.yaml
date=$(sed -n "s/^date: ['\"]\(.*\)['\"]$/\1/p" whole/run.yaml)
sleep 1.1
accept qlora-train --config whole/run.yaml --output again
cmp whole/adapter_model.safetensors again/adapter_model.safetensors
ids "$date" >told
ids 2020-02-29 >other
cmp -s told other && complain "the same at any time"
ids "2020-02-29 12:00:00" | cmp - other
ids "2020-02-29 12:00:01" | cmp -s - other && complain "the same a second later"

for date in 2023-02-29 2024-13-01 24-1-1x yesterday "" "2024-01-01 25:00:00" \
    "2024-01-01 "; do
    refuse 2 "'$date' is not a date: write it as YYYY-MM-DD*" \
        qlora-data --model d --data data.jsonl --date "$date" \
        --chat-template clock.jinja
done
