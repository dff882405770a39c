#include "src/train/options.h"

#include <math.h>

#include "src/base/fail.h"
#include "src/train/schedule.h"

void ql_train_options_init(ql_train_options *opt)
{
    *opt = (ql_train_options){
        .lora_r = 16,
        .lora_alpha = 32,
        .lora_dropout = 0.05,
        .loftq_iter = 1,
        .optim = QL_OPTIM_PAGED_ADAMW_32BIT,
        .learning_rate = 2e-4,
        .lr_scheduler_type = QL_SCHEDULER_COSINE,
        .min_lr_rate = 0.1,
        .warmup_ratio = 0.03,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.999,
        .adam_epsilon = 1e-8,
        .max_grad_norm = 0.3,
        .loraplus_lr_embedding = 1e-6,
        .num_train_epochs = 3,
        .max_steps = -1,
        .per_device_train_batch_size = 1,
        .gradient_accumulation_steps = 16,
        .packing = true,
        .logging_steps = 10,
        .shuffle = true,
        .eval_strategy = QL_STRATEGY_STEPS,
        .load_best_model_at_end = true,
        .save_strategy = QL_STRATEGY_STEPS,
        .save_steps = 250,
        .save_total_limit = 3,
        .gradient_checkpointing = QL_CHECKPOINTING_AUTO,
        .seed = 42,
        .sample_prompts = 3,
    };
}

static ql_status check_ranges(const ql_train_options *o)
{
    const struct {
        const char *name;
        double value, low, high; /* high is excluded */
    } ranges[] = {
        {"learning-rate", o->learning_rate, 0, 1e3},
        {"min-lr-rate", o->min_lr_rate, 0, 1},
        {"warmup-ratio", o->warmup_ratio, 0, 1},
        {"warmup-steps", o->warmup_steps, 0, 1e15},
        {"weight-decay", o->weight_decay, 0, 1e3},
        {"adam-beta1", o->adam_beta1, 0, 1},
        {"adam-beta2", o->adam_beta2, 0, 1},
        {"adam-epsilon", o->adam_epsilon, 0, 1},
        {"max-grad-norm", o->max_grad_norm, 0, HUGE_VAL},
        {"loraplus-lr-ratio", o->loraplus_lr_ratio, 0, 1e6},
        {"loraplus-lr-embedding", o->loraplus_lr_embedding, 0, 1e3},
        {"neftune-noise-alpha", o->neftune_noise_alpha, 0, 1e6},
        {"num-train-epochs", o->num_train_epochs, 0, 1e6},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (!(ranges[i].value >= ranges[i].low) ||
            !(ranges[i].value < ranges[i].high)) {
            QL_FAIL(QL_EINVAL,
                    "%s %g: give a number from %g up to, but not "
                    "including, %g",
                    ranges[i].name, ranges[i].value, ranges[i].low,
                    ranges[i].high);
        }
    }
    return QL_OK;
}

/* PEFT takes any alpha: below 0, what is learnt is taken off. */
static ql_status check_alpha(const ql_train_options *o)
{
    if (o->method != QL_METHOD_FULL && o->lora_alpha == 0) {
        QL_FAIL(QL_EINVAL, "lora-alpha 0: nothing would be learnt; give "
                           "another number");
    }
    return QL_OK;
}

static ql_status check_choices(const ql_train_options *o)
{
    const struct {
        const char *name;
        int value, count;
    } choices[] = {
        {"method", (int)o->method, QL_METHOD_FULL + 1},
        {"dtype", (int)o->dtype, QL_WEIGHT_BF16 + 1},
        {"optim", (int)o->optim, QL_OPTIM_ADAMW_TORCH + 1},
        {"lr-scheduler-type", (int)o->lr_scheduler_type, QL_SCHEDULER_COUNT},
        {"activation-dtype", (int)o->activation_dtype, QL_ACTIVATION_BF16 + 1},
        {"eval-strategy", (int)o->eval_strategy, QL_STRATEGY_EPOCH + 1},
        {"save-strategy", (int)o->save_strategy, QL_STRATEGY_EPOCH + 1},
    };

    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (choices[i].value < 0 || choices[i].value >= choices[i].count) {
            QL_FAIL(QL_EINVAL, "%s %d is unknown", choices[i].name,
                    choices[i].value);
        }
    }
    return QL_OK;
}

/* What only an adapter can have. */
static ql_status check_full(const ql_train_options *o)
{
    const struct {
        const char *name;
        bool set;
    } parts[] = {
        {"adapter", o->adapter},
        {"lora-target-modules", o->lora_target_modules.n > 0},
        {"modules-to-save", o->modules_to_save.n > 0},
        {"layers-to-transform", o->layers_to_transform.n > 0},
        {"rank-pattern", o->rank_pattern.n > 0},
        {"alpha-pattern", o->alpha_pattern.n > 0},
        {"use-rslora", o->use_rslora},
        {"use-dora", o->use_dora},
        {"loraplus-lr-ratio", o->loraplus_lr_ratio > 0},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].set) {
            QL_FAIL(QL_EINVAL,
                    "%s is about an adapter, but method full trains all "
                    "weights; leave it out",
                    parts[i].name);
        }
    }
    return QL_OK;
}

const char *ql_train_options_evaluated(const ql_train_options *o)
{
    return o->lr_scheduler_type == QL_SCHEDULER_REDUCE_LR_ON_PLATEAU
               ? "reduce_lr_on_plateau"
           : o->early_stopping_patience > 0 ? "early-stopping-patience"
                                            : NULL;
}

/* What follows evaluations needs some on the way. */
static ql_status check_schedule(const ql_train_options *o)
{
    const char *name = ql_train_options_evaluated(o);
    ql_schedule s;

    if (name &&
        (o->eval_strategy == QL_STRATEGY_NO ||
         (o->eval_strategy == QL_STRATEGY_STEPS && o->eval_steps == 0))) {
        QL_FAIL(QL_EINVAL,
                "%s goes by evaluations on the way; give --eval-steps, or "
                "--eval-strategy epoch",
                name);
    }
    return ql_schedule_init(&s, o, 0, 0);
}

ql_status ql_train_options_check(const ql_train_options *o)
{
    QL_TRY(check_ranges(o));
    QL_TRY(check_alpha(o));
    QL_TRY(check_choices(o));
    QL_TRY(check_schedule(o));
    QL_TRY(o->method == QL_METHOD_FULL ? check_full(o) : QL_OK);
    if (o->method != QL_METHOD_FULL && o->dtype != QL_WEIGHT_FP32) {
        QL_FAIL(QL_EINVAL, "dtype is that of all weights, which only method "
                           "full trains; leave it out");
    }
    if (o->per_device_train_batch_size == 0 ||
        o->gradient_accumulation_steps == 0 || o->logging_steps == 0) {
        QL_FAIL(QL_EINVAL, "per-device-train-batch-size, "
                           "gradient-accumulation-steps and logging-steps "
                           "must be at least 1");
    }
    if (o->save_strategy == QL_STRATEGY_STEPS && o->save_steps == 0) {
        QL_FAIL(QL_EINVAL, "save-steps must be at least 1; --save-strategy no "
                           "saves no checkpoints");
    }
    if (o->warmup_steps >= 1 && o->warmup_steps != floor(o->warmup_steps)) {
        QL_FAIL(QL_EINVAL,
                "warmup-steps %g: give a whole number, or a share of all "
                "steps below 1",
                o->warmup_steps);
    }
    if (o->adam_epsilon <= 0) {
        QL_FAIL(QL_EINVAL, "adam-epsilon %g: give a number above 0",
                o->adam_epsilon);
    }
    if (o->max_steps <= 0 && o->num_train_epochs <= 0) {
        QL_FAIL(QL_EINVAL, "give num-train-epochs or max-steps above 0");
    }
    return QL_OK;
}

/* Warmup as transformers has it: steps, or a share of all of them. */
static size_t warmup_of(const ql_train_options *o, size_t total)
{
    if (o->warmup_steps >= 1) {
        return (size_t)o->warmup_steps;
    }
    return (size_t)ceil(
        (o->warmup_steps > 0 ? o->warmup_steps : o->warmup_ratio) *
        (double)total);
}

ql_train_length ql_train_length_of(const ql_train_options *opt, size_t batches)
{
    const size_t a = opt->gradient_accumulation_steps;
    ql_train_length l = {.steps_per_epoch = (batches + a - 1) / a};

    l.total =
        opt->max_steps > 0
            ? (size_t)opt->max_steps
            : (size_t)ceil(opt->num_train_epochs * (double)l.steps_per_epoch);
    l.warmup = warmup_of(opt, l.total);
    return l;
}
