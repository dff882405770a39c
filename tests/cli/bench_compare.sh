# The same step in PyTorch has the same loss, to fp32; or else it is told what
# is missing, as for one that cannot be imported, or what failed.
. "$QL_SOURCE/tests/cli/refuse.sh"
mkdir work none broken
options='--shape tiny --max-length 16 --batch-size 2 --steps 2 --lora-r 4'
echo 'raise ImportError("none")' >none/torch.py
echo >broken/torch.py
# shellcheck disable=SC2086
refuse 3 '*python3 has no torch; install it: apt install python3-torch' \
    env PYTHONPATH=none \
    qlora-bench train --compare torch $options --work-dir work
# shellcheck disable=SC2086
run env PYTHONPATH=broken \
    qlora-bench train --compare torch $options --work-dir work
said 'qlora-bench: PyTorch: LoRA, fp32: */torch_lora.py ended with *code 1; *'
test $code = 1
test -z "$(ls work)"
if ! /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    echo 'no python3-torch: only that it is missing was tested'
    exit 77
fi
# shellcheck disable=SC2086
qlora-bench train --compare torch $options --work-dir work --threads 2 \
    --compute fp32 --json >lines.json
test -z "$(ls work)"
python3 -c '
import json
lines = [json.loads(line) for line in open("lines.json", encoding="utf-8")]
rows = lines[1:]
assert len(rows) == 4, rows
qlora, lora, wide, narrow = rows
for row in rows:
    assert row["tokens_per_second"] > 0 and row["peak_mib"] > 0, row
    assert row["trainable"] == qlora["trainable"], row
assert abs(wide["first_loss"] - lora["first_loss"]) < 1e-5, (wide, lora)
assert abs(narrow["first_loss"] - lora["first_loss"]) < 0.03, (narrow, lora)
assert "torch" in lines[0]["command"], lines[0]
'
