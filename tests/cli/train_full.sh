# All weights trained: begins where an adapter beside the same weights does,
# comes out as a model of its own, the same for all threads, pages and stops.
. "$QL_SOURCE/tests/cli/refuse.sh"

toy model d hidden=64 layers=2
for word in a the cat dog sun moon tree bird fish stone wind rain; do
    printf '{"prompt": "a b", "completion": "%s is hot"}\n' $word
done >data.jsonl

# full OUTPUT OPTION...
full() {
    to=$1
    shift
    accept qlora-train --json --quiet --model d --data data.jsonl \
        --eval-split 3 --method full --output "$to" --no-packing \
        --num-train-epochs 2 --gradient-accumulation-steps 3 \
        --learning-rate 1e-2 --weight-decay 0.1 --logging-steps 1 \
        --eval-steps 3 --save-steps 2 --threads 1 "$@"
}

# value PATTERN KEY: a number of the first row like that, of the last command
value() {
    grep -e "$1" "$log/out" | sed -n "1s/.*\"$2\": \([-+.e0-9]*\)[,}].*/\1/p"
}

# near A B BY: or complains
near() {
    awk "BEGIN { d = $1 - $2; exit !(d < $3 && -d < $3) }" ||
        complain "$1 and $2 differ by more than $3"
}

# same FOLDER: the model and what it came by are those of whole
same() {
    for name in model.safetensors config.json best/model.safetensors \
        checkpoint-6/model.safetensors checkpoint-6/optimizer.bin; do
        cmp "whole/$name" "$1/$name" || complain "$1: another $name"
    done
}

full whole
first=$(value '^{"step": 1,' loss)
before=$(value '"step": 0, "eval_loss"' eval_loss)
best=$(grep -o '"eval_loss": [.0-9]*' "$log/out" | cut -d' ' -f2 | sort -g |
    head -n 1)
awk "BEGIN { exit !($best < 0.8 * $before) }" ||
    complain "the loss does not fall: $before, $best"
for name in tokenizer.json tokenizer_config.json config.json README.md; do
    [ -e whole/$name ] || complain "no $name"
done
grep -q 'Full fine-tuning of d' whole/README.md || complain 'README.md'
! grep -q 'LoRA\|peft\|adapter' whole/README.md ||
    complain 'README.md speaks of an adapter'
accept train --method lora --json --output lora --no-packing \
    --gradient-accumulation-steps 3 --eval-split 3 --overwrite-output-dir
near "$(value '^{"step": 1,' loss)" "$first" 1e-4

# what came out is a model, of which an adapter begins where training ended
accept qlora-generate --model whole --prompt 'a b' --max-new-tokens 2
accept qlora-train --quiet --json --model whole --data data.jsonl \
    --method lora --no-packing --eval-split 3 --output on --max-steps 1
near "$(value '"step": 0, "eval_loss"' eval_loss)" "$best" 0.02

# what ends an answer ends texts in transformers, too
printf '%s\n' '{"messages": [{"role": "user", "content": "a b"},' \
    ' {"role": "assistant", "content": "b a"}]}' | tr -d '\n' >talk.jsonl
accept qlora-train --model d --data talk.jsonl --method full --max-steps 1 \
    --output talks --chat-template \
    '{% for m in messages %}{{ m.content }}<unk>{% endfor %}'
python3 -c '
import json
ends = json.load(open("talks/generation_config.json"))["eos_token_id"]
assert ends == [2, 0], ends
' || complain "the token that ends an answer is not said"
[ ! -e whole/generation_config.json ] || complain "generation_config.json"

# of code of its own, the folder of a trained model has that of the tokenizer,
# and no name of what is not there
cp -R d coded
toy set coded/config.json auto_map \
    '{"AutoModelForCausalLM": "modeling_own.Own"}'
cat >coded/tokenization_own.py <<'PY'
import json
from .other import word
from . import third as x, fourth
from . import (  # (of all
    third as fifth_not,  # sixth, )
    fifth,
    VERSION,
)
"""
from .nowhere import word
from .package.part import word
"""
if word: json; from .seventh import word
from . \
    import eighth as sixth, \
    ninth
from . \
    tenth import word  # this goes on not: \
from .eleventh import word
PY
echo 'word = 1' >coded/other.py
echo 'from .other import word' >coded/third.py
touch coded/fourth.py coded/fifth.py coded/modeling_own.py coded/setup.py
touch coded/fifth_not.py coded/sixth.py
more='seventh eighth ninth tenth eleventh'
for name in $more; do
    touch coded/$name.py
done
accept qlora-train --model coded --data data.jsonl --method full \
    --max-steps 1 --output mute
! grep auto_map mute/config.json mute/checkpoint-1/config.json ||
    complain "code that is not there is named"
[ ! -e mute/other.py ] || complain "code that nothing names"
toy set coded/tokenizer_config.json auto_map \
    '{"AutoTokenizer": ["tokenization_own.Own", null]}'
for method in full lora; do
    accept qlora-train --model coded --data data.jsonl --method $method \
        --max-steps 1 --output coded-$method
    for name in tokenizer_config.json tokenization_own.py other.py third.py \
        fourth.py fifth.py $(printf '%s.py ' $more); do
        cmp coded/$name coded-$method/$name || complain "$method: $name"
    done
    ! grep "not copied" "$log/err" || complain "$method: what is not there"
    for name in modeling_own setup fifth_not sixth; do
        [ ! -e coded-$method/$name.py ] || complain "$method: $name.py"
    done
done

# what of it cannot be read is passed over; nor is a run lost over a large file
ln -s ../../blobs/gone coded/gone.py
mkfifo coded/pipe.py
truncate -s 17M coded/vast.py
echo 'from . import (gone, pipe, vast)' >>coded/other.py
accept qlora-train --model coded --data data.jsonl --method lora \
    --max-steps 1 --output pruned
for name in gone pipe; do
    grep "not copied: .*coded/$name.py" "$log/err" ||
        complain "$name.py: unsaid"
    [ ! -e pruned/$name.py ] || complain "$name.py"
done
grep "copied without what it imports: .*vast.py" "$log/err" ||
    complain "vast.py: unsaid"
cmp coded/other.py pruned/other.py
python3 -c '
import json
name = "coded/tokenizer_config.json"
root = json.load(open(name))
json.dump({**root, "remark": "x" * (17 << 20)}, open(name, "w"))
'
accept qlora-train --model coded --data data.jsonl --method lora \
    --max-steps 1 --output large
cmp coded/other.py large/other.py

full two --threads 2
same two
full paged --optim paged_adamw_32bit --optimizer-memory 300000
same paged
full lean --gradient-checkpointing
same lean
accept qlora-train --quiet --config whole/run.yaml --output again
same again
full eight --optim paged_adamw_8bit


# in 16 bits: it learns, keeps half as much, and is the same for all threads,
# pages and stops
bf16='--dtype bfloat16 --optim adamw_torch'
# shellcheck disable=SC2086
full narrow $bf16
near "$(value '^{"step": 1,' loss)" "$first" 0.03
awk "BEGIN { exit !($(grep -o '"eval_loss": [.0-9]*' "$log/out" |
    cut -d' ' -f2 | sort -g | head -n 1) < 0.8 * $before) }" ||
    complain 'the loss does not fall in 16 bits'
for name in checkpoint-6/model.safetensors checkpoint-6/optimizer.bin; do
    [ "$(wc -c <narrow/$name)" -lt $(($(wc -c <whole/$name) * 3 / 5)) ] ||
        complain "$name is as large in 16 bits"
done
# narrow_too FOLDER OPTION...
narrow_too() {
    # shellcheck disable=SC2086
    full "$@" $bf16
    for name in model.safetensors best/model.safetensors \
        checkpoint-6/model.safetensors checkpoint-6/optimizer.bin; do
        cmp "narrow/$name" "$1/$name" || complain "$1: another $name"
    done
}
narrow_too narrow2 --threads 2
narrow_too narrow3 --gradient-checkpointing
mkdir narrow4
cp -R narrow/checkpoint-2 narrow4/
narrow_too narrow4
full moments --dtype bf16 --optim paged_adamw_32bit --optimizer-memory 300000
full eights --dtype bf16 --optim adamw_8bit
refuse 3 '*dtype was "bfloat16", is "float32"*' \
    train --method full --output on4 --resume narrow/checkpoint-2 \
    --eval-split 3 --no-packing
refuse 2 '*dtype is that of all weights, which only method full *' \
    train --method lora --dtype bfloat16

# from a checkpoint; and killed, whenever that is
mkdir on2
cp -R whole/checkpoint-2 on2/
full on2
same on2
for after in 0.05 0.2 0.4; do
    rm -rf killed
    code=0
    timeout --foreground -s KILL $after \
        qlora-train --quiet --model d --data data.jsonl \
        --eval-split 3 --method full --output killed --no-packing \
        --num-train-epochs 2 --gradient-accumulation-steps 3 \
        --learning-rate 1e-2 --weight-decay 0.1 --logging-steps 1 \
        --eval-steps 3 --save-steps 2 --threads 1 >/dev/null 2>&1 || code=$?
    # it may have been at its end before
    [ $code = 0 ] || [ -e killed/model.safetensors ] || full killed
    same killed
done

# refused, by name
for flag in '--lora-r 8' '--lora-dropout 0' '--use-dora' '--adapter lora' \
    '--lora-target-modules q_proj' '--loraplus-lr-ratio 4' \
    '--quant-type fp4'; do
    # shellcheck disable=SC2086
    refuse 2 "${flag%% *} is about an adapter or 4 bits, but --method *" \
        train --method full $flag
done
refuse 2 '*whole holds a model already; *' train --method full --output whole
refuse 2 '*d holds the model that is trained; name another folder' \
    train --method full --output d --overwrite-output-dir
refuse 3 '*method was "full", is "lora"*' \
    train --method lora --output on3 --resume whole/checkpoint-2 \
    --eval-split 3 --no-packing
qlora-quantize --quiet d nf4 >"$log/out" 2>"$log/err"
refuse 3 '*nf4: the model is in 4 bits, but method full trains all *' \
    qlora-train --quiet --model nf4 --data data.jsonl --output out \
    --method full --threads 1
