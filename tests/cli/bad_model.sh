# What a model folder lacks, or is not.
. "$QL_SOURCE/tests/cli/refuse.sh"

# all CODE PATTERN: the three commands say the same of d.
all() {
    refuse "$1" "$2" qlora-quantize d out
    refuse "$1" "$2" train
    refuse "$1" "$2" generate
}

accept qlora-quantize d q
accept generate
rm -rf d
all 3 "d: no such folder; give a Hugging Face model folder"
: >d
all 3 "d: a file, not a folder; give a Hugging Face model folder"
rm d
damaged
rm d/model.safetensors
all 3 "*d: no weights; looked for model.safetensors,*.safetensors file"
: >d/pytorch_model.bin
all 3 "*d: its weights are in pytorch_model.bin,*convert the model to safet*"
damaged
rm d/config.json
all 3 "cannot open d/config.json: No such file or directory"
mkdir d/config.json
all 3 "cannot read d/config.json: not a regular file"
damaged
rm d/model.safetensors
mkdir d/model.safetensors
all 3 "*cannot read d/model.safetensors: not a regular file"
damaged
rm d/tokenizer.json
refuse 3 "cannot open d/tokenizer.json: No such file or directory" train
refuse 3 "cannot open d/tokenizer.json: No such file or directory" generate
