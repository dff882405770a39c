# Options without meaning: exit code 2, before anything is read.
. "$QL_SOURCE/tests/cli/refuse.sh"

rm -r m d data.jsonl

# t PATTERN OPTION...: of qlora-train
t() {
    pattern=$1
    shift
    refuse 2 "$pattern" qlora-train --model d --data data.jsonl \
        --output out "$@"
}

t "*--lora-r*0*from 1 to 16384*" --lora-r 0
t "*--lora-r*99999*from 1 to 16384*" --lora-r 99999
t "*--lora-r*-1*" --lora-r -1
t "*--lora-r*ten*" --lora-r ten
t "LoRA dropout 1: give a number from 0 *" --lora-dropout 1
t "LoRA dropout -0.1: give a number from 0 *" --lora-dropout -0.1
t "lora-alpha 0: nothing would be learnt; *" --lora-alpha 0
t "*--learning-rate*nan*" --learning-rate nan
t "*--lr*inf*" --lr inf
t "learning-rate -1: give a number from 0 *" --learning-rate -1
t "*--lr*1e999*" --lr 1e999
t "warmup-ratio 2: give a number from 0 *" --warmup-ratio 2
t "adam-beta1 1: give a number from 0 *" --adam-beta1 1
t "adam-beta2 -1: give a number from 0 *" --adam-beta2 -1
t "*--method*dpo*qlora, lora or full*" --method dpo
t "*--optim*sgd*paged_adamw_32bit, *" --optim sgd
t "*--optimizer-memory*much*" --optimizer-memory much
t "max-grad-norm -1: give a number *" --max-grad-norm -1
t "*--max-length*1*from 2 to *" --max-length 1
t "*--max-length*99999999*from 2 to *" --max-length 99999999
t "*--batch-size*0*from 1 to *" --batch-size 0
t "*--gradient-accumulation-steps*0*" --gradient-accumulation-steps 0
t "*--logging-steps*0*" --logging-steps 0
t "give num-train-epochs or max-steps above 0" --num-train-epochs 0
t "num-train-epochs 1e+07: give a number *" --num-train-epochs 1e7
t "*--max-steps*18446744073709551616*" --max-steps 18446744073709551616
t "*--format*csv*" --format csv
t "*--lr-scheduler-type*zigzag*" --lr-scheduler-type zigzag
none="goes by evaluations on the way; give --eval-steps, or --eval-strategy *"
t "reduce_lr_on_plateau $none" --lr-scheduler-type reduce_lr_on_plateau
t "early-stopping-patience $none" --early-stopping-patience 1
t "early-stopping-patience $none" --early-stopping-patience 1 \
    --eval-strategy no --eval-steps 1
t "*--threads*-1*from 0 to 1024*" --threads -1
t "*--threads*100000*from 0 to 1024*" --threads 100000
isas="instruction set avx9000 is unknown; choose one of: *generic*"
t "$isas" --isa avx9000
QL_ISA=avx9000
export QL_ISA
t "QL_ISA: $isas"
refuse 2 "QL_ISA: $isas" qlora-quantize d out
refuse 2 "QL_ISA: $isas" qlora-generate --model d --prompt a
unset QL_ISA
refuse 2 "*--isa*" qlora-train --isa
t "*--compute*fp64*auto, fp32 or bf16*" --compute fp64
refuse 3 "instruction set generic computes in fp32, not in bf16" \
    qlora-quantize --isa generic --compute bf16 d out
refuse 2 "*--output*" qlora-train --model d --data data.jsonl
refuse 2 "*MODEL*" qlora-quantize
refuse 2 "*OUT*" qlora-quantize d
refuse 2 "*third*" qlora-quantize d out third

mkdir d
for size in 48 0 16 8192 18446744073709551615; do
    refuse 2 "block size $size: choose 32, 64, 128, *" \
        qlora-quantize --block-size $size d out
done
refuse 2 "*--quant-type*int4*" qlora-quantize --quant-type int4 d out
refuse 2 "*--max-shard-size*0*" qlora-quantize --max-shard-size 0 d out
refuse 2 "*--max-shard-size*5XB*" qlora-quantize --max-shard-size 5XB d out
refuse 2 "*--temperature*-1*" \
    qlora-generate --model d --prompt a --temperature -1
refuse 2 "*--repetition-penalty*above 0*" \
    qlora-generate --model d --prompt a --repetition-penalty 0
refuse 2 "*--top-p*2*" qlora-generate --model d --prompt a --top-p 2
refuse 2 "*--max-new-tokens*0*" \
    qlora-generate --model d --prompt a --max-new-tokens 0
