# Data that cannot be read, or is nothing to train on.
. "$QL_SOURCE/tests/cli/refuse.sh"

# lines TEXT...: data.jsonl
lines() {
    printf '%s\n' "$@" >data.jsonl
}

good='{"text": "a b"}'
refuse 3 "cannot open none.jsonl: No such file or directory" \
    train --data none.jsonl
refuse 3 "cannot read d: it is a folder" train --data d
refuse 3 "cannot open none.jsonl: No such file*" train --eval-data none.jsonl
: >data.jsonl
refuse 3 "data.jsonl: nothing to train on: no records; write one JSON object*" \
    train
lines '' '  ' ''
refuse 3 "data.jsonl: nothing to train on: no records; *" train
lines "$good" 'hello'
refuse 3 "data.jsonl:2: not valid JSON: *" train
lines "$good" '' '{"text": "a"'
refuse 3 "data.jsonl:3: not valid JSON: *" train
lines "$good" '{"text": "a"} {"text": "b"}'
refuse 3 "data.jsonl:2: not valid JSON: *" train
lines '[{"text": "a"},' ''
refuse 3 "data.jsonl:3: not a JSON list: it has no end" train
lines '[{"text": "a"},,' ']'
refuse 3 "data.jsonl:1: not a JSON list: an element is missing" train
lines '[{"text": "a"}]' '{"text": "b"}'
refuse 3 "data.jsonl:2: not a JSON list: something follows it" train
lines "$good" '"text"'
refuse 3 "data.jsonl:2: a record must be a JSON object" train
lines '{"quest": "a", "answer": "b"}'
refuse 3 "data.jsonl:1: the form of the record is not known: it has *(quest*" \
    train
lines "$good" '{"prompt": "a", "completion": "b"}'
refuse 3 "data.jsonl:2: \"text\" is missing" train
lines "$good" '{"text": 3}'
refuse 3 "data.jsonl:2: \"text\" must be a string" train
lines '{"messages": "a"}'
refuse 3 "data.jsonl:1: \"messages\" must be a list" train
lines '{"messages": [{"role": "pirate", "content": "a"},' \
    '{"role": "assistant", "content": "a"}]}'
tr -d '\n' <data.jsonl >line
mv line data.jsonl
refuse 3 "data.jsonl:1: the default chat template:1: unknown role pirate" train
lines '{"conversations": [{"from": "pirate", "value": "a"}]}'
refuse 3 "data.jsonl:1: message 1: the role \"pirate\" is not known" train
lines '{"messages": [{"role": "user"}]}'
refuse 3 "data.jsonl:1: message 1: \"content\" is missing" train
lines '{"prompt": [{}], "completion": []}'
refuse 3 "data.jsonl:1: \"prompt\": message 1: \"role\" is missing" train
lines '{"prompt": [], "completion": []}'
refuse 3 "data.jsonl: nothing to train on: of 1 records 0 are * 1 *" train
lines "$good"
refuse 3 "data.jsonl:1: \"prompt\" is missing" train --format prompt_completion
printf '%s\n{"text": "a\377b"}\n' "$good" >data.jsonl
refuse 3 "data.jsonl:2: not valid JSON: *" train
printf '%s\n{"text": "a\000b"}\n' "$good" >data.jsonl
refuse 3 "data.jsonl:2: not valid JSON: *" train
toy deep 100000 >data.jsonl
refuse 3 "data.jsonl:1: not valid JSON: maximum parsing depth reached *" train
toy deep 100 >data.jsonl
accept train
rm -r out

# Sound records without a token to train
lines '{"text": ""}'
refuse 3 "data.jsonl: nothing to train on: of 1 records 0 are * 1 *" \
    train
lines '{"messages": [{"role": "user", "content": "a"}]}'
refuse 3 "data.jsonl: nothing to train on: of 1 records 0 are * 1 *" \
    train
lines '{"prompt": "a b c d e f", "completion": "a"}'
refuse 3 "data.jsonl: nothing to train on: * within the maximum length of 4" \
    train --max-length 4
refuse 3 "data.jsonl: nothing to train on: of 1 records 1 are too long *" \
    train --max-length 4 --truncation drop
refuse 3 "data.jsonl:1: the record has * tokens, more than the 4 that are *" \
    train --max-length 4 --truncation error
lines "$good"
refuse 2 "1 samples cannot be taken for evaluation: there are 1, *" \
    train --eval-split 1

# Compressed
lines "$good" "$good"
gzip -nc data.jsonl >ok.gz
accept train --data ok.gz
rm -r out
cp ok.gz cut.gz
toy cut cut.gz -9
refuse 3 "cut.gz: damaged gzip data after line *" train --data cut.gz
cp ok.gz bad.gz
toy flip bad.gz 100
refuse 3 "bad.gz:* damaged gzip data after line *" train --data bad.gz
