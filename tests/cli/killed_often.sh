# A hundred kills at random moments, of seven trainings, change nothing of what
# a run leaves.
python3 "$QL_SOURCE/tests/cli/toy.py" model d
for word in a the cat dog sun moon tree bird fish stone wind rain; do
    printf '{"prompt": "a b", "completion": "%s is hot"}\n' $word
done >data.jsonl
python3 "$QL_SOURCE/tests/cli/kills.py" 100
