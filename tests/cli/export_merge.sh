# Train, merge, load again: the same text at temperature 0, from the folder in
# 4 bits and from the dense one.
demo=$QL_SOURCE/tools/demo
qlora-quantize "$demo/stories260K" nf4 --quiet > /dev/null
qlora-train --model nf4 --data "$demo/plays.jsonl.gz" --output adapter \
    --max-length 128 --max-steps 8 --per-device-train-batch-size 4 \
    --gradient-accumulation-steps 1 --learning-rate 1e-2 --quiet > /dev/null

generate() {
    qlora-generate --prompt ROMEO: --temperature 0 --max-new-tokens 24 \
        --compute fp32 "$@"
}
generate --model nf4 --adapter adapter > adapted.txt

qlora-export merge --model nf4 --adapter adapter --output a --type f32 \
    --compute fp32 --json > report.json
generate --model a --no-quantize > merged.txt
cmp adapted.txt merged.txt
grep -q '"base": "dequantized", .*"merged": 35, ' report.json
grep -q '"compared": true, .*"agreement": 1}' report.json

# The dense folder knows from run.yaml what the training has made of it.
qlora-export merge --model "$demo/stories260K" --adapter adapter --output b \
    --type f32 --no-compare --quiet > report.txt
grep -q '^base: dequantized weights$' report.txt
grep -q '^not compared with model and adapter$' report.txt
cmp a/model.safetensors b/model.safetensors
qlora-export merge --model "$demo/stories260K" --adapter adapter --output c \
    --type f32 --no-compare --quiet --base original > report.txt
grep -q '^base: original weights$' report.txt
! cmp -s a/model.safetensors c/model.safetensors || exit 1

# What differs by more than rounding explains: embeddings that F16 rounds to
# nothing. The folder stays, the difference is told, the exit code says so.
cp -R "$demo/stories260K" tiny
python3 - "$QL_SOURCE/tests/cli" <<'PY'
import array
import sys

sys.path.insert(0, sys.argv[1])
import toy

parts = toy.tensors('tiny/model.safetensors')
dtype, shape, data = parts['model.embed_tokens.weight']
assert dtype == 'F32', dtype
x = array.array('f', data)
parts['model.embed_tokens.weight'] = (
    dtype, shape, array.array('f', [1e-9 * v for v in x]).tobytes())
toy.save('tiny/model.safetensors', parts)
PY
toy="python3 $QL_SOURCE/tests/cli/toy.py"
$toy set tiny/config.json rms_norm_eps 1e-25
code=0
qlora-export merge --model tiny --adapter adapter --output t --type f16 \
    --base original > report.txt 2> said.txt || code=$?
test $code = 5
grep -q 'logits differ by at most .* (rounding explains ' report.txt
grep -q 't is written, but is not what it was made of: .* F16 explains' said.txt
test -s t/model.safetensors
qlora-export merge --model tiny --adapter adapter --output t --type bf16 \
    --base original --force > report.txt

# In shards it is the same model.
qlora-export merge --model nf4 --adapter adapter --output d --type f32 \
    --max-shard-size 200000 --quiet > /dev/null
test -s d/model.safetensors.index.json
generate --model d --no-quantize > shards.txt
cmp adapted.txt shards.txt

# The forms of llama.cpp.
qlora-export gguf --model nf4 --adapter adapter --output m.gguf --quiet > r.txt
grep -q '^base: dequantized weights$' r.txt
qlora-export gguf-adapter --model nf4 --adapter adapter --output a.gguf \
    --quiet --json > r.json
grep -q '"tensors": 70, "merged": 35, ' r.json
for type in f32 bf16 q8_0; do
    qlora-export gguf --model "$demo/stories260K" --output $type.gguf \
        --type $type --quiet > r.txt
    grep -q ', of them changed by the adapter: 0;' r.txt
done
test "$(head -c 4 m.gguf)" = GGUF

# The folder for Ollama, without and with a chat template.
qlora-export ollama --model nf4 --adapter adapter --output o --quiet > r.txt
grep -q '^FROM ./model.gguf$' o/Modelfile
grep -q '^ADAPTER ./adapter.gguf$' o/Modelfile
grep -q '^TEMPLATE """{{ .Prompt }}"""$' o/Modelfile
grep -q '^PARAMETER stop "</s>"$' o/Modelfile
cmp a.gguf o/adapter.gguf
printf '%s' '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}' \
    > adapter/chat_template.jinja
qlora-export ollama --model nf4 --adapter adapter --output o --force --quiet \
    > r.txt
grep -q '^TEMPLATE """{{- $first := true }}.*<user>' o/Modelfile

# A model that ends its texts by one more token, named alone.
python3 - <<'PY'
import json

words = json.load(open('nf4/tokenizer.json', encoding='utf-8'))
words = words['model']['vocab']
json.dump({'eos_token_id': words['r']}, open('nf4/generation_config.json',
                                               'w', encoding='utf-8'))
PY
qlora-export ollama --model nf4 --adapter adapter --output o --force --quiet \
    > r.txt
grep -q '^PARAMETER stop "r"$' o/Modelfile
grep -q '^PARAMETER stop "</s>"$' o/Modelfile

# What cannot be read beside the weights is passed over.
cp -R "$demo/stories260K" pruned
ln -s ../../blobs/gone pruned/gone.py
qlora-export merge --model pruned --adapter adapter --output p --type f32 \
    --base original > report.txt 2> said.txt
grep -q 'not copied: .*pruned/gone.py' said.txt
test ! -L p/gone.py

# Of a model that is not ours, or has code of its own, all names stay.
cat > strange.py <<'PY'
import json
import os
import shutil
import sys

sys.path.insert(0, os.environ['QL_SOURCE'] + '/tests/cli')
import toy

old = toy.tensors(sys.argv[1] + '/model.safetensors')
for name in 'strange', 'llama':
    shutil.copytree(sys.argv[1], name)
    toy.save(name + '/model.safetensors',
             {'module.' + key: value for key, value in old.items()})
    toy.set_key(name + '/config.json', 'model_type', '"%s"' % name)
    toy.set_key(name + '/config.json', 'auto_map', '{"AutoModel": "own.Own"}')
PY
python3 strange.py "$demo/stories260K"
for name in strange llama; do
    qlora-export merge --model $name --adapter adapter --output $name-merged \
        --type f32 --base original > report.txt
    python3 - $name <<'PY'
import os
import sys

sys.path.insert(0, os.environ['QL_SOURCE'] + '/tests/cli')
import toy

old, new = (toy.tensors(sys.argv[1] + end + '/model.safetensors')
            for end in ('', '-merged'))
assert sorted(new) == sorted(old), sorted(set(new) ^ set(old))
assert any(new[name] != old[name] for name in old)
PY
done

# So is what they lack: a head that was one with the embedding.
qlora-train --model "$demo/stories260K" --data "$demo/plays.jsonl.gz" \
    --output headed --max-length 64 --max-steps 1 --modules-to-save lm_head \
    --per-device-train-batch-size 1 --quiet > /dev/null
qlora-export merge --model llama --adapter headed --output own-head \
    --type f32 --base original --no-compare > report.txt
qlora-export merge --model "$demo/stories260K" --adapter headed \
    --output plain-head --type f32 --base original --no-compare > report.txt
python3 - <<'PY'
import os
import sys

sys.path.insert(0, os.environ['QL_SOURCE'] + '/tests/cli')
import toy

own, plain = (toy.tensors(name + '-head/model.safetensors')
              for name in ('own', 'plain'))
assert 'lm_head.weight' in plain, sorted(plain)
assert own == {'module.' + name: plain[name] for name in plain}, sorted(own)
PY

# What is no number is a difference, too, wherever it stands.
cp -R "$demo/stories260K" odd
$toy poke odd/model.safetensors model.embed_tokens.weight 330 nan
code=0
qlora-export merge --model odd --adapter adapter --output n --type f32 \
    --base original > report.txt 2> said.txt || code=$?
test $code = 5
grep -q 'logits differ by up to nan' said.txt
