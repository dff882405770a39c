# A tokenizer that is damaged, unknown, or of another model.
. "$QL_SOURCE/tests/cli/refuse.sh"

t=d/tokenizer.json

# both PATTERN: the commands say the same of d, which is then repaired.
both() {
    refuse 3 "$1" train
    refuse 3 "$1" generate
    damaged
}

: >$t
both "$t: not valid JSON: *"
toy cut $t 700
both "$t: not valid JSON: *"
toy set $t model.type '"Gibberish"'
both "$t: model: Gibberish is not supported"
toy set $t pre_tokenizer '{"type": "Gibberish"}'
both "$t: pre_tokenizer: Gibberish is not supported"
toy set $t model.vocab '[]'
both "$t: model: \"vocab\" must be an object"
toy set $t model.merges '["a q"]'
both "$t: model: merge 0 needs the token \"aq\", which is not in the *"
toy set $t model.unk_token '"<none>"'
both "$t: model: \"unk_token\" is not in the vocabulary"
toy set $t model.vocab.a 99999999999
both "$t: *"
toy set d/tokenizer_config.json eos_token '"<end>"'
both "d/tokenizer_config.json: \"eos_token\" is \"<end>\", which tokenizer.*"
toy cut d/tokenizer_config.json 5
both "d/tokenizer_config.json: not valid JSON: *"

# One with more tokens than the model has rows
toy model other extra=9
cp other/tokenizer.json d
printf '{"text": "a \344\270\200"}\n' >data.jsonl
refuse 3 "token id * is beyond the model's vocabulary of *; the tokenizer *" \
    train
refuse 3 "token id * is beyond the model's vocabulary of *; the tokenizer *" \
    generate --prompt "$(printf '\344\270\200')"
