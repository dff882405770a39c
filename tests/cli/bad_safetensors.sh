# Damaged, hostile and unsuitable weights.
. "$QL_SOURCE/tests/cli/refuse.sh"

w=d/model.safetensors
q=model.layers.0.self_attn.q_proj.weight
n=model.norm.weight

# all CODE PATTERN: the commands say the same of d, which is then repaired.
all() {
    refuse "$1" "$2" qlora-quantize d out
    refuse "$1" "$2" train
    refuse "$1" "$2" generate
    damaged
}

: >$w
all 3 "*$w: not a safetensors file: 0 bytes, but *"
echo 'version https://git-lfs.github.com/spec/v1' >$w
all 3 "*$w: a Git LFS pointer,*fetch it with git lfs pull"
toy cut $w 100
all 3 "*$w: the file is truncated: a header of * bytes is promised, but 92*"
toy cut $w -1
all 3 "*$w: the file is truncated: the header promises *; download it again"
printf x >>$w
all 3 "*$w: 1 bytes follow the last tensor; the file is damaged"
toy length $w 18446744073709551615
all 3 "*$w: *a header of 18446744073709551615 bytes, but at most 1000*"
toy length $w 99999999
all 3 "*$w: the file is truncated: a header of 99999999 bytes is promised*"
toy length $w 12
all 3 "*$w: byte * of the header: *"
toy header $w $q data_offsets '[0, 8192]'
all 3 "*$w: tensors '*' and '*' overlap: one ends at byte *"
toy header $w $q data_offsets '[8192, 0]'
all 3 "*$w: tensor '$q': data_offsets \[8192, 0\] run backwards"
toy header $w $q shape '[4294967296, 4294967296, 4294967296]'
all 3 "*$w: tensor '$q': * is more than can be addressed"
toy header $w $q shape '[64, 65]'
all 3 "*$w: tensor '$q': 8192 bytes, but \[64, 65\] of BF16 needs 8320"
toy header $w $q shape '[64, -64]'
all 3 "*$w: tensor '$q': byte * of the header: a whole number without sign*"
toy header $w $q dtype '"Q4"'
all 3 "*$w: tensor '$q': the dtype 'Q4' is unknown"
toy header $w $q dtype '"I16"'
all 3 "d: tensor $q: weights of type I16 are not supported; use F32, BF16*"
toy zeros $w $q F64 64 64
all 3 "d: tensor $q: weights of type F64 are not supported; use F32, BF16*"
toy zeros $w $q I8 64 64
all 3 "d: tensor $q: weights of type I8 are not supported; use F32, BF16 or*"
toy zeros $w $q BF16 64 32
all 3 "d: tensor $q: shape \[64, 32\] does not fit *, which needs \[64, 64\]"
toy zeros $w $q BF16 4096
all 3 "d: tensor $q: shape \[4096\] does not fit config.json, which needs*"
toy zeros $w model.embed_tokens.weight BF16 5 64
all 3 "d: tensor model.embed_tokens.weight: shape \[5, 64\] does not fit*"
toy zeros $w model.layers.1.mlp.up_proj.bias BF16 128
all 3 "d: tensor model.layers.1.mlp.up_proj.bias: config.json says that *"
toy drop $w $q
all 3 "d: the model has no tensor $q"
toy drop $w $n
all 3 "d: the model has no tensor $n"
toy poke $w $q 7 nan
all 3 "d: tensor $q: element 7 is not finite; the checkpoint is damaged or*"
toy poke $w $q 4095 -inf
all 3 "d: tensor $q: element 4095 is not finite; the checkpoint is damaged*"
toy poke $w $n 3 nan
all 3 "d: tensor $n: element 3 is not finite; the checkpoint is damaged or*"

i=$w.index.json
toy shards d
rm d/model-00002-of-00002.safetensors
all 3 "*d/model-00002-of-00002.safetensors: missing, but named in *; download*"
toy shards d
toy cut d/model-00002-of-00002.safetensors -2
all 3 "*d/model-00002-of-00002.safetensors: the file is truncated: *"
toy shards d
rm $i
all 3 "*d: holds model-00001-of-00002.safetensors and model-00002*download it*"
toy shards d
toy set $i weight_map '{"x": "../m/model.safetensors"}'
all 3 "*$i: weight_map: tensor 'x' must name a file in the same folder"
toy shards d
toy set $i weight_map '{"x": "model-00001-of-00002.safetensors"}'
all 3 "*$i: weight_map: tensor 'x' is not in model-00001-of-00002*"
toy shards d
toy set $i weight_map '[]'
all 3 "*$i: weight_map must be an object that gives each tensor's file"
toy shards d
toy cut $i -2
all 3 "*$i: not valid JSON: *"
