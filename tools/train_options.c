#include "tools/train_options.h"

#include <stdio.h>
#include <string.h>

#include "tools/choices.h"
#include "tools/cli/exit.h"
#include "tools/data_options.h"
#include "tools/trained_base.h"

#define FULL_RATE 2e-5 /* the peak that suits all weights */

static const cli_choice schedulers[] = {
    {"constant", QL_SCHEDULER_CONSTANT},
    {"constant_with_warmup", QL_SCHEDULER_CONSTANT_WITH_WARMUP},
    {"linear", QL_SCHEDULER_LINEAR},
    {"cosine", QL_SCHEDULER_COSINE},
    {"cosine_with_restarts", QL_SCHEDULER_COSINE_WITH_RESTARTS},
    {"cosine_with_min_lr", QL_SCHEDULER_COSINE_WITH_MIN_LR},
    {"cosine_warmup_with_min_lr", QL_SCHEDULER_COSINE_WARMUP_WITH_MIN_LR},
    {"polynomial", QL_SCHEDULER_POLYNOMIAL},
    {"inverse_sqrt", QL_SCHEDULER_INVERSE_SQRT},
    {"warmup_stable_decay", QL_SCHEDULER_WARMUP_STABLE_DECAY},
    {"reduce_lr_on_plateau", QL_SCHEDULER_REDUCE_LR_ON_PLATEAU},
    {0}};
static const cli_choice strategies[] = {{"no", QL_STRATEGY_NO},
                                        {"steps", QL_STRATEGY_STEPS},
                                        {"epoch", QL_STRATEGY_EPOCH},
                                        {0}};
static const cli_choice checkpointing[] = {{"auto", QL_CHECKPOINTING_AUTO},
                                           {"true", QL_CHECKPOINTING_ON},
                                           {"false", QL_CHECKPOINTING_OFF},
                                           {0}};
static const cli_choice activations[] = {{"fp32", QL_ACTIVATION_FP32},
                                         {"float32", QL_ACTIVATION_FP32},
                                         {"bf16", QL_ACTIVATION_BF16},
                                         {"bfloat16", QL_ACTIVATION_BF16},
                                         {0}};

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
     .help = "JSON lines, a JSON list, or plain text (.txt) to train on, "
             "gzip-compressed or not"},
    {.name = "output",
     CLI_STRING(&o.output),
     .required = true,
     .aliases = "output-dir adapter-path",
     .value_name = "DIR",
     .group = "Files",
     .help = "folder for the adapter, in PEFT's form, or for the model"},
    {.name = "eval-data",
     CLI_FILES(&o.eval_data),
     .value_name = "FILE...",
     .group = "Files",
     .default_text = "none",
     .help = "files of the same kinds to evaluate on"},
    {.name = "eval-split",
     CLI_SIZE(&o.eval_split),
     .value_name = "N",
     .group = "Files",
     .help = "evaluate on the last N records of the data instead"},
    {.name = "overwrite-output-dir",
     CLI_FLAG(&o.t.overwrite_output_dir),
     .group = "Files",
     .help = "replace an adapter, or a model, that is there"},

    DATA_OPTS(&o.d),
    {.name = "packing",
     CLI_FLAG(&o.t.packing),
     .group = "Data",
     .help = "fill sequences of the maximum length with several records, each "
             "of which attends to itself only"},
    {.name = "shuffle",
     CLI_FLAG(&o.t.shuffle),
     .group = "Data",
     .help = "shuffle the records in each epoch"},

    {.name = "method",
     CLI_CHOICE(&o.t.method, method_choices),
     .group = "Adapter",
     .help = "qlora: beside linear layers in 4 bits; lora: beside those that "
             "the folder has in 16 or 32; full: no adapter, but all weights "
             "are trained, and written as a model"},
    {.name = "dtype",
     CLI_CHOICE(&o.t.dtype, dtype_choices),
     .aliases = "torch-dtype",
     .group = "Adapter",
     .help = "what --method full has weights and gradients in; bfloat16 takes "
             "half, and with --optim adamw_torch also for the moments, but "
             "loses steps that are small beside a weight"},
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
    {.name = "modules-to-save",
     CLI_LIST(&o.saves),
     .value_name = "A,B",
     .group = "Adapter",
     .default_text = "none",
     .help = "train these whole: embed_tokens, lm_head, norm"},
    {.name = "layers-to-transform",
     CLI_LIST(&o.layers),
     .value_name = "N,M",
     .group = "Adapter",
     .default_text = "all",
     .help = "numbers of the layers to adapt"},
    {.name = "rank-pattern",
     CLI_LIST(&o.ranks),
     .value_name = "A=R,B=R",
     .group = "Adapter",
     .default_text = "none",
     .help = "ranks of their own, such as q_proj=8"},
    {.name = "alpha-pattern",
     CLI_LIST(&o.alphas),
     .value_name = "A=X,B=X",
     .group = "Adapter",
     .default_text = "none",
     .help = "alphas of their own"},
    {.name = "use-rslora",
     CLI_FLAG(&o.t.use_rslora),
     .group = "Adapter",
     .help = "scale alpha / sqrt(r) instead"},
    {.name = "use-dora",
     CLI_FLAG(&o.t.use_dora),
     .group = "Adapter",
     .help = "train a magnitude of each output, too"},
    {.name = "init-lora-weights",
     CLI_STRING(&o.t.init_lora_weights),
     .aliases = "peft-init-lora-weights",
     .value_name = "HOW",
     .group = "Adapter",
     .help = "how pairs begin: true (at random, B zero), gaussian, pissa, "
             "pissa_niter_N (N iterations), loftq"},
    {.name = "loftq-iter",
     CLI_SIZE(&o.t.loftq_iter),
     .min = 1,
     .max = 1000,
     .value_name = "N",
     .group = "Adapter",
     .help = "rounds of loftq"},
    {.name = "adapter",
     CLI_STRING(&o.adapter),
     .value_name = "DIR",
     .group = "Adapter",
     .default_text = "a fresh one",
     .help = "PEFT LoRA folder to go on from, with all settings of an "
             "adapter"},

    {.name = "optim",
     CLI_CHOICE(&o.t.optim, optim_choices),
     .group = "Optimizer (AdamW)",
     .help = "how its moments are kept; the paged ones may lie in a file"},
    {.name = "optimizer-memory",
     CLI_BYTES(&o.t.optimizer_memory),
     .value_name = "BYTES",
     .group = "Optimizer (AdamW)",
     .help = "memory for the moments of a paged optimizer; the rest of them "
             "is kept in a file in the output folder; 0: all"},
    {.name = "learning-rate",
     CLI_REAL(&o.t.learning_rate),
     .aliases = "lr",
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "peak learning rate; with --method full 2e-05 unless it is given"},
    {.name = "lr-scheduler-type",
     CLI_CHOICE(&o.t.lr_scheduler_type, schedulers),
     .group = "Optimizer (AdamW)",
     .help = "its course over the run"},
    {.name = "lr-scheduler-kwargs",
     CLI_STRING(&o.t.lr_scheduler_kwargs),
     .json = true,
     .value_name = "JSON",
     .group = "Optimizer (AdamW)",
     .default_text = "none",
     .help = "more of it, by the names of transformers: '{\"num_cycles\": 3}' "
             "of cosine_with_restarts, '{\"num_decay_steps\": 100}' of "
             "warmup_stable_decay"},
    {.name = "min-lr-rate",
     CLI_REAL(&o.t.min_lr_rate),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "share of the peak that the cosines with a min_lr fall to"},
    {.name = "warmup-ratio",
     CLI_REAL(&o.t.warmup_ratio),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "share of the steps that warm up"},
    {.name = "warmup-steps",
     CLI_REAL(&o.t.warmup_steps),
     .value_name = "N",
     .group = "Optimizer (AdamW)",
     .help = "steps that warm up, or a share of them below 1, instead of the "
             "ratio; 0: by the ratio"},
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
    {.name = "loraplus-lr-ratio",
     CLI_REAL(&o.t.loraplus_lr_ratio),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "LoRA+: learning rate of B over that of A, such as 16; 0: the "
             "same"},
    {.name = "loraplus-lr-embedding",
     CLI_REAL(&o.t.loraplus_lr_embedding),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "with LoRA+, that of an embedding's B"},
    {.name = "neftune-noise-alpha",
     CLI_REAL(&o.t.neftune_noise_alpha),
     .value_name = "X",
     .group = "Optimizer (AdamW)",
     .help = "NEFTune: noise on the embeddings while training, such as 5; 0: "
             "none"},

    {.name = "num-train-epochs",
     CLI_REAL(&o.t.num_train_epochs),
     .aliases = "epochs",
     .value_name = "X",
     .group = "Length",
     .help = "times through the data"},
    {.name = "max-steps",
     CLI_INT(&o.t.max_steps),
     .min = -1,
     .max = 1e9,
     .aliases = "iters",
     .value_name = "N",
     .group = "Length",
     .help = "optimizer steps, instead of epochs; -1: by epochs"},
    {.name = "per-device-train-batch-size",
     CLI_SIZE(&o.t.per_device_train_batch_size),
     .aliases = "batch-size",
     .min = 1,
     .max = 1 << 20,
     .value_name = "N",
     .group = "Length",
     .help = "sequences in a micro-batch: packs, or records without packing"},
    {.name = "gradient-accumulation-steps",
     CLI_SIZE(&o.t.gradient_accumulation_steps),
     .min = 1,
     .max = 1 << 20,
     .value_name = "N",
     .group = "Length",
     .help = "micro-batches in an optimizer step"},

    {.name = "memory",
     CLI_BYTES(&o.t.memory),
     .value_name = "BYTES",
     .max = CLI_NO_LIMIT,
     .group = "Memory",
     .default_text = "what is free, less a margin",
     .help = "memory that the process may have"},
    {.name = "dry-run",
     CLI_FLAG(&o.t.dry_run),
     .transient = true,
     .group = "Memory",
     .help = "show where memory would go, and stop"},
    {.name = "gradient-checkpointing",
     CLI_CHOICE(&o.t.gradient_checkpointing, checkpointing),
     .aliases = "grad-checkpoint",
     .bare = "true",
     .group = "Memory",
     .help = "repeat the blocks' forward instead of keeping activations; auto: "
             "in as many as memory demands"},
    {.name = "activation-dtype",
     CLI_CHOICE(&o.t.activation_dtype, activations),
     .group = "Memory",
     .help = "what the inputs of blocks are kept in; bf16 takes half, and "
             "moves gradients by less than 1 % of their norm"},
    {.name = "quant-type",
     CLI_CHOICE(&o.quant.type, quant_choices),
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
    {.name = "sample-prompts",
     CLI_SIZE(&o.t.sample_prompts),
     .max = 100,
     .value_name = "N",
     .group = "Reports",
     .help = "records whose prompts the model continues before and after "
             "training; 0: none"},

    {.name = "eval-strategy",
     CLI_CHOICE(&o.t.eval_strategy, strategies),
     .aliases = "evaluation-strategy",
     .group = "Evaluation",
     .help = "when to evaluate: every --eval-steps steps, at the end of each "
             "epoch, or never; before and after unless never"},
    {.name = "eval-steps",
     CLI_SIZE(&o.t.eval_steps),
     .aliases = "steps-per-eval",
     .value_name = "N",
     .group = "Evaluation",
     .help = "steps between evaluations; 0: before and after only"},
    {.name = "load-best-model-at-end",
     CLI_FLAG(&o.t.load_best_model_at_end),
     .group = "Evaluation",
     .help = "keep the adapter with the smallest evaluation loss, where there "
             "is evaluation data, instead of the last"},
    {.name = "early-stopping-patience",
     CLI_SIZE(&o.t.early_stopping_patience),
     .value_name = "N",
     .group = "Evaluation",
     .help = "end after so many evaluations without a smaller loss; 0: do "
             "not"},

    {.name = "save-strategy",
     CLI_CHOICE(&o.t.save_strategy, strategies),
     .group = "Checkpoints",
     .help = "when to save: every --save-steps steps, at the end of each "
             "epoch, or only when interrupted"},
    {.name = "save-steps",
     CLI_SIZE(&o.t.save_steps),
     .aliases = "save-every",
     .min = 1,
     .max = CLI_NO_LIMIT,
     .value_name = "N",
     .group = "Checkpoints",
     .help = "steps between checkpoints"},
    {.name = "save-total-limit",
     CLI_SIZE(&o.t.save_total_limit),
     .value_name = "N",
     .group = "Checkpoints",
     .help = "checkpoints that are kept; 0: all"},
    {.name = "resume",
     CLI_STRING(&o.t.resume),
     .aliases = "resume-from-checkpoint",
     .value_name = "auto|off|DIR",
     .group = "Checkpoints",
     .help = "go on from the newest sound checkpoint in the output folder, "
             "never, or from this one"},
    {0}};

train_options *train_options_defaults(void)
{
    static const char *all_linear[] = {"all-linear"};

    o = (train_options){.targets = {all_linear, 1}, .table = table};
    ql_dataset_options_init(&o.d);
    ql_quant_options_init(&o.quant);
    ql_train_options_init(&o.t);
    o.t.resume = "auto";
    o.t.init_lora_weights = "true";
    return &o;
}

/* Both spellings that transformers knows. */
static void settle_resume(ql_train_options *t)
{
    static const char *const words[][2] = {
        {"true", "auto"}, {"True", "auto"}, {"false", "off"}, {"False", "off"}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(t->resume, words[i][0]) == 0) {
            t->resume = words[i][1];
        }
    }
}

/* A list option: its name, what was read, and what the library takes. */
typedef struct list_option {
    const char *name;
    cli_list *read;
    ql_list *taken;
} list_option;

enum {
    LISTS = 5
};

static const list_option lists[LISTS] = {
    {"lora-target-modules", &o.targets, &o.t.lora_target_modules},
    {"modules-to-save", &o.saves, &o.t.modules_to_save},
    {"layers-to-transform", &o.layers, &o.t.layers_to_transform},
    {"rank-pattern", &o.ranks, &o.t.rank_pattern},
    {"alpha-pattern", &o.alphas, &o.t.alpha_pattern},
};

/* True if both hold the same texts, in any order. */
static bool same_texts(const cli_list *a, const ql_list *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++) {
        same = false;
        for (size_t j = 0; !same && j < b->n; j++) {
            same = strcmp(a->items[i], b->items[j]) == 0;
        }
    }
    return same;
}

/* The option that was given and is not what the folder says, or NULL. The lists
 * that were read become those of the folder. */
static const char *find_clash(const ql_train_options *given,
                              const ql_train_options *folder,
                              const cli_args *args)
{
    const struct {
        const char *name;
        bool same;
    } rows[] = {
        {"lora-r", given->lora_r == folder->lora_r},
        {"lora-alpha", given->lora_alpha == folder->lora_alpha},
        {"use-rslora", given->use_rslora == folder->use_rslora},
        {"use-dora", given->use_dora == folder->use_dora},
        {"init-lora-weights", strcmp(given->init_lora_weights, "true") == 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].same && cli_args_given(args, rows[i].name)) {
            return rows[i].name;
        }
    }
    for (size_t i = 0; i < LISTS; i++) {
        if (!same_texts(lists[i].read, lists[i].taken) &&
            cli_args_given(args, lists[i].name)) {
            return lists[i].name;
        }
    }
    return NULL;
}

/* The weights beside the adapter are those that it was trained beside. */
static ql_status settle_base(const cli_args *args, bool quiet)
{
    ql_model_options load = {.quantize = o.t.method == QL_METHOD_QLORA,
                             .quant = o.quant};
    const ql_status st = trained_base_take(&load, o.adapter, args, quiet);

    o.quant = load.quant;
    o.t.method = load.quantize ? QL_METHOD_QLORA : QL_METHOD_LORA;
    return st;
}

static int settle_adapter(const cli_args *args, bool quiet)
{
    const ql_train_options given = o.t;
    const char *command = args->command->name;
    ql_status st = ql_train_options_adapter(&o.t, o.adapter, &o.texts);
    const char *clash;
    char text[256];

    if (st == QL_OK) {
        st = settle_base(args, quiet);
    }
    if (st != QL_OK) {
        return cli_fail(command, st, ql_last_error(), NULL);
    }
    clash = find_clash(&given, &o.t, args);
    if (clash) {
        snprintf(text, sizeof(text),
                 "--%s is not what the adapter of --adapter has; leave it out "
                 "to go on with the adapter, or --adapter to begin a fresh one",
                 clash);
        return cli_fail(command, QL_EINVAL, text, NULL);
    }
    if (cli_args_given(args, "lora-dropout")) {
        o.t.lora_dropout = given.lora_dropout;
    }
    for (size_t i = 0; i < LISTS; i++) {
        *lists[i].read = (cli_list){
            (const char **)(uintptr_t)lists[i].taken->items, lists[i].taken->n};
    }
    return 0;
}

/* Training all weights: what is about an adapter, or 4 bits, is no setting. */
static int settle_full(cli_args *args)
{
    static const char *const idle[] = {
        "lora-r",     "lora-alpha",          "lora-dropout",
        "use-rslora", "lora-target-modules", "modules-to-save",
        "use-dora",   "layers-to-transform", "rank-pattern",
        "adapter",    "alpha-pattern",       "loraplus-lr-ratio",
        "quant-type", "double-quant",        "loraplus-lr-embedding",
        "loftq-iter", "init-lora-weights",
    };
    const char *command = args->command->name;
    char text[160];

    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
        if (cli_args_given(args, idle[i])) {
            snprintf(text, sizeof(text),
                     "--%s is about an adapter or 4 bits, but --method full "
                     "trains all weights; leave it out",
                     idle[i]);
            return cli_fail(command, QL_EINVAL, text, NULL);
        }
        cli_args_idle(args, idle[i]);
    }
    if (!cli_args_given(args, "learning-rate")) {
        o.t.learning_rate = FULL_RATE;
    }
    return 0;
}

int train_options_settle(cli_args *args, bool quiet)
{
    const char *command = args->command->name;

    settle_resume(&o.t);
    if (strncmp(o.t.init_lora_weights, "pissa", 5) == 0 &&
        !cli_args_given(args, "lora-dropout")) {
        o.t.lora_dropout = 0; /* it would drop parts of the weights */
    }
    if (o.eval_data.n > 0 && o.eval_split > 0) {
        return cli_fail(command, QL_EINVAL,
                        "--eval-data and --eval-split exclude each other; "
                        "give one of them",
                        NULL);
    }
    if (o.t.method == QL_METHOD_FULL) {
        return settle_full(args);
    }
    for (size_t i = 0; !o.adapter && i < LISTS; i++) {
        *lists[i].taken = (ql_list){lists[i].read->items, lists[i].read->n};
    }
    return o.adapter ? settle_adapter(args, quiet) : 0;
}

void train_options_close(void)
{
    ql_adapter_texts_close(&o.texts);
}
