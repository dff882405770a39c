#include "tools/bench/bench_options.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "tools/bench/bench_race.h"
#include "tools/choices.h"
#include "tools/cli/value.h"

static bench_options o;

/* Subcommands that make a model, and those that train. */
static const char shaped[] = "train, large, generate";
static const char trained[] = "train, large, memory, quality, job";
static const char wrote[] = "train, large, memory, quality, job, generate";

static const cli_choice others[] = {{"none", 0}, {"torch", 1}, {0}};

static const cli_opt table[] = {
    {.name = "what",
     CLI_STRING(&o.what),
     .positional = true,
     .required = true,
     .value_name = "WHAT",
     .help = "kernels: the 4-bit products beside the machine's peaks and "
             "OpenBLAS; attention; train: whole training steps; large: a "
             "large model in little memory; memory: full fine-tuning, LoRA and "
             "QLoRA side by side; quality: what 4 bits cost; job: one "
             "training, as these start it in processes of their own; generate: "
             "reading and writing text"},

    {.name = "shapes",
     CLI_LIST(&o.shapes),
     .value_name = "NAME,...",
     .group = "kernels",
     .help = "models whose matrices are multiplied: tiny, 220m, "
             "tinyllama, llama-7b, qwen2.5-0.5b, -1.5b, -3b, -7b"},
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
     .group = shaped,
     .default_text = "220m; llama-7b for large",
     .help = "model to make, with random weights; names as for --shapes, and "
             "llama-13b, llama-33b, llama-70b"},
    {.name = "family",
     CLI_LIST(&o.family),
     .value_name = "TYPE,...",
     .group = "train",
     .default_text = "that of the shape",
     .help = "families of the model, as config.json names them, such as "
             "gemma2: the same sizes in its form, with as many parameters in "
             "products; several take their steps in turns, and are set side by "
             "side with the first"},

    {.name = "max-length",
     CLI_SIZE(&o.max_length),
     .min = 2,
     .max = 1 << 20,
     .value_name = "N",
     .group = trained,
     .help = "tokens of a sequence"},
    {.name = "batch-size",
     CLI_SIZE(&o.batch_size),
     .aliases = "per-device-train-batch-size",
     .min = 1,
     .max = 1 << 16,
     .value_name = "N",
     .group = trained,
     .help = "sequences in a step"},
    {.name = "lora-r",
     CLI_SIZE(&o.lora_r),
     .aliases = "lora-rank",
     .min = 1,
     .max = 16384,
     .value_name = "N",
     .group = trained,
     .help = "rank of the adapters, which all linear layers have"},
    {.name = "steps",
     CLI_SIZE(&o.steps),
     .min = 0,
     .max = BENCH_STEPS,
     .value_name = "N",
     .group = trained,
     .help = "steps that are measured, after one to warm up; 0, not of train: "
             "only that one"},
    {.name = "gradient-checkpointing",
     CLI_FLAG(&o.gradient_checkpointing),
     .group = trained,
     .help = "repeat each block's forward in place of keeping activations"},
    {.name = "optimizer-memory",
     CLI_BYTES(&o.optimizer_memory),
     .value_name = "BYTES",
     .group = trained,
     .help = "memory for the moments of paged_adamw_32bit; the rest is kept in "
             "a file in the work folder; 0: all"},
    {.name = "work-dir",
     CLI_STRING(&o.work_dir),
     .value_name = "DIR",
     .group = wrote,
     .default_text = "TMPDIR, else /tmp",
     .help = "where files are kept for the time of the run"},

    {.name = "contexts",
     CLI_LIST(&o.contexts),
     .value_name = "N,...",
     .group = "generate",
     .help = "tokens of the prompts that are read"},
    {.name = "new-tokens",
     CLI_SIZE(&o.new_tokens),
     .min = 1,
     .max = 1 << 16,
     .value_name = "N",
     .group = "generate",
     .help = "tokens that are written behind each"},

    {.name = "lora-dropout",
     CLI_REAL(&o.lora_dropout),
     .min = 0,
     .max = 0.99,
     .value_name = "P",
     .group = "train",
     .help = "dropout before the adapters"},
    {.name = "profile",
     CLI_FLAG(&o.profile),
     .group = "train",
     .help = "show what a step's time goes to"},

    {.name = "compare",
     CLI_CHOICE(&o.compare, others),
     .value_name = "NAME",
     .group = "train",
     .help = "set the same steps of LoRA in another program beside ours"},

    {.name = "model",
     CLI_STRING(&o.model),
     .value_name = "DIR",
     .group = "large, job",
     .default_text = "none; large: a new one in the work folder",
     .help = "folder to train on; large writes it unless it is there, and "
             "leaves it there"},
    {.name = "limits",
     CLI_LIST(&o.limits),
     .value_name = "BYTES,...",
     .group = "large",
     .help = "memory to train in, files included; 0: no limit"},
    {.name = "rounds",
     CLI_SIZE(&o.rounds),
     .min = 1,
     .max = BENCH_TURNS,
     .value_name = "N",
     .group = "large, memory, quality",
     .default_text = "large: 1; else 3",
     .help = "times that all limits, or methods, take their turn"},

    {.name = "measure",
     CLI_LIST(&o.measure),
     .value_name = "NAME,...",
     .group = "memory",
     .help = "shapes that are trained, as for --shape, by each method that "
             "fits"},
    {.name = "predict",
     CLI_LIST(&o.predict),
     .value_name = "NAME,...",
     .group = "memory",
     .help = "shapes that only the plan is made for"},
    {.name = "real",
     CLI_FILES(&o.real),
     .value_name = "DIR",
     .group = "memory, quality",
     .help = "folder of a model in 16 or 32 bits to train; may be repeated"},
    {.name = "output",
     CLI_STRING(&o.output),
     .value_name = "DIR",
     .group = "memory, quality",
     .default_text = "none",
     .help = "folder for the results as JSON, CSV and a page"},

    {.name = "data",
     CLI_STRING(&o.data),
     .value_name = "FILE",
     .group = "quality, job",
     .default_text = "random tokens; quality needs one",
     .help = "records to train on"},
    {.name = "eval-data",
     CLI_STRING(&o.eval_data),
     .value_name = "FILE",
     .group = "quality, job",
     .default_text = "none; quality needs one",
     .help = "records to evaluate on, before and after"},
    {.name = "learning-rate",
     CLI_REAL(&o.learning_rate),
     .min = 0,
     .max = 1,
     .value_name = "X",
     .group = "quality, job",
     .help = "constant rate of learning"},
    {.name = "method",
     CLI_CHOICE(&o.method, method_choices),
     .value_name = "NAME",
     .group = "job",
     .help = "what is trained, as qlora-train has it"},
    {.name = "dtype",
     CLI_CHOICE(&o.dtype, dtype_choices),
     .value_name = "NAME",
     .group = "job",
     .help = "what method full has weights and gradients in"},
    {.name = "optim",
     CLI_CHOICE(&o.optim, optim_choices),
     .value_name = "NAME",
     .group = "job",
     .help = "how AdamW keeps its moments"},
    {.name = "quant-type",
     CLI_CHOICE(&o.quant.type, quant_choices),
     .value_name = "NAME",
     .group = "job",
     .help = "4-bit data type that dense linear layers get for method qlora"},
    {.name = "double-quant",
     CLI_FLAG(&o.quant.double_quant),
     .group = "job",
     .help = "quantize the scales, too"},
    {.name = "memory",
     CLI_BYTES(&o.memory),
     .value_name = "BYTES",
     .group = "job",
     .help = "what the plan may take; 0: what is free"},
    {.name = "dry-run",
     CLI_FLAG(&o.dry_run),
     .group = "job",
     .help = "only make the plan"},
    {0}};

bench_options *bench_options_defaults(void)
{
    static const char *shapes[] = {"qwen2.5-0.5b", "tinyllama", "llama-7b"};
    static const char *tokens[] = {"1", "4", "32", "128", "512", "2048"};
    static const char *head_sizes[] = {"64", "128"};
    static const char *sequences[] = {"1", "4"};
    static const char *limits[] = {"0"};
    static const char *contexts[] = {"128", "2048"};
    static const char *measure[] = {"220m", "tinyllama"};
    static const char *predict[] = {
        "qwen2.5-0.5b", "tinyllama", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b",
        "llama-7b",     "llama-13b", "llama-33b",    "llama-70b"};
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
        .limits = {limits, 1},
        .contexts = {contexts, sizeof(contexts) / sizeof(contexts[0])},
        .new_tokens = 32,
        .measure = {measure, sizeof(measure) / sizeof(measure[0])},
        .predict = {predict, sizeof(predict) / sizeof(predict[0])},
        .method = t.method,
        .optim = t.optim,
        .learning_rate = t.learning_rate,
        .max_length = 512,
        .batch_size = 1,
        .lora_r = t.lora_r,
        .steps = 3,
        .gradient_checkpointing = t.gradient_checkpointing,
        .table = table,
    };
    ql_quant_options_init(&o.quant);
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

bool bench_options_belongs(const cli_opt *row, const char *what)
{
    const size_t n = strlen(what);
    const char *at = row->group;

    if (!at) {
        return true;
    }
    while (at) {
        if (strncmp(at, what, n) == 0 && (at[n] == ',' || at[n] == '\0')) {
            return true;
        }
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return false;
}

ql_status bench_bytes_read(uint64_t *to, const char *text, const char *name)
{
    const cli_opt row = {.name = name, CLI_BYTES(to)};
    cli_args none = {0};

    if (cli_value_set(&none, &row, name, text, false) != QL_OK) {
        QL_FAIL(QL_EINVAL, "%s", none.error);
    }
    return QL_OK;
}

const char *bench_work_dir(const bench_options *opt)
{
    const char *tmp = getenv("TMPDIR");

    if (opt->work_dir) {
        return opt->work_dir;
    }
    return tmp && *tmp ? tmp : "/tmp";
}

ql_status bench_work_folder(const bench_options *opt, char **dir)
{
    char *path = ql_path_join(bench_work_dir(opt), "qlora-bench-XXXXXX");

    *dir = path && mkdtemp(path) ? path : NULL;
    if (path && !*dir) {
        const ql_status st =
            ql_fail_errno("cannot make a folder in %s", bench_work_dir(opt));

        ql_free(path);
        return st;
    }
    return path ? QL_OK : QL_ENOMEM;
}

const char *bench_choice_name(const cli_choice *names, int value)
{
    while (names->name && names->value != value) {
        names++;
    }
    return names->name;
}
