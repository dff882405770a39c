# Each mistake that qlora-data knows is planted, and found with its place;
# sound data have none.
model=$QL_SOURCE/tools/demo/stories260K

# says NAME COUNT LINE OPTION...: the report has this finding, with this count,
# and its first example at this line (0: there is none).
says() {
    name=$1 count=$2 line=$3
    shift 3
    qlora-data --model "$model" --quiet --json "$@" >report.json || code=$?
    python3 - "$name" "$count" "$line" <<'END'
import json
import sys

name, count, line = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rows = [json.loads(r) for r in open('report.json', encoding='utf-8')]
found = [r for r in rows if r.get('finding') == name]
if count == 0:
    sys.exit(f'{name}: {found}' if found else 0)
assert len(found) == 1, (name, rows)
assert found[0]['count'] == count, found
examples = found[0]['examples']
assert (examples[0]['line'] if examples else 0) == line, found
END
}

chat() {
    printf '{"messages": [{"role": "user", "content": "%s"}, ' "$1"
    printf '{"role": "assistant", "content": "%s"}]}\n' "$2"
}

{
    chat Hi 'Hello there.'
    chat 'Who are you?' 'A small model.'
} >sound.jsonl
qlora-data --model "$model" --quiet --data sound.jsonl >sound.txt
grep -q '^no mistakes found$' sound.txt
grep -q '\[\[ Hello there\.' sound.txt

# what would stop the training is told, and is bad input
{
    cat sound.jsonl
    echo '{"messages": 7}'
} >refused.jsonl
says refused 1 3 --data refused.jsonl
code=0
qlora-data --model "$model" --quiet --data refused.jsonl >out.txt || code=$?
[ "$code" = 3 ]
grep -q 'refused.jsonl:3: ' out.txt

echo '[]' >none.json
code=0
qlora-data --model "$model" --quiet --data none.json >out.txt || code=$?
[ "$code" = 3 ]
grep -q '^nothing to train on: there are no records$' out.txt

{
    chat a b
    echo '{"messages": [{"role": "user", "content": "Nobody answers."}]}'
} >empty.jsonl
says nothing_to_train 1 2 --data empty.jsonl

{
    chat a b
    chat a 'This answer is longer than the others by far, and so it goes on.'
} >long.jsonl
says cut 1 2 --data long.jsonl --max-length 24
says too_long 1 2 --data long.jsonl --max-length 24 --truncation drop

# no end token: in the tokenizer, in the template
cp -r "$model" unnamed
chmod -R u+w unnamed
python3 "$QL_SOURCE/tests/cli/toy.py" set unnamed/tokenizer_config.json \
    eos_token -
rm -f unnamed/special_tokens_map.json unnamed/generation_config.json
python3 "$QL_SOURCE/tests/cli/toy.py" set unnamed/config.json eos_token_id -
model=unnamed says no_end_named 1 0 --data sound.jsonl
cat >endless.jinja <<'END'
{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant:' }}{% endif %}
END
says no_end_token 2 0 --data sound.jsonl --chat-template endless.jinja

echo '{"text": "<s> Once upon a time"}' >bos.jsonl
says double_bos 1 0 --data bos.jsonl

{
    echo '{"text": "One story, by itself."}'
    echo '{"text": "One story.</s><s> Another story."}'
} >joined.jsonl
says joined_texts 1 2 --data joined.jsonl

{
    chat a b
    chat c ''
} >silent.jsonl
says empty_answer 1 2 --data silent.jsonl

{
    printf '{"messages": [{"role": "user", "content": "a"}, '
    printf '{"role": "assistant", "content": "bb"}, '
    printf '{"role": "user", "content": "c"}, '
    printf '{"role": "assistant", "content": "d"}]}\n'
} >turns.jsonl
says turns_not_trained 0 0 --data turns.jsonl
qlora-data --model "$model" --quiet --json --data turns.jsonl \
    --train-on last_turn >last.json
grep -q '"finding": "turns_not_trained"' last.json

{
    chat a b
    chat c d
    chat a b
} >twice.jsonl
says duplicate 1 3 --data twice.jsonl
head -n 1 twice.jsonl >eval.jsonl
says evaluation_overlap 1 1 --data twice.jsonl --eval-data eval.jsonl
says evaluation_overlap 0 0 --data sound.jsonl --eval-data eval.jsonl

# ids and labels are those of the trainer: the answer, and no more
qlora-data --model "$model" --quiet --ids --data sound.jsonl >ids.jsonl
python3 - <<'END'
import json

rows = [json.loads(r) for r in open('ids.jsonl', encoding='utf-8')]
assert [r['line'] for r in rows] == [1, 2]
for r in rows:
    ids, labels = r['input_ids'], r['labels']
    trained = [i for i, label in enumerate(labels) if label != -100]
    assert len(ids) == len(labels)
    assert ids[0] == 1 and labels[0] == -100
    assert all(labels[i] == ids[i] for i in trained)
    assert trained == list(range(trained[0], len(ids)))
    assert labels[-1] == 2
END

# texts to tokens
[ "$(printf 'Once\nupon' | qlora-data --model "$model" --stdin --json |
    wc -l)" = 2 ]
qlora-data --model "$model" --text 'Once upon' --json |
    python3 -c 'import json, sys; assert json.load(sys.stdin)["ids"][0] == 1'
code=0
qlora-data --model "$model" >out.txt 2>err.txt || code=$?
[ "$code" = 2 ]
grep -q 'give --data, --text or --stdin' err.txt
code=0
qlora-data --model "$model" --data missing.jsonl >out.txt 2>err.txt || code=$?
[ "$code" = 3 ]
grep -q 'missing.jsonl' err.txt
