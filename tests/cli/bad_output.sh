# An output that is there already, or that cannot be made.
. "$QL_SOURCE/tests/cli/refuse.sh"

exists="out* exists already; name another folder or use --force"

mkdir out
echo mine >out/file
refuse 2 "$exists" qlora-quantize d out
refuse 2 "$exists" qlora-quantize d out/
refuse 2 "out holds something else, for there is no config.json in it; *" \
    qlora-quantize --force d out
echo '{}' >out/config.json
toy cut d/model.safetensors -1
refuse 3 "*: the file is truncated: *" qlora-quantize --force d out
damaged
accept qlora-quantize --force d out
[ ! -e out/file ] && [ -e out/model.safetensors ] || complain "not replaced"
rm -r out
echo mine >out
refuse 2 "$exists" qlora-quantize d out
refuse 2 "out is a file, not a folder*" qlora-quantize --force d out
refuse 2 "out is a file; name a folder for the adapter" train
refuse 1 "cannot make folder out/x*: Not a directory" qlora-quantize d out/x
refuse 1 "cannot make folder out/x: Not a directory" train --output out/x
refuse 1 "cannot make folder /proc/x*: *" qlora-quantize d /proc/x
refuse 1 "cannot make folder /proc/x: *" train --output /proc/x
rm out
inside="would be replaced, but d is the same folder or lies in it; name *"
refuse 2 "d $inside" qlora-quantize --force d d
refuse 2 "./m/../d/ $inside" qlora-quantize --force d ./m/../d/
refuse 2 ". $inside" qlora-quantize --force d .

# A folder with an adapter
accept train
mkdir out/metrics
refuse 2 "out holds an adapter already; name another folder or use *" train
toy poke d/model.safetensors model.norm.weight 0 nan
refuse 3 "d: tensor model.norm.weight: element 0 is not finite; *" \
    train --overwrite-output-dir
damaged
echo hello >more.jsonl
refuse 3 "more.jsonl:1: not valid JSON: *" \
    train --overwrite-output-dir --data more.jsonl
cp out/adapter_model.safetensors before
accept train --overwrite-output-dir --seed 7
! cmp -s before out/adapter_model.safetensors || complain "not overwritten"
[ -d out/metrics ] || complain "what is not ours is gone"
set -- out/.[!.]*
[ "$*" = "out/.[!.]*" ] || complain "left: $*"

# A folder of that name where a file must go: the adapter stays as it was
rm out/metrics.csv
mkdir out/metrics.csv out/metrics.csv/mine
cp out/adapter_model.safetensors before
run train --overwrite-output-dir --seed 8
[ "$code" = 1 ] || complain "exit code $code"
said "qlora-train: cannot write out/metrics.csv: *"
cmp before out/adapter_model.safetensors >&2
