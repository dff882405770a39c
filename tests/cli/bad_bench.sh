# What qlora-bench refuses, before anything is measured.
. "$QL_SOURCE/tests/cli/refuse.sh"

# b PATTERN ARGUMENT...
b() {
    pattern=$1
    shift
    refuse 2 "$pattern" qlora-bench "$@"
}

b '*WHAT*'
what='kernels, attention, train, large, memory, quality, job, generate'
b "\"speed\" is not measured; choose one of: $what" speed
b '*unexpected*train*' kernels train third
shapes='choose one of: tiny, 220m, qwen2.5-0.5b, *, llama-7b, *llama-70b'
b "the shape \"huge\" is unknown; $shapes" kernels --shapes tiny,huge
b "the shape \"huge\" is unknown; $shapes" train --shape huge
b '--tokens 1x: give *from 1 to 65536' kernels --tokens 1,1x
b '--tokens 0: give *from 1 to 65536' kernels --tokens 0
b '--tokens -1: give *from 1 to 65536' kernels --tokens=-1
b '*--repeat*10*from 1 to 9*' kernels --repeat 10
b '*--steps*101*from 0 to 100*' train --steps 101
b '--busy needs at least two threads' kernels --busy --threads 1
b '--steps is an option of train, *, job, not of kernels' kernels --steps 2
b '--limits is an option of large, not of job' job --limits 3G
b '*--limits*3X*' large --shape tiny --limits 3X
b '--limits: give at most 8' large --shape tiny --limits 1,2,3,4,5,6,7,8,9
b '--steps 0: train measures at least one' train --steps 0
b '--family: leave it out with --compare' train --family llama --compare torch
known='known are: llama, *, gpt_neox'
b "the family \"bert\" is none that writes text; $known" \
    train --family llama,bert
b "the family \"x\" is none that writes text; $known" train --family x,llama
b "the shape \"huge\" is unknown; $shapes" memory --measure huge
b "the shape \"huge\" is unknown; $shapes" memory --predict huge
b 'quality needs --real, --data and --eval-data' quality --data x
b '--real tiny: a shape is called so, too; write ./tiny' memory --real tiny
b '--real a/x: it is there twice' memory --real a/x --real b/x --real a/x
b '--real x: it is there twice' quality --real x --real x --data x --eval-data x
b 'the shape "llama-7b" is there twice' memory --predict 7b,llama-7b
b '*--model: give a model folder*' job
b '--head-sizes 0: give *from 1 to 1024' attention --head-sizes 0
b '--sequences 9: give *from 1 to 8' attention --length 8 --sequences 2,9
b '--heads 6 is no multiple of --kv-heads 4' attention --heads 6 --kv-heads 4
b '--heads is an option of attention, not of train' train --heads 2
b '--quick is an option of kernels, not of train' train --quick
b '*--isa*' train --isa
refuse 3 '*nowhere*no such folder*' \
    qlora-bench train --shape tiny --work-dir nowhere
refuse 3 '*nowhere*no such folder*' \
    qlora-bench large --shape tiny --work-dir nowhere
# so is all that is given, before the first training
q='qlora-bench quality --work-dir . --data data.jsonl --eval-data'
refuse 3 'cannot read nothere: *' $q nothere --real d
refuse 3 '*nothere*no such folder*' $q data.jsonl --real d --real nothere
four='"quant_method": "bitsandbytes", "load_in_4bit": true'
sed -i "\$ s/}\$/, \"quantization_config\": {$four}}/" d/config.json
refuse 3 '--real d: the model is in 4 bits; *' $q data.jsonl --real m --real d
refuse 3 '--real d: the model is in 4 bits; *' \
    qlora-bench memory --work-dir . --real m --real d
damaged
truncate -s 100 d/model.safetensors
refuse 3 'd/model.safetensors: *' $q data.jsonl --real m --real d
refuse 3 'd/model.safetensors: *' \
    qlora-bench memory --work-dir . --real m --real d
damaged
rm d/tokenizer.json
refuse 3 '*d/tokenizer.json: *' $q data.jsonl --real m --real d
damaged
# what a job refuses is refused with the same exit code
toy poke d/model.safetensors model.layers.0.mlp.up_proj.weight 0 nan
refuse 5 '*: qlora-bench job ended with exit code 5; its reason *' \
    $q data.jsonl --real d
damaged
# the disk is asked before anything is written
refuse 4 '*model.safetensors*' sh -c 'ulimit -f 8
    exec qlora-bench large --shape tiny --work-dir .'
