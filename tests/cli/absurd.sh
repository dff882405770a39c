# Files that were made to break what reads them: refused with a sentence, in
# bounded memory and time.
. "$QL_SOURCE/tests/cli/refuse.sh"

# bounds MIB PATTERN [ARGUMENT...]: qlora-train, which must refuse
bounds() {
    mib=$1
    pattern="qlora-train: $2"
    shift 2
    code=0
    python3 "$QL_SOURCE/tests/cli/bounded.py" "$mib" 60 qlora-train --quiet \
        --model d --data data.jsonl --output out --threads 1 "$@" \
        >"$log/out" 2>"$log/err" || code=$?
    [ "$code" = 3 ] || complain "$*: exit code $code"
    said "$pattern" "$@"
    [ ! -e out ] || complain "$*: an output"
}

# A gibibyte of what is no data, which takes no room on disk
truncate -s 1G huge.jsonl
bounds 300 "huge.jsonl:1: text is longer than the limit of 67108864 bytes" \
    --data huge.jsonl
printf '["' >huge.json
truncate -s 1G huge.json
bounds 300 "huge.json:1: the record is longer than 67108864 bytes" \
    --data huge.json
truncate -s 1G huge.txt
bounds 300 "huge.txt:1: the text has a NUL character" --data huge.txt
head -c 100000000 /dev/zero | tr '\0' a | gzip -1 >bomb.gz
bounds 300 "bomb.gz:1: text is longer than the limit of 67108864 bytes" \
    --data bomb.gz
rm huge.* bomb.gz
for name in tokenizer.json tokenizer_config.json special_tokens_map.json; do
    truncate -s 1G d/$name
    bounds 100 "d/$name: 1073741824 bytes, but at most * are allowed"
    damaged
done

# Nesting
toy deep 100000 >deep.jsonl
bounds 100 "deep.jsonl:1: not valid JSON: maximum parsing depth *" \
    --data deep.jsonl
head -c 1000000 /dev/zero | tr '\0' '[' >deep.json
bounds 100 "deep.json:1: not a JSON list: it has no end" --data deep.json

# Templates without end
template() {
    printf '{"messages": [{"role": "user", "content": "a"}, %s\n' \
        '{"role": "assistant", "content": "b"}]}' >talk.jsonl
    printf '%s' "$1" >t.jinja
    bounds "$2" "$3" --data talk.jsonl --chat-template t.jinja
}

template '{% for i in range(1000000000) %}x{% endfor %}' 100 \
    'talk.jsonl:1: t.jinja:1: OverflowError: Range too big*'
template '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}' 100 \
    '*t.jinja:1: stopped * evaluations deep: the template calls itself*'
template "{{ 'x' * 1000000000000 }}" 400 \
    '*t.jinja:1: the template wants more than the limit of * bytes of memory'
template "{% set n = namespace(x='ab') %}{% for i in range(99) %}
{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}" 400 \
    '*t.jinja:2: the template wants more than the limit of * bytes of memory'
template "{% for a in range(99999) %}{% for b in range(99999) %}
{% set c = a * b %}{% endfor %}{% endfor %}" 400 '*t.jinja:*'
template "{{ $(head -c 9999 /dev/zero | tr '\0' '(') }}" 100 \
    '*t.jinja:1: TemplateSyntaxError: brackets are nested deeper than *'

# Merges that say what they are made of by themselves, or nothing, or that are
# a million; ids far away; names that are a text; what makes texts grow
tokenizer() {
    toy set d/tokenizer.json "$1" "$2"
    mib=$3
    shift 3
    bounds "$mib" "$@"
    damaged
}

t=d/tokenizer.json
tokenizer model.merges '["a a"]' 100 \
    "$t: model: merge 0 needs the token \"aa\", which is not in the vocabulary"
tokenizer model.merges '["a "]' 100 "$t: model: merge 0 must name two tokens"
tokenizer model.vocab.zz 2147483647 100 \
    "$t: model: token \"zz\": id 2147483647 is not in 0 to *"
tokenizer added_tokens '[{"id": 5000000000, "content": "zz"}]' 100 \
    "$t: added_tokens: token \"zz\": id 5000000000 is not in 0 to *"
python3 -c 'print("{\"text\": \"%s!\"}" % ("a" * 9999))' >long.jsonl
tokenizer pre_tokenizer '{"type": "Split", "behavior": "Isolated",
    "pattern": {"Regex": "(a+)+$"}}' 100 "long.jsonl:1: *" --data long.jsonl
python3 - "$t" <<'EOF'
import json
import sys
path = sys.argv[1]
with open(path) as f:
    o = json.load(f)
o['model']['continuing_subword_prefix'] = 'a'
o['model']['merges'] = ['a a'] * 1000000  # "a" again
o['normalizer'] = {'type': 'Replace', 'pattern': {'String': 'a'},
                   'content': 'ba' * 5000000}
with open(path, 'w') as f:
    json.dump(o, f)
EOF
python3 -c 'print("{\"text\": \"%s\"}" % ("ca" * 9999))' >long.jsonl
bounds 2500 "long.jsonl:1: *" --data long.jsonl
