# Every file of the shared data trains, in the form that it is found to have:
# two steps of a small model. Then the ways in which files come.
. "$QL_SOURCE/tests/cli/refuse.sh"

data=$QL_SHARED/data
model=$QL_SHARED/models/stories260K
[ -d "$data" ] || {
    echo "SKIP: $data is not there"
    exit 77
}

# steps ARGUMENT...: a run of two steps, after which an adapter is there
steps() {
    rm -rf out
    accept qlora-train --model "$model" --output out --max-steps 2 --lora-r 2 \
        --gradient-accumulation-steps 1 --logging-steps 1 --sample-prompts 0 \
        --max-length 200 --threads 1 "$@"
    grep -q '^step 2/2  loss [0-9]' "$log/err" || complain "no second step"
    [ -s out/adapter_model.safetensors ] || complain "no adapter"
}

# reads FORM FILE: trains as this
reads() {
    steps --data "$2"
    grep -q "^data: $2: $1" "$log/err" || complain "$2 is not read as $1"
}

n=0
while read -r file form; do
    reads "$form" "$data/$file"
    n=$((n + 1))
done <<'EOF'
chat/sharegpt_glaive_toolcall_300.json sharegpt (conversations), 300 records
chat/sharegpt_vicuna_identity.json sharegpt (conversations), 500 records
chat/soda_messages.jsonl messages (messages), 704 records
classification/sst2_dev_872.jsonl alpaca (text, label), 872 records
classification/sst2_train_5000.jsonl alpaca (text, label), 5000 records
instruct/alpaca_1k.json alpaca (instruction, output), 1000 records
instruct/llamafactory_alpaca_en_demo.json alpaca (instruction, output), 999
instruct/wikisql_text_1000.jsonl text (text), 1000 records
math/gsm8k_test_300.jsonl alpaca (question, answer), 300 records
math/gsm8k_train_1500.jsonl alpaca (question, answer), 1500 records
preference/dpo_en_150.json sharegpt (conversations, chosen), 150 records
pretrain/c4_demo_300.jsonl text (text), 300 records
pretrain/tinyshakespeare.txt text
pretrain/tinystories_valid.jsonl text (text), 1910 records
EOF
[ "$n" = "$(find "$data" -type f | wc -l)" ] || complain "$n files are known"

# Compressed, as a list and as lines, as text; several at once
gzip -c "$data/instruct/alpaca_1k.json" >list.json.gz
gzip -c "$data/math/gsm8k_test_300.jsonl" >lines.gz
gzip -c "$data/pretrain/tinyshakespeare.txt" >plays.txt.gz
reads 'alpaca (instruction, output), 1000 records' list.json.gz
reads 'alpaca (question, answer), 300 records' lines.gz
reads 'text, 1 record' plays.txt.gz
steps --data list.json.gz lines.gz plays.txt.gz "$data/chat/soda_messages.jsonl"
grep -q '^data: .* samples, ' "$log/err" || complain "no sum"

# Each format by force
force() {
    printf '%s\n' "$2" >forced.jsonl
    steps --data forced.jsonl --format "$1"
    grep -q "^data: forced.jsonl: $1" "$log/err" || complain "not $1"
}

force messages '{"text": "x", "messages": [{"role": "user", "content": "Hi"},'"\
"'{"role": "assistant", "content": "Hello"}]}'
force prompt_completion '{"text": "x", "prompt": "Hi", "completion": " you"}'
force alpaca '{"text": "x", "instruction": "Hi", "output": "Hello"}'
force sharegpt '{"text": "x", "conversations": [{"from": "human", '"\
"'"value": "Hi"}, {"from": "gpt", "value": "Hello"}]}'
force text '{"prompt": "Hi", "completion": "you", "text": "Once upon a time"}'
force text 'Once upon a time there was a file of another name.'
