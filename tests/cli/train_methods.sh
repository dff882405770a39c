# An adapter beside weights as they are stored: other losses than beside those
# in 4 bits, and refused where there are none.
. "$QL_SOURCE/tests/cli/refuse.sh"
first_loss() {
    accept qlora-train --quiet --json --model d --data data.jsonl --threads 1 \
        --max-steps 2 --gradient-accumulation-steps 1 --output "$@"
    loss=$(sed -n 's/^{"step": 1,.*"loss": \([^,]*\),.*/\1/p' "$log/out")
}

first_loss four
four=$loss
first_loss whole --method lora
[ -n "$four" ] && [ -n "$loss" ] && [ "$four" != "$loss" ] ||
    complain "losses: \"$four\" and \"$loss\""
accept generate --adapter whole

qlora-quantize --quiet d nf4 >"$log/out" 2>"$log/err"
refuse 3 "nf4: 14 linear layers are in 4 bits, but method lora trains *" \
    qlora-train --quiet --model nf4 --data data.jsonl --output out \
    --method lora --threads 1

# Pairs that begin as parts of the base take the root of their scale
for start in pissa pissa_niter_2 loftq; do
    for alpha in "--lora-alpha -8" "--alpha-pattern q_proj=0"; do
        # shellcheck disable=SC2086
        refuse 2 "init-lora-weights: the scale of *q_proj is *" \
            qlora-train --quiet --model d --data data.jsonl --output out \
            --init-lora-weights $start $alpha --threads 1
    done
done
