#include "src/train/options.h"

#include <math.h>

#include "src/base/fail.h"

void ql_train_options_init(ql_train_options *opt)
{
    *opt = (ql_train_options){
        .lora_r = 16,
        .lora_alpha = 32,
        .lora_dropout = 0.05,
        .lora_target_modules = QL_TARGET_ALL_LINEAR,
        .optim = QL_OPTIM_PAGED_ADAMW_32BIT,
        .learning_rate = 2e-4,
        .lr_scheduler_type = QL_SCHEDULER_COSINE,
        .warmup_ratio = 0.03,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.999,
        .adam_epsilon = 1e-8,
        .max_grad_norm = 0.3,
        .num_train_epochs = 3,
        .max_steps = -1,
        .per_device_train_batch_size = 1,
        .gradient_accumulation_steps = 16,
        .packing = true,
        .logging_steps = 10,
        .shuffle = true,
        .gradient_checkpointing = true,
        .seed = 42,
        .sample_prompts = 3,
    };
}

ql_status ql_train_options_check(const ql_train_options *o)
{
    const struct {
        const char *name;
        double value, low, high; /* high is excluded */
    } ranges[] = {
        {"learning-rate", o->learning_rate, 0, 1e3},
        {"warmup-ratio", o->warmup_ratio, 0, 1},
        {"weight-decay", o->weight_decay, 0, 1e3},
        {"adam-beta1", o->adam_beta1, 0, 1},
        {"adam-beta2", o->adam_beta2, 0, 1},
        {"adam-epsilon", o->adam_epsilon, 0, 1},
        {"max-grad-norm", o->max_grad_norm, 0, HUGE_VAL},
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
    if (o->per_device_train_batch_size == 0 ||
        o->gradient_accumulation_steps == 0 || o->logging_steps == 0) {
        QL_FAIL(QL_EINVAL, "per-device-train-batch-size, "
                           "gradient-accumulation-steps and logging-steps "
                           "must be at least 1");
    }
    if (o->adam_epsilon <= 0) {
        QL_FAIL(QL_EINVAL, "adam-epsilon %g: give a number above 0",
                o->adam_epsilon);
    }
    if ((int)o->lr_scheduler_type < 0 ||
        o->lr_scheduler_type > QL_SCHEDULER_COSINE) {
        QL_FAIL(QL_EINVAL, "lr-scheduler-type %d is unknown",
                (int)o->lr_scheduler_type);
    }
    if ((int)o->optim < 0 || o->optim > QL_OPTIM_ADAMW_8BIT) {
        QL_FAIL(QL_EINVAL, "optim %d is unknown", (int)o->optim);
    }
    if (o->max_steps <= 0 && o->num_train_epochs <= 0) {
        QL_FAIL(QL_EINVAL, "give num-train-epochs or max-steps above 0");
    }
    return QL_OK;
}

ql_train_length ql_train_length_of(const ql_train_options *opt, size_t batches)
{
    const size_t a = opt->gradient_accumulation_steps;
    ql_train_length l = {.steps_per_epoch = (batches + a - 1) / a};

    l.total =
        opt->max_steps > 0
            ? (size_t)opt->max_steps
            : (size_t)ceil(opt->num_train_epochs * (double)l.steps_per_epoch);
    l.warmup = opt->warmup_steps > 0
                   ? opt->warmup_steps
                   : (size_t)ceil(opt->warmup_ratio * (double)l.total);
    return l;
}
