# AdamW in 8 bits ends where AdamW in 32 bits does: on a real model and real
# conversations its losses are within 1 %.
model=$QL_SHARED/models/stories3M
chat=$QL_SHARED/data/chat/soda_messages.jsonl
if [ ! -d "$model" ] || [ ! -f "$chat" ]; then
    echo "SKIP: no $model or $chat"
    exit 77
fi
head -n 80 "$chat" >chat.jsonl
for optim in adamw_32bit adamw_8bit paged_adamw_8bit; do
    qlora-train --model "$model" --data chat.jsonl --eval-split 20 \
        --output $optim --optim $optim --max-steps 40 --max-length 128 \
        --gradient-accumulation-steps 2 --lora-r 64 --learning-rate 5e-4 \
        --logging-steps 1 --sample-prompts 0 --quiet >/dev/null
done
cmp adamw_8bit/adapter_model.safetensors \
    paged_adamw_8bit/adapter_model.safetensors
python3 - <<'END'
import json


def losses(name):
    with open(name + '/trainer_state.json', encoding='utf-8') as f:
        rows = json.load(f)['log_history']
    steps = [r['loss'] for r in rows if 'loss' in r]
    evals = [r['eval_loss'] for r in rows if 'eval_loss' in r]
    return sum(steps[-10:]) / 10, evals[-1], evals[0]


want, got = losses('adamw_32bit'), losses('adamw_8bit')
print(want, got)
assert want[1] < 0.9 * want[2], 'nothing was learnt'
assert want[:2] != got[:2], 'the state is not in 8 bits'
for a, b in zip(want, got):
    assert abs(a - b) <= 0.01 * a, (want, got)
END
