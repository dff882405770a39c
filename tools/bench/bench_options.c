#include "tools/bench/bench_options.h"

#include <stdlib.h>

#include "qlora/train.h"
#include "src/base/fail.h"
#include "tools/bench/bench_race.h"

static bench_options o;

static const cli_opt table[] = {
    {.name = "what",
     CLI_STRING(&o.what),
     .positional = true,
     .required = true,
     .value_name = "WHAT",
     .help = "kernels: the 4-bit products beside the machine's peaks and "
             "OpenBLAS; attention; train: whole training steps"},

    {.name = "shapes",
     CLI_LIST(&o.shapes),
     .value_name = "NAME,...",
     .group = "kernels",
     .help = "models whose matrices are multiplied: tiny, 220m, "
             "qwen2.5-0.5b, tinyllama, llama-7b"},
    {.name = "tokens",
     CLI_LIST(&o.tokens),
     .value_name = "N,...",
     .group = "kernels",
     .help = "numbers of tokens that are multiplied at a time"},
    {.name = "repeat",
     CLI_SIZE(&o.repeat),
     .min = 1,
     .max = BENCH_ROUNDS,
     .value_name = "N",
     .group = "kernels",
     .help = "least samples of each; there are more where they are short"},
    {.name = "quick",
     CLI_FLAG(&o.quick),
     .group = "kernels",
     .help = "one short sample of each, and at most 128 tokens"},
    {.name = "busy",
     CLI_FLAG(&o.busy),
     .group = "kernels",
     .help = "measure all threads once more beside a foreign busy process"},

    {.name = "head-sizes",
     CLI_LIST(&o.head_sizes),
     .value_name = "N,...",
     .group = "attention",
     .help = "widths of a head"},
    {.name = "heads",
     CLI_SIZE(&o.heads),
     .min = 1,
     .max = 1024,
     .value_name = "N",
     .group = "attention",
     .help = "heads of queries"},
    {.name = "kv-heads",
     CLI_SIZE(&o.kv_heads),
     .min = 1,
     .max = 1024,
     .value_name = "N",
     .group = "attention",
     .help = "heads of keys and values, which those of queries share"},
    {.name = "length",
     CLI_SIZE(&o.length),
     .min = 1,
     .max = 1 << 16,
     .value_name = "N",
     .group = "attention",
     .help = "tokens of all sequences together"},
    {.name = "sequences",
     CLI_LIST(&o.sequences),
     .value_name = "N,...",
     .group = "attention",
     .help = "numbers of sequences that they are cut into"},

    {.name = "shape",
     CLI_STRING(&o.shape),
     .value_name = "NAME",
     .group = "train",
     .help = "model to make, with random weights; names as for --shapes"},
    {.name = "max-length",
     CLI_SIZE(&o.max_length),
     .min = 2,
     .max = 1 << 20,
     .value_name = "N",
     .group = "train",
     .help = "tokens of a sequence"},
    {.name = "batch-size",
     CLI_SIZE(&o.batch_size),
     .aliases = "per-device-train-batch-size",
     .min = 1,
     .max = 1 << 16,
     .value_name = "N",
     .group = "train",
     .help = "sequences in a step"},
    {.name = "lora-r",
     CLI_SIZE(&o.lora_r),
     .aliases = "lora-rank",
     .min = 1,
     .max = 16384,
     .value_name = "N",
     .group = "train",
     .help = "rank of the adapters, which all linear layers have"},
    {.name = "lora-dropout",
     CLI_REAL(&o.lora_dropout),
     .min = 0,
     .max = 0.99,
     .value_name = "P",
     .group = "train",
     .help = "dropout before the adapters"},
    {.name = "optimizer-memory",
     CLI_BYTES(&o.optimizer_memory),
     .value_name = "BYTES",
     .group = "train",
     .help = "memory for the moments of paged_adamw_32bit; the rest is kept in "
             "a file in the work folder; 0: all"},
    {.name = "steps",
     CLI_SIZE(&o.steps),
     .min = 1,
     .max = BENCH_STEPS,
     .value_name = "N",
     .group = "train",
     .help = "steps that are measured, after one to warm up"},
    {.name = "gradient-checkpointing",
     CLI_FLAG(&o.gradient_checkpointing),
     .group = "train",
     .help = "repeat each block's forward in place of keeping activations"},
    {.name = "profile",
     CLI_FLAG(&o.profile),
     .group = "train",
     .help = "show what a step's time goes to"},
    {.name = "work-dir",
     CLI_STRING(&o.work_dir),
     .value_name = "DIR",
     .group = "train",
     .default_text = "TMPDIR, else /tmp",
     .help = "where the model is written for the time of the run"},
    {0}};

bench_options *bench_options_defaults(void)
{
    static const char *shapes[] = {"qwen2.5-0.5b", "tinyllama", "llama-7b"};
    static const char *tokens[] = {"1", "4", "32", "128", "512", "2048"};
    static const char *head_sizes[] = {"64", "128"};
    static const char *sequences[] = {"1", "4"};
    ql_train_options t;

    ql_train_options_init(&t);
    o = (bench_options){
        .shapes = {shapes, sizeof(shapes) / sizeof(shapes[0])},
        .tokens = {tokens, sizeof(tokens) / sizeof(tokens[0])},
        .repeat = 2,
        .head_sizes = {head_sizes, sizeof(head_sizes) / sizeof(head_sizes[0])},
        .sequences = {sequences, sizeof(sequences) / sizeof(sequences[0])},
        .heads = 32,
        .kv_heads = 8,
        .length = 1024,
        .shape = "220m",
        .max_length = 512,
        .batch_size = 1,
        .lora_r = t.lora_r,
        .steps = 3,
        .gradient_checkpointing = t.gradient_checkpointing,
        .table = table,
    };
    return &o;
}

ql_status bench_numbers_read(bench_numbers *to, const cli_list *list,
                             const char *name, size_t most)
{
    to->n = 0;
    for (size_t i = 0; i < list->n; i++) {
        char *end;
        const unsigned long n = strtoul(list->items[i], &end, 10);

        if (*end || n < 1 || n > most || to->n == BENCH_NUMBERS) {
            QL_FAIL(QL_EINVAL, "--%s %s: give at most %d numbers from 1 to %zu",
                    name, list->items[i], BENCH_NUMBERS, most);
        }
        to->of[to->n++] = n;
    }
    return QL_OK;
}
