# A tiny model under limits: the same losses, memory within them, and nothing is
# left behind but what was asked for. With as little memory as its plan allows,
# weights are read layer by layer.
mkdir work
qlora-bench large --shape tiny --max-length 16 --steps 2 --lora-r 4 \
    --limits 0,1G --rounds 2 --work-dir work --threads 2 --json >lines.json
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
assert lines[0]["result"] == "machine", lines[0]
assert "--rounds 2" in lines[0]["command"], lines[0]
free, tight = lines[1:]
assert free["limit_gib"] is None and free["enforced_by"] == "none", free
assert tight["limit_gib"] == 1, tight
assert tight["enforced_by"] in ("control group", "private memory"), tight
counts_swap = "VmSwap:" in open("/proc/self/status", encoding="ascii").read()
for run in free, tight:
    assert run["swap_gib"] == 0 if counts_swap else run["swap_gib"] is None, run
    assert 0 <= run["peak_spread_percent"] < 50, run
    assert run["steps"] == 4 and run["step_tokens"] == 16, run
    assert 0 < run["anonymous_gib"] < run["peak_gib"] < 1, run
    assert run["tokens_per_second"] > 0, run
    assert 4 < run["first_loss"] < 7, run  # ln 256 is 5.5
    assert run["first_loss"] == free["first_loss"], run
    assert run["last_loss"] == free["last_loss"], run
assert free["speed_ratio"] == 1, free
'
test -z "$(ls work)"

# the folder that is named stays, and is not written again
qlora-bench large --shape tiny --max-length 16 --steps 1 --work-dir work \
    --model work/model >/dev/null
sum=$(cksum <work/model/model.safetensors)
qlora-bench large --shape tiny --max-length 16 --steps 1 --work-dir work \
    --model work/model >table.txt
[ "$(cksum <work/model/model.safetensors)" = "$sum" ]
grep -q '^tiny ' table.txt
[ "$(ls work)" = model ]

# but only if it is of the shape, and in 4 bits
not() {
    pattern=$1
    shift
    code=0
    sums=$(find work -type f -exec cksum {} +)
    qlora-bench large --max-length 16 --steps 0 --work-dir work "$@" \
        >said.out 2>said || code=$?
    [ "$code" = 3 ]
    [ ! -s said.out ]
    grep -q "^qlora-bench: $pattern" said
    [ "$(find work -type f -exec cksum {} +)" = "$sums" ]
}
not 'work/model: layers: 2 in the model, 32 in the shape llama-7b; ' \
    --model work/model
not 'work/model: layers: 2 in the model, 12 in the shape 220m; ' \
    --model work/model --shape 220m
not 'work/model: family: llama in the model, qwen2 in the shape qwen' \
    --model work/model --shape qwen2.5-0.5b
cp -R work/model work/wide
sed -i 's/"vocab_size": 256/"vocab_size": 257/' work/wide/config.json
not 'work/wide: vocabulary: 257 in the model, 256 in the shape tiny; ' \
    --model work/wide --shape tiny
# nor is anything written to one whose weights have other names
rm -r work/wide/model.safetensors
not 'work/wide: vocabulary: ' --model work/wide --shape tiny
sed -e 's/"vocab_size": 257/"vocab_size": 256/' \
    -e 's/, "quantization_config".*}$/}/' work/model/config.json \
    >work/wide/config.json
not 'work/wide: the model is not in 4 bits; ' --model work/wide --shape tiny
rm -r work/wide

# one training on it
qlora-bench job --model work/model --max-length 16 --steps 2 --work-dir work |
    tail -n 1 >job.json
python3 -c '
import json
run = json.load(open("job.json", encoding="utf-8"))
assert run["weights_read"] == 0 and run["stalls"] == 0, run
assert len(run["losses"]) == len(run["seconds"]) == 3, run
assert run["linear_4bit"] == run["linear_layers"] == 14, run
assert run["trainable"] * 4 <= run["held"]["gradients"], run
'

# where no control group can be made, private memory is limited in its place
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    chmod 755 .
    mkdir -m 777 open
    cp "$(command -v qlora-bench)" open/bench
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        open/bench large --shape tiny --max-length 16 --steps 1 --lora-r 4 \
        --limits 0,1G --work-dir open --threads 1 --json >lines.json
    python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
free, tight = lines[1:]
assert tight["enforced_by"] == "private memory", tight
assert tight["group_peak_gib"] is None, tight
assert 0 < tight["peak_gib"] < 1, tight
assert tight["last_loss"] == free["last_loss"], (free, tight)
'
    [ "$(ls open)" = bench ]
fi
# a limit that no plan can keep is refused, by name
code=0
qlora-bench large --shape tiny --max-length 16 --limits 4M --work-dir work \
    >/dev/null 2>said || code=$?
[ "$code" = 4 ]
grep -q 'training takes at least .* MiB more than the 3.8 MiB' said
grep -q '^qlora-bench: tiny in 4.0 MiB: qlora-bench job ended with .* 4; ' said
