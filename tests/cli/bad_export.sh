# What qlora-export refuses.
. "$QL_SOURCE/tests/cli/refuse.sh"

accept train
mv out a
export_() {
    code=$1 pattern=$2
    shift 2
    refuse "$code" "$pattern" qlora-export merge --model d --adapter a \
        --output o --quiet "$@"
}
refuse 2 "FORM is missing: what to make" qlora-export
refuse 2 "FORM cannot be 'fuse': it takes *" \
    qlora-export fuse --model d --adapter a --output o
export_ 3 "nowhere: no such folder; give a folder with a LoRA adapter" \
    --adapter nowhere
export_ 3 "nowhere: no such folder; give a Hugging Face model folder" \
    --model nowhere
export_ 2 "d would be replaced, *" --output d --force
export_ 2 "a exists already; name another folder or use --force" --output a
export_ 2 "a holds something else than a model; name another folder" \
    --output a --force
toy model wide hidden=32
export_ 3 "*the adapter was made for another model" --model wide
accept qlora-quantize d d4
export_ 2 "d4 is in 4 bits: its original weights are not there; *" \
    --model d4 --base original

toy set a/adapter_config.json use_qalora true
export_ 3 "*: \"use_qalora\" is set, which is not supported"
