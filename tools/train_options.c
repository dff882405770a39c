#include "tools/train_options.h"

#include <stdio.h>
#include <string.h>

static const cli_choice formats[] = {
    {"auto", QL_FORMAT_AUTO},
    {"messages", QL_FORMAT_MESSAGES},
    {"prompt_completion", QL_FORMAT_PROMPT_COMPLETION},
    {"text", QL_FORMAT_TEXT},
    {0}};
static const cli_choice truncations[] = {{"right", QL_TRUNCATION_RIGHT},
                                         {"drop", QL_TRUNCATION_DROP},
                                         {"error", QL_TRUNCATION_ERROR},
                                         {0}};
static const cli_choice trained[] = {{"completions", QL_TRAIN_ON_COMPLETIONS},
                                     {"all", QL_TRAIN_ON_ALL},
                                     {"last_turn", QL_TRAIN_ON_LAST_TURN},
                                     {0}};
static const cli_choice schedulers[] = {
    {"constant", QL_SCHEDULER_CONSTANT},
    {"constant_with_warmup", QL_SCHEDULER_CONSTANT_WITH_WARMUP},
    {"linear", QL_SCHEDULER_LINEAR},
    {"cosine", QL_SCHEDULER_COSINE},
    {0}};
static const cli_choice quant_types[] = {
    {"nf4", QL_QUANT_NF4}, {"fp4", QL_QUANT_FP4}, {0}};

static const struct {
    const char *name;
    unsigned mask;
} targets[] = {
    {"all-linear", QL_TARGET_ALL_LINEAR}, {"q_proj", QL_TARGET_Q_PROJ},
    {"k_proj", QL_TARGET_K_PROJ},         {"v_proj", QL_TARGET_V_PROJ},
    {"o_proj", QL_TARGET_O_PROJ},         {"gate_proj", QL_TARGET_GATE_PROJ},
    {"up_proj", QL_TARGET_UP_PROJ},       {"down_proj", QL_TARGET_DOWN_PROJ},
};

enum {
    TARGETS = sizeof(targets) / sizeof(targets[0])
};

static train_options o;

static const cli_opt table[] = {
    {.name = "model",
     CLI_STRING(&o.model),
     .required = true,
     .aliases = "model-name-or-path",
     .value_name = "DIR",
     .group = "Files",
     .help = "Hugging Face folder, in 4 bits or not (then quantized while "
             "loading)"},
    {.name = "data",
     CLI_FILES(&o.data),
     .required = true,
     .aliases = "dataset",
     .value_name = "FILE...",
     .group = "Files",
     .help = "JSON lines to train on, gzip-compressed or not"},
    {.name = "output",
     CLI_STRING(&o.output),
     .required = true,
     .aliases = "output-dir",
     .value_name = "DIR",
     .group = "Files",
     .help = "folder for the adapter, in PEFT's form"},
    {.name = "eval-data",
     CLI_FILES(&o.eval_data),
     .value_name = "FILE...",
     .group = "Files",
     .default_text = "none",
     .help = "JSON lines to evaluate on"},
    {.name = "eval-split",
     CLI_SIZE(&o.eval_split),
     .value_name = "N",
     .group = "Files",
     .help = "evaluate on the last N records of the data instead"},
    {.name = "overwrite-output-dir",
     CLI_FLAG(&o.t.overwrite_output_dir),
     .group = "Files",
     .help = "replace an adapter that is there"},

    {.name = "format",
     CLI_CHOICE(&o.d.format, formats),
     .group = "Data",
     .help = "form of the records"},
    {.name = "max-length",
     CLI_SIZE(&o.d.max_length),
     .aliases = "max-seq-length cutoff-len",
     .min = 2,
     .max = 1 << 20,
     .value_name = "N",
     .group = "Data",
     .help = "most tokens of a record"},
    {.name = "truncation",
     CLI_CHOICE(&o.d.truncation, truncations),
     .group = "Data",
     .help = "what is done with longer records"},
    {.name = "train-on",
     CLI_CHOICE(&o.d.train_on, trained),
     .aliases = "mask-prompt=completions",
     .group = "Data",
     .help = "which tokens are learnt"},
    {.name = "shuffle",
     CLI_FLAG(&o.t.shuffle),
     .group = "Data",
     .help = "shuffle the records in each epoch"},

    {.name = "lora-r",
     CLI_SIZE(&o.t.lora_r),
     .aliases = "lora-rank",
     .min = 1,
     .max = 16384,
     .value_name = "N",
     .group = "Adapter",
     .help = "rank"},
    {.name = "lora-alpha",
     CLI_REAL(&o.t.lora_alpha),
     .value_name = "X",
     .group = "Adapter",
     .help = "scale: alpha / r"},
    {.name = "lora-dropout",
     CLI_REAL(&o.t.lora_dropout),
     .value_name = "P",
     .group = "Adapter",
     .help = "dropout before the adapter"},
    {.name = "lora-target-modules",
     CLI_LIST(&o.targets),
     .value_name = "A,B",
     .group = "Adapter",
     .help = "all-linear, or names such as q_proj,v_proj"},
    {.name = "use-rslora",
     CLI_FLAG(&o.t.use_rslora),
     .group = "Adapter",
     .help = "scale alpha / sqrt(r) instead"},

    {.name = "learning-rate",
     CLI_REAL(&o.t.learning_rate),
     .aliases = "lr",
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "peak learning rate"},
    {.name = "lr-scheduler-type",
     CLI_CHOICE(&o.t.lr_scheduler_type, schedulers),
     .group = "Optimizer (AdamW)",
     .help = "its course over the run"},
    {.name = "warmup-ratio",
     CLI_REAL(&o.t.warmup_ratio),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "share of the steps that warm up"},
    {.name = "warmup-steps",
     CLI_SIZE(&o.t.warmup_steps),
     .value_name = "N",
     .group = "Optimizer (AdamW)",
     .help = "steps that warm up, instead of the ratio; 0: by the ratio"},
    {.name = "weight-decay",
     CLI_REAL(&o.t.weight_decay),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "decoupled weight decay"},
    {.name = "adam-beta1",
     CLI_REAL(&o.t.adam_beta1),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "decay of the first moment"},
    {.name = "adam-beta2",
     CLI_REAL(&o.t.adam_beta2),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "decay of the second moment"},
    {.name = "adam-epsilon",
     CLI_REAL(&o.t.adam_epsilon),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "added to the root of the second moment"},
    {.name = "max-grad-norm",
     CLI_REAL(&o.t.max_grad_norm),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "clip gradients to this norm; 0: do not"},

    {.name = "num-train-epochs",
     CLI_REAL(&o.t.num_train_epochs),
     .aliases = "epochs",
     .value_name = "X",
     .group = "Length",
     .help = "times through the data"},
    {.name = "max-steps",
     CLI_SIZE(&o.t.max_steps),
     .aliases = "iters",
     .value_name = "N",
     .group = "Length",
     .help = "optimizer steps, instead of epochs; 0: by epochs"},
    {.name = "per-device-train-batch-size",
     CLI_SIZE(&o.t.per_device_train_batch_size),
     .aliases = "batch-size",
     .min = 1,
     .max = 1 << 20,
     .value_name = "N",
     .group = "Length",
     .help = "records in a micro-batch"},
    {.name = "gradient-accumulation-steps",
     CLI_SIZE(&o.t.gradient_accumulation_steps),
     .min = 1,
     .max = 1 << 20,
     .value_name = "N",
     .group = "Length",
     .help = "micro-batches in an optimizer step"},

    {.name = "gradient-checkpointing",
     CLI_FLAG(&o.t.gradient_checkpointing),
     .aliases = "grad-checkpoint",
     .group = "Memory",
     .help = "keep only the blocks' inputs and repeat their forward"},
    {.name = "quant-type",
     CLI_CHOICE(&o.quant.type, quant_types),
     .group = "Memory",
     .help = "4-bit data type, for a folder that is not in 4 bits"},
    {.name = "double-quant",
     CLI_FLAG(&o.quant.double_quant),
     .group = "Memory",
     .help = "its scales in 8 bits too"},

    {.name = "logging-steps",
     CLI_SIZE(&o.t.logging_steps),
     .min = 1,
     .max = CLI_NO_LIMIT,
     .value_name = "N",
     .group = "Reports",
     .help = "steps between lines of the log"},
    {.name = "eval-steps",
     CLI_SIZE(&o.t.eval_steps),
     .value_name = "N",
     .group = "Reports",
     .help = "steps between evaluations; 0: before and after only"},
    {0}};

train_options *train_options_defaults(void)
{
    static const char *all_linear[] = {"all-linear"};

    o = (train_options){.targets = {all_linear, 1}, .table = table};
    ql_dataset_options_init(&o.d);
    ql_quant_options_init(&o.quant);
    ql_train_options_init(&o.t);
    return &o;
}

bool train_options_finish(void)
{
    const cli_list *list = &o.targets;
    unsigned *mask = &o.t.lora_target_modules;

    *mask = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t j = 0;

        while (j < TARGETS && strcmp(targets[j].name, list->items[i]) != 0) {
            j++;
        }
        if (j == TARGETS) {
            fprintf(stderr,
                    "qlora-train: --lora-target-modules: \"%s\" is unknown; "
                    "choose from all-linear, q_proj, k_proj, v_proj, o_proj, "
                    "gate_proj, up_proj, down_proj\n",
                    list->items[i]);
            return false;
        }
        *mask |= targets[j].mask;
    }
    return true;
}
