# qlora-generate: conversations of a file and of standard input, stop texts, end
# tokens, and what is said on standard error.
demo=$QL_SOURCE/tools/demo
cp -R "$demo/stories260K" model
chmod -R u+w model
generate() {
    qlora-generate --model model --temperature 0 "$@"
}

cat >talks.jsonl <<'END2'
{"messages": [{"role": "user", "content": "Tell me of Lily."}]}
[{"role": "system", "content": "Be kind."},
 {"role": "user", "content": "Who is Tom?"}]
{"messages": [{"role": "user", "content": "Tell me of Lily."}]}
END2
generate --messages talks.jsonl --max-new-tokens 30 --quiet >plain 2>err
[ ! -s err ]
generate --messages - --max-new-tokens 30 --json <talks.jsonl >json 2>err
grep -q '^memory: weights .*, work .*, cache up to .* (for 512 tokens)$' err
[ "$(grep -c '^memory' err)" -eq 1 ]
[ "$(grep -c '^prompt: .* tokens/s; text: .* tokens/s' err)" -eq 3 ]
grep -q 'no chat template' err
generate --prompt 'User: Tell me of Lily.
Assistant:' --max-new-tokens 30 --quiet >prompt
python3 -c '
import json
plain = open("plain", encoding="utf-8").read()
rows = [json.loads(line) for line in open("json", encoding="utf-8")]
assert len(rows) == 3
assert plain == "".join(row["text"] + "\n" for row in rows), plain
assert [(row.pop("index"), row.pop("line")) for row in rows] == [
    (0, 1), (1, 2), (2, 4)]
assert rows[0] == {**rows[2], "tokens_per_second":
                   rows[0]["tokens_per_second"]}
assert all(row["finish_reason"] == "length" for row in rows)
assert all(row["completion_tokens"] == 30 for row in rows)
assert all(len(row["token_ids"]) == 30 for row in rows)
assert all(len(row["prompt_token_ids"]) == row["prompt_tokens"] for row in rows)
prompt = open("prompt", encoding="utf-8").read()
assert prompt.endswith("Assistant:" + rows[0]["text"] + "\n"), prompt
'

# A file may be compressed; what can be read of a damaged one is answered.
gzip -k talks.jsonl
generate --messages talks.jsonl.gz --max-new-tokens 30 --quiet >packed
cmp plain packed
python3 -c '
import gzip, random
talk = "[{\"role\": \"user\", \"content\": \"%s\"}]\n"
with gzip.open("whole.gz", "wt", encoding="utf-8") as f:
    f.write(talk % "Hi")
    f.write(talk % "".join(random.Random(1).choices("abcdefgh", k=200000)))
data = open("whole.gz", "rb").read()
open("half.gz", "wb").write(data[:len(data) // 2])
'
code=0
generate --messages half.gz --max-new-tokens 5 --quiet >out 2>err || code=$?
[ $code -eq 3 ]
[ "$(wc -l <out)" -eq 1 ]
grep -q 'half.gz: damaged gzip data' err

# What is drawn for a conversation is its own, and the same every time.
for out in drawn again; do
    qlora-generate --model model --messages talks.jsonl --max-new-tokens 30 \
        --quiet --json --temperature 1 >$out
done
python3 -c '
import json
drawn, again = ([json.loads(line)["token_ids"] for line in open(name)]
                for name in ("drawn", "again"))
assert drawn == again
assert drawn[0] != drawn[2], drawn
'

# Greedy tokens are those of a pass over all before them, also where the machine
# has bf16, unless that is asked for.
cat >passes.py <<'END2'
import json
import os
import subprocess
import sys


def generate(prompt, tokens, *more):
    done = subprocess.run(
        ['qlora-generate', '--model', 'model', '--temperature', '0', '--prompt',
         prompt, '--max-new-tokens', str(tokens), '--json', '--quiet', *more],
        env={**os.environ, 'QL_ISA': 'generic-bf16'}, check=True,
        stdout=subprocess.PIPE, encoding='utf-8')
    return json.loads(done.stdout)


prompt = 'The sun'
whole = generate(prompt, 40)['token_ids']
checked = 0
for n in range(20, 40):
    part = generate(prompt, n)
    assert part['token_ids'] == whole[:n]
    next_one = generate(prompt + part['text'], 1)
    if next_one['prompt_token_ids'] == part['prompt_token_ids'] + whole[:n]:
        checked += 1
        assert next_one['token_ids'] == whole[n:n + 1], n
assert checked > 10, checked
END2
python3 passes.py

# In one stream the numbers stand behind the text.
generate --prompt 'Once upon a time' --max-new-tokens 5 >both 2>&1
head -n -1 both | tail -n 1 | grep -q '^Once upon a time'
tail -n 1 both | grep -q '^prompt: .* tokens/s; text: 5 tokens, '

# One token has no rate.
generate --prompt 'Once upon a time' --max-new-tokens 1 >one 2>err
grep -q 'tokens/s; text: 1 token (cut off' err

# A stop text ends it, and is not written.
generate --prompt 'Once upon a time' --max-new-tokens 60 -q >whole
generate --prompt 'Once upon a time' --max-new-tokens 60 -q \
    --stop nonsense --stop 'little girl' --json >stopped
python3 -c '
import json
whole = open("whole", encoding="utf-8").read()
row = json.load(open("stopped", encoding="utf-8"))
assert row["finish_reason"] == "stop", row
assert "little girl" in whole
assert row["prompt"] + row["text"] == whole[:whole.index("little girl")], row
'

# The penalty changes what is written; a template of the user is used.
generate --prompt 'Once upon a time' --max-new-tokens 60 -q \
    --repetition-penalty 1.5 >other
! cmp -s whole other || exit 1
echo '{% for m in messages %}{{ m.content }}{% endfor %}' >form.jinja
echo '[{"role": "user", "content": "Once upon a time"}]' |
    generate --messages - --chat-template form.jinja --max-new-tokens 5 -q

# What cannot be answered is said, by the place in the file, with a code.
refuse() {
    code=$1
    pattern=$2
    shift 2
    if generate -q "$@" >out 2>err; then
        exit 1
    else
        [ $? -eq "$code" ]
    fi
    grep -q "$pattern" err
    [ "$(wc -l <err)" -eq 1 ]
}
echo '[]' >empty.json
refuse 3 'empty.json:1: there are no messages' --messages empty.json
echo '{"messages": [' >cut.json
refuse 3 'cut.json:1: not valid JSON' --messages cut.json
echo 'Hello there' >text.json
refuse 3 'text.json:1: not valid JSON' --messages text.json
refuse 3 'cannot open none.json' --messages none.json
echo '[{"role": "user", "content": "x"}]' >x.json
refuse 3 'x.json:1: .*only cats' --messages x.json \
    --chat-template "{{ raise_exception('only cats') }}"
refuse 2 'prompt has 12 tokens, but the context is to have 10' \
    --prompt 'Once upon a time there was a little girl' --max-context 10
refuse 2 'context of 513 tokens, but the model was made for 512' \
    --prompt a --max-context 513
refuse 2 'give one of --prompt, --messages and --chat' --messages x.json \
    --prompt a
refuse 2 'exclude each other' --chat --json
refuse 2 'goes with --chat' --prompt a --system b
refuse 2 'goes with --prompt' --messages x.json --text-pair b
refuse 2 'model: the model is no classifier, and takes no pair of texts' \
    --prompt a --text-pair b
refuse 2 'for conversations, and not for --prompt' --prompt a \
    --chat-template '{% if'
refuse 2 'for conversations, and not for --prompt' --prompt a --date 2026-07-01

# What is wrong with one conversation keeps no other from its answer.
python3 -c '
import json
user = lambda text: json.dumps([{"role": "user", "content": text}])
print(user("Hi"), user("long " * 600), "[{}]", "{1 2}", user("Bye"), sep="\n")
' >mixed.jsonl
code=0
generate --messages mixed.jsonl --max-new-tokens 5 -q --json >json 2>err ||
    code=$?
[ $code -eq 3 ]
grep -q 'mixed.jsonl:2: the prompt has [0-9]* tokens, but the model' err
grep -q 'mixed.jsonl:3: message 1: "role" is missing' err
grep -q 'mixed.jsonl:4: not valid JSON' err
grep -q '3 of 5 conversations could not be answered' err
[ "$(wc -l <err)" -eq 4 ]
python3 -c '
import json
rows = [json.loads(line) for line in open("json", encoding="utf-8")]
assert [(row["index"], row["line"], "text" in row, "error" in row)
        for row in rows] == [(0, 1, True, False), (1, 2, False, True),
        (2, 3, False, True), (3, 4, False, True), (4, 5, True, False)], rows
assert "mixed.jsonl:3: message 1" in rows[2]["error"], rows
'
code=0
generate --messages mixed.jsonl --max-new-tokens 5 -q >out 2>err || code=$?
[ $code -eq 3 ]
[ "$(wc -l <err)" -eq 4 ]

# Nor does one that is no JSON, and each is told once.
python3 -c '
import json
sound = json.dumps([{"role": "user", "content": "Hi"}]).encode()
broken = [b"garbage", b"{\"a\": ] }", sound + b"}",
          b"{\"messages\":[{\"role\":\"user\",\"content\":\"tr",
          b"{\"messages\":[{\"role\":\"user\",\"content\":\"tr\"}",
          b"{\"messages\":[", b"[\0]", b"[\n {\n]"]
with open("broken.jsonl", "wb") as f:
    for line in broken:
        f.write(line + b"\n" + sound + b"\n")
'
code=0
generate --messages broken.jsonl --max-new-tokens 2 -q --json >json 2>err ||
    code=$?
[ $code -eq 3 ]
grep -q '8 of 17 conversations could not be answered' err
[ "$(wc -l <err)" -eq 9 ]
python3 -c '
import json
rows = [json.loads(line) for line in open("json", encoding="utf-8")]
assert [row["index"] for row in rows] == list(range(17)), rows
assert [row["line"] for row in rows if "text" in row] == [
    2, 4, 5, 6, 8, 10, 12, 14, 18], rows
errors = [row for row in rows if "error" in row]
assert [row["line"] for row in errors] == [1, 3, 5, 7, 9, 11, 13, 15], rows
for row in errors:
    assert row["error"].startswith("broken.jsonl:%d: " % row["line"]), row
'

# A conversation; what is no terminal gets no prompt.
printf 'Hi, Tom\n\n/system Be kind.\nHi\\\nTom\n/reset\nHi\n/exit\nHi\n' |
    generate --chat --max-new-tokens 12 --quiet >talk 2>err
[ ! -s err ]
python3 -c '
lines = open("talk", encoding="utf-8").read().split("\n")
assert len([line for line in lines if line]) >= 3, lines
'

# What begins with a slash can be said.
printf '//exit now\n' | generate --chat --max-new-tokens 12 --quiet >talk
echo '[{"role": "user", "content": "/exit now"}]' |
    generate --messages - --max-new-tokens 12 --quiet >said
cmp talk said
[ -s said ]

# An adapter is served on the weights that it was trained on, which run.yaml
# tells, unless the user says otherwise; so it is from a checkpoint of the run,
# but not from another folder below it.
train() {
    qlora-train --model model --data "$demo/plays.jsonl.gz" --max-length 128 \
        --max-steps 2 --gradient-accumulation-steps 1 --lora-r 2 --quiet \
        --sample-prompts 0 --compute fp32 "$@" >/dev/null
}
serve() {
    generate --prompt ROMEO: --max-new-tokens 2 "$@" >/dev/null 2>err
}
as='qlora-generate: as the adapter was trained (run.yaml), a model that is not'
fp4="$as in 4 bits is quantized to fp4, without double quantization"
dense="$as in 4 bits is not quantized"
train --output fp4 --quant-type fp4 --no-double-quant --save-steps 1
train --output dense --method lora
serve --adapter fp4
grep -qxF "$fp4" err
serve --adapter fp4/checkpoint-1/
grep -qxF "$fp4" err
(cd fp4/checkpoint-1 && qlora-generate --model ../../model --adapter . \
    --prompt a --max-new-tokens 1 2>../../err)
grep -qxF "$fp4" err
serve --adapter fp4 --quiet
[ ! -s err ]
serve --adapter fp4 --no-quantize
! grep -q 'run.yaml\|were quantized' err || exit 1
serve --adapter dense
grep -qxF "$dense" err
! grep -q 'were quantized' err || exit 1
serve --adapter dense --quantize
! grep -q 'run.yaml' err || exit 1
grep -q 'were quantized' err
cp -R fp4/checkpoint-1 fp4/other
mkdir fp4/checkpoint-7
cp fp4/checkpoint-1/adapter_* fp4/checkpoint-7
for folder in other checkpoint-7; do
    serve --adapter fp4/$folder
    ! grep -q 'run.yaml' err || exit 1
done
cp -R fp4 foreign
echo 'double_quantum: false' >foreign/run.yaml
serve --adapter foreign
! grep -q 'run.yaml' err || exit 1

# So it is trained further on them.
train --output further --adapter fp4
grep -qx 'quant_type: fp4' further/run.yaml
grep -qx 'double_quant: false' further/run.yaml
train --output further --adapter fp4 --quant-type nf4 --overwrite-output-dir
grep -qx 'quant_type: nf4' further/run.yaml
grep -qx 'double_quant: false' further/run.yaml
train --output further --adapter dense --overwrite-output-dir
grep -qx 'method: lora' further/run.yaml
train --output further --adapter dense --method qlora --overwrite-output-dir
grep -qx 'method: qlora' further/run.yaml

# The chat template of an adapter counts wherever its folder has it, as in
# tokenizer_config.json; so it does in training further, and merged.
python3 -c '
import json
import shutil
shutil.copytree("dense", "form")
path = "form/tokenizer_config.json"
config = json.load(open(path, encoding="utf-8"))
form = "{% for m in messages %}Once {{ m.content }}.{% endfor %}"
open("form.jinja", "w", encoding="utf-8").write(form)
config["chat_template"] = form
json.dump(config, open(path, "w", encoding="utf-8"))
'
echo '[{"role": "user", "content": "upon"}]' >form.json
ids() {
    generate --messages form.json --max-new-tokens 4 --quiet --json "$@" |
        sed 's/.*\("prompt_token_ids": [^]]*\).*/\1/'
}
ids --adapter dense >plain
ids --adapter dense --chat-template form.jinja >wanted
ids --adapter form >ids
cmp wanted ids
! cmp -s plain ids || exit 1
echo '{"prompt": [{"role": "user", "content": "upon"}], "completion":' \
    '[{"role": "assistant", "content": "a time"}]}' >talk.jsonl
qlora-train --model model --adapter form --data talk.jsonl --output formed \
    --max-steps 1 --quiet --sample-prompts 0 >/dev/null
grep -q 'Once {{ m.content }}' formed/chat_template.jinja
grep -qx 'chat_template: null' formed/run.yaml
qlora-export merge --model model --adapter form --output formed-model \
    --no-compare --quiet >/dev/null
grep -q 'Once {{ m.content }}' formed-model/chat_template.jinja
