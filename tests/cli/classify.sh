# A classifier: labelled texts, and pairs of them, quantized, trained in each
# way, with accuracy and F1, and asked.
. "$QL_SOURCE/tests/cli/refuse.sh"

toy bert b
i=0
for what in film book; do
    for how in "very dull" "so bland" grim dull; do
        printf '{"text": "the %s was %s", "label": "bad"}\n' "$what" "$how"
        printf '{"text": "it is %s and the %s", "label": 0}\n' "$how" "$what"
    done
    for how in "very fine" "so great" lovely great; do
        printf '{"text": "the %s was %s", "label": "good"}\n' "$what" "$how"
        printf '{"text": "it is %s and the %s", "label": "1"}\n' "$how" "$what"
    done
done >texts.jsonl
sed 's/"text": "\(.*\) \(was\|and\) /"sentence1": "\1", "sentence2": "/' \
    texts.jsonl >pairs.jsonl

# the data, by the names of their classes
accept qlora-data --model b --show 2 --data texts.jsonl
grep -q '; trained: the class$' "$log/out" || complain 'no heading'
grep -q 'the film was very dull.* -> bad$' "$log/out" || complain 'no class'
! grep -q '\[\[' "$log/out" || complain 'marks'
accept qlora-data --model b --show 1 --data pairs.jsonl
grep -q 'the film.*very dull.* -> bad$' "$log/out" || complain 'no pair'
! grep -q '\[\[' "$log/out" || complain 'marks in a pair'

# value KEY: of the last evaluation of the last command
value() {
    grep '"eval_f1"' "$log/out" | tail -n 1 |
        sed "s/.*\"$1\": \([-+.e0-9]*\)[,}].*/\1/"
}

# learns MODEL DATA OUTPUT OPTION...: to tell all texts apart
learns() {
    model=$1 data=$2 out=$3
    shift 3
    rm -rf "$out"
    accept qlora-train --quiet --json --model "$model" --data "$data" \
        --eval-data "$data" --output "$out" --gradient-accumulation-steps 1 \
        --per-device-train-batch-size 8 --no-packing --num-train-epochs 30 \
        --threads 1 "$@"
    [ "$(value eval_accuracy)" = 1 ] && [ "$(value eval_f1)" = 1 ] ||
        complain "$*: $(grep eval_f1 "$log/out")"
    head -n 1 "$out/metrics.csv" | grep -q '^step,train_loss,train_accuracy,'\
'valid_loss,valid_accuracy,valid_f1,learning_rate,' || complain 'metrics.csv'
    grep -q '^120,,,[^,]*,1.0,1.0,,' "$out/metrics.csv" || complain "no: \
$(tail -n 1 "$out/metrics.csv")"
}

# told LABEL OPTION...: the class of a text
told() {
    label=$1
    shift
    accept qlora-generate --threads 1 "$@"
    grep -qx "label: $label" "$log/out" || complain "$*: not $label"
}

# the last command did not say that something begins at random
unsaid() {
    ! grep 'begins at random' "$log/err" || complain 'nothing is begun'
}

accept qlora-quantize b q
learns q texts.jsonl out-q --learning-rate 5e-3
told bad --model q --adapter out-q --prompt 'the film was grim'
told good --model q --adapter out-q --prompt 'The book was lovely'
learns b texts.jsonl out-l --method lora --learning-rate 5e-3
told good --model b --no-quantize --adapter out-l --prompt 'it is so great'
learns b texts.jsonl out-f --method full --learning-rate 3e-3
told bad --model out-f --no-quantize --prompt 'the book was so bland'
told good --model out-f --no-quantize --prompt 'the book was very fine'
grep -q '"good"' out-f/config.json || complain 'no names of classes'

learns b pairs.jsonl out-p --learning-rate 5e-3
told bad --model b --adapter out-p --prompt 'the film' --text-pair 'grim'
told good --model b --adapter out-p --prompt 'the film' --text-pair 'lovely'

# a model without a head: it begins at random, in each way
toy bert n head=0
toy set n/config.json architectures '["BertModel"]'
learns n texts.jsonl out-n --method full --learning-rate 3e-3
told good --model out-n --no-quantize --prompt 'the book was very fine'
learns n texts.jsonl out-m --learning-rate 5e-3
told good --model n --adapter out-m --prompt 'the book was very fine'

refuse 3 '*n: the model has no classifier, *' \
    qlora-generate --model n --prompt 'the film' --json --threads 1
cp -R out-m pairs
toy set pairs/adapter_config.json modules_to_save null
toy drop pairs/adapter_model.safetensors base_model.model.classifier.weight
toy drop pairs/adapter_model.safetensors base_model.model.classifier.bias
refuse 3 '*pairs/*: the model has no classifier, and the adapter brings *' \
    qlora-generate --model n --adapter pairs --prompt 'the film' --threads 1

# nor a pooler, which an adapter must bring then: no file would have it else
cp -R n p
toy drop p/model.safetensors bert.pooler.dense.weight
toy drop p/model.safetensors bert.pooler.dense.bias
refuse 2 "*the model has no pooler, *(--modules-to-save pooler), or train *" \
    qlora-train --quiet --model p --data texts.jsonl --output out --threads 1
refuse 2 "*the model has no pooler, *" qlora-train --quiet --model p \
    --data texts.jsonl --output out --threads 1 --dry-run
refuse 3 "*out-m/*: the model has no pooler, and the adapter brings none *" \
    qlora-generate --model p --adapter out-m --prompt 'grim' --threads 1
refuse 3 '*p: the model has no pooler, *' \
    qlora-generate --model p --prompt 'the film' --json --threads 1
learns p texts.jsonl out-pf --method full --learning-rate 3e-3
told good --model out-pf --no-quantize --prompt 'the book was very fine'
learns p texts.jsonl out-pm --learning-rate 5e-3 --modules-to-save pooler
grep -q 'no bert.pooler.dense: it begins at random' "$log/err" ||
    complain 'not told of what is missing'
told good --model p --adapter out-pm --prompt 'the book was very fine'
unsaid
told bad --model p --adapter out-pm --prompt 'it is grim'
accept qlora-export merge --model p --adapter out-pm --output pm --quiet
unsaid
accept qlora-quantize p pq
unsaid
told good --model pm --no-quantize --prompt 'the book was very fine'
told bad --model pm --no-quantize --prompt 'it is grim'

# misshapen MODEL ADAPTER NAME SHAPE...: what the model lacks must fit it
misshapen() {
    base=$1 name=$3
    cp -R "$2" wrong
    shift 3
    toy zeros wrong/adapter_model.safetensors "base_model.model.$name" F32 "$@"
    refuse 3 "*wrong/*: $name is of shape *, but the model needs *" \
        qlora-export merge --model "$base" --adapter wrong --output out --quiet
    rm -r wrong
}
misshapen p out-pm bert.pooler.dense.weight 3 5
misshapen p out-pm bert.pooler.dense.bias 3
misshapen n out-m classifier.weight 2 5

# the screen, and the merged model, which says the same
accept qlora-train --model b --data texts.jsonl --eval-split 4 --output s \
    --max-steps 2 --threads 1
grep -q 'evaluation at step 2: .*accuracy .*F1' "$log/err" ||
    complain 'no accuracy on the screen'
accept qlora-export merge --model b --adapter out-l --output merged --quiet
told good --model merged --no-quantize --prompt 'it is so great'

# labels that are none, and what is not done with classifiers
said_of() {
    printf '{"text": "a film", "label": %s}\n' "$1" >bad.jsonl
    refuse 3 "*bad.jsonl:1: $2" qlora-train --quiet --model b \
        --data bad.jsonl --output out --threads 1
    rm bad.jsonl
}
said_of '"ugly"' "the label ugly is none of the model's classes: they are *"
said_of 2 "the label 2 is none of the model's classes: they are bad, good, *"
said_of -1 "the label -1 is none of the model's classes: *"
said_of 0.5 '"label" must be the number or the name of a class'
refuse 3 '*bert*' qlora-export gguf --model b --output b.gguf
accept qlora-export merge --model n --adapter out-m --output mm
told good --model mm --no-quantize --prompt 'the book was very fine'
told bad --model mm --no-quantize --prompt 'it is grim'
for out in out-n mm; do
    grep -q '"BertForSequenceClassification"' "$out/config.json" ||
        complain "$out: no class with a head"
done
