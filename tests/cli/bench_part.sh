# For measurements of several models; read with:
# . "$QL_SOURCE/tests/cli/bench_part.sh"
#
# part CODE WHAT LIST KEY N MODEL ARGUMENT...: of this model, and behind it of
# one whose weights are not all numbers: what was measured of the first before
# the other fails with this exit code, N rows of LIST that have the model's name
# by KEY, is not lost, and the files say that it is not all.
part() {
    want=$1 what=$2 list=$3 key=$4 n=$5 model=$6
    shift 6
    mkdir -p work broken
    cp -R "$model"/. broken
    python3 "$QL_SOURCE/tests/cli/toy.py" poke broken/model.safetensors \
        model.layers.0.mlp.up_proj.weight 0 nan
    code=0
    qlora-bench "$what" --real "$model" --real broken --steps 0 --rounds 1 \
        --max-length 32 --work-dir work --threads 2 --output part "$@" \
        >table.txt 2>said || code=$?
    [ "$code" = "$want" ]
    test -z "$(ls work)"
    python3 - "part/$what.json" "$list" "$key" "$n" "$model" \
        "$(tail -n 1 said)" <<'END'
import json
import sys

path, rows, key, n, model, why = sys.argv[1:]
root = json.load(open(path, encoding='utf-8'))
assert [r[key] for r in root[rows]] == [model] * int(n), root
assert root['stopped'] and why.endswith(root['stopped']), (root, why)
END
    python3 "$QL_SOURCE/tests/cli/bench_pages.py" "$what" part
}
