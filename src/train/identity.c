#include "src/train/identity.h"

#include <string.h>

#include "qlora/version.h"
#include "src/base/crc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/train/identity_model.h"

/* How an option is told: its type in ql_train_options. */
typedef enum kind {
    TRUTH,
    COUNT,
    WHOLE,
    SEED,
    REAL,
    TEXT,
    LIST,
    METHOD,
    OPTIM,
    SCHEDULER,
    STRATEGY,
    ACTIVATION,
    WEIGHT
} kind;

#define OPTION(member) offsetof(ql_train_options, member)

/* The settings. fixed: a run that changes it is another run. Settings that do
 * not bear on what comes out, as those of memory, are not among them. */
static const struct {
    const char *name;
    kind kind;
    bool fixed;
    size_t offset;
} settings[] = {
    {"method", METHOD, true, OPTION(method)},
    {"dtype", WEIGHT, true, OPTION(dtype)},
    {"adapter", TEXT, true, OPTION(adapter)},
    {"lora-r", COUNT, true, OPTION(lora_r)},
    {"lora-alpha", REAL, true, OPTION(lora_alpha)},
    {"lora-target-modules", LIST, true, OPTION(lora_target_modules)},
    {"modules-to-save", LIST, true, OPTION(modules_to_save)},
    {"layers-to-transform", LIST, true, OPTION(layers_to_transform)},
    {"rank-pattern", LIST, true, OPTION(rank_pattern)},
    {"alpha-pattern", LIST, true, OPTION(alpha_pattern)},
    {"use-rslora", TRUTH, true, OPTION(use_rslora)},
    {"use-dora", TRUTH, true, OPTION(use_dora)},
    {"init-lora-weights", TEXT, true, OPTION(init_lora_weights)},
    {"loftq-iter", COUNT, true, OPTION(loftq_iter)},
    {"per-device-train-batch-size", COUNT, true,
     OPTION(per_device_train_batch_size)},
    {"gradient-accumulation-steps", COUNT, true,
     OPTION(gradient_accumulation_steps)},
    {"optim", OPTIM, true, OPTION(optim)},
    {"packing", TRUTH, true, OPTION(packing)},
    {"shuffle", TRUTH, true, OPTION(shuffle)},
    {"seed", SEED, true, OPTION(seed)},
    {"lora-dropout", REAL, false, OPTION(lora_dropout)},
    {"learning-rate", REAL, false, OPTION(learning_rate)},
    {"lr-scheduler-type", SCHEDULER, false, OPTION(lr_scheduler_type)},
    {"min-lr-rate", REAL, false, OPTION(min_lr_rate)},
    {"lr-scheduler-kwargs", TEXT, false, OPTION(lr_scheduler_kwargs)},
    {"warmup-ratio", REAL, false, OPTION(warmup_ratio)},
    {"warmup-steps", REAL, false, OPTION(warmup_steps)},
    {"weight-decay", REAL, false, OPTION(weight_decay)},
    {"adam-beta1", REAL, false, OPTION(adam_beta1)},
    {"adam-beta2", REAL, false, OPTION(adam_beta2)},
    {"adam-epsilon", REAL, false, OPTION(adam_epsilon)},
    {"max-grad-norm", REAL, false, OPTION(max_grad_norm)},
    {"activation-dtype", ACTIVATION, false, OPTION(activation_dtype)},
    {"loraplus-lr-ratio", REAL, false, OPTION(loraplus_lr_ratio)},
    {"loraplus-lr-embedding", REAL, false, OPTION(loraplus_lr_embedding)},
    {"neftune-noise-alpha", REAL, false, OPTION(neftune_noise_alpha)},
    {"num-train-epochs", REAL, false, OPTION(num_train_epochs)},
    {"max-steps", WHOLE, false, OPTION(max_steps)},
    {"logging-steps", COUNT, false, OPTION(logging_steps)},
    {"eval-strategy", STRATEGY, false, OPTION(eval_strategy)},
    {"eval-steps", COUNT, false, OPTION(eval_steps)},
    {"early-stopping-patience", COUNT, false, OPTION(early_stopping_patience)},
    {"load-best-model-at-end", TRUTH, false, OPTION(load_best_model_at_end)},
};

enum {
    SETTINGS = sizeof(settings) / sizeof(settings[0]),
    LISTED = 4 /* names of a list that are told */
};

static json_t *list_value(const ql_list *names)
{
    json_t *list = json_array();

    for (size_t i = 0; i < names->n; i++) {
        json_array_append_new(list, json_string_nocheck(names->items[i]));
    }
    return list;
}

static json_t *count_value(const size_t *count)
{
    return json_integer((json_int_t)*count);
}

/* One that needs more than 63 bits is a text. */
static json_t *seed_value(uint64_t seed)
{
    return json_sprintf("%llu", (unsigned long long)seed);
}

static json_t *text_value(const char *text)
{
    return text ? json_string_nocheck(text) : json_null();
}

/* Where the moments are kept changes no bit. */
static json_t *optim_value(const ql_train_options *opt)
{
    switch (opt->optim) {
    case QL_OPTIM_ADAMW_8BIT:
    case QL_OPTIM_PAGED_ADAMW_8BIT:
        return json_string("adamw_8bit");
    case QL_OPTIM_ADAMW_TORCH:
        return json_string(opt->dtype == QL_WEIGHT_BF16 ? "adamw_torch"
                                                        : "adamw_32bit");
    default:
        return json_string("adamw_32bit");
    }
}

static json_t *setting_value(const ql_train_options *opt, size_t i)
{
    const void *at = (const char *)opt + settings[i].offset;
    static const char *const strategies[] = {"no", "steps", "epoch"};
    static const char *const methods[] = {"qlora", "lora", "full"};
    static const char *const activations[] = {"fp32", "bf16"};
    static const char *const weights[] = {"float32", "bfloat16"};

    switch (settings[i].kind) {
    case TRUTH:
        return json_boolean(*(const bool *)at);
    case COUNT:
        return count_value(at);
    case WHOLE:
        return json_integer(*(const int *)at);
    case SEED:
        return seed_value(*(const uint64_t *)at);
    case REAL:
        return json_real(*(const double *)at);
    case TEXT:
        return text_value(*(const char *const *)at);
    case LIST:
        return list_value(at);
    case METHOD:
        return json_string(methods[*(const ql_method *)at]);
    case OPTIM:
        return optim_value(opt);
    case SCHEDULER:
        return json_string(ql_scheduler_name(*(const ql_scheduler *)at));
    case STRATEGY:
        return json_string(strategies[*(const ql_strategy *)at]);
    case ACTIVATION:
        return json_string(activations[*(const ql_activation *)at]);
    case WEIGHT:
        return json_string(weights[*(const ql_weight_type *)at]);
    }
    return NULL;
}

static json_t *list_settings(const ql_train_options *opt)
{
    json_t *o = json_object();

    for (size_t i = 0; i < SETTINGS; i++) {
        if (json_object_set_new(o, settings[i].name, setting_value(opt, i)) !=
            0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static json_t *sum_value(uint32_t crc)
{
    return json_sprintf("%08x", crc);
}

/* With packing, the room of a sequence says who shares one with whom. */
static uint32_t sum_data(const ql_dataset *ds, bool packing)
{
    uint32_t crc =
        ql_crc32_size(0, packing ? ql_dataset_report_of(ds)->max_length : 0);

    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const ql_sample s = ql_dataset_sample(ds, i);

        crc = ql_crc32_size(crc, s.n);
        crc = ql_crc32(crc, s.ids, s.n * sizeof(*s.ids));
        crc = ql_crc32(crc, s.train, s.n * sizeof(*s.train));
        crc = s.label > 0 ? ql_crc32_size(crc, (size_t)s.label) : crc;
    }
    return crc;
}

/* The date that chat templates were told, of which the data are a part. */
static const char *date_of(const ql_dataset *data, const ql_dataset *eval)
{
    const char *date = ql_dataset_date(data);

    return date || !eval ? date : ql_dataset_date(eval);
}

ql_status ql_identity_make(json_t **out, const ql_train_options *opt,
                           const ql_model *m, const ql_dataset *data,
                           const ql_dataset *eval,
                           const ql_train_length *length)
{
    uint32_t model;

    *out = NULL;
    QL_TRY(ql_identity_model(&model, m));
    *out =
        json_pack("{so so so so so sI ss ss ss}", "settings",
                  list_settings(opt), "model", sum_value(model), "data",
                  sum_value(sum_data(data, opt->packing)), "eval_data",
                  eval ? sum_value(sum_data(eval, opt->packing)) : json_null(),
                  "date", text_value(date_of(data, eval)), "steps",
                  (json_int_t)length->total, "version", ql_version(), "isa",
                  ql_runtime_isa(), "compute", ql_runtime_compute());
    if (!*out) {
        QL_FAIL(QL_ENOMEM, "out of memory");
    }
    return QL_OK;
}

/* A list on one line, of which the first names tell enough. */
static ql_status tell_list(ql_buf *out, const json_t *list)
{
    const size_t n = json_array_size(list);

    QL_TRY(ql_buf_putc(out, '['));
    for (size_t i = 0; i < n && i < LISTED; i++) {
        QL_TRY(ql_buf_puts(out, i > 0 ? ", " : ""));
        QL_TRY(ql_json_put(out, json_array_get(list, i)));
    }
    return n > LISTED ? ql_buf_printf(out, " and %zu more]", n - LISTED)
                      : ql_buf_putc(out, ']');
}

static ql_status tell_value(ql_buf *out, const json_t *v)
{
    return json_is_array(v) ? tell_list(out, v) : ql_json_put(out, v);
}

/* Appends "NAME was OLD, is NEW", unless they are the same: what a checkpoint
 * of before there was such a thing has not is as if not given. */
static ql_status tell_change(ql_buf *out, const char *name, const json_t *old,
                             const json_t *now)
{
    if (json_equal(old, now) || (!old && json_is_null(now))) {
        return QL_OK;
    }
    QL_TRY(ql_buf_printf(out, "%s%s was ", out->len ? ", " : "", name));
    QL_TRY(old ? tell_value(out, old) : ql_buf_puts(out, "unknown"));
    QL_TRY(ql_buf_puts(out, ", is "));
    return tell_value(out, now);
}

static ql_status compare_sums(const json_t *old, const json_t *now)
{
    static const char *const sums[][2] = {
        {"model", "the model, or how it is quantized, is another"},
        {"data", "the training data, or how they are read, are others"},
        {"eval_data", "the evaluation data, or how they are read, are others"},
    };

    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        if (!json_equal(json_object_get(old, sums[i][0]),
                        json_object_get(now, sums[i][0]))) {
            QL_FAIL(QL_EMISMATCH, "%s", sums[i][1]);
        }
    }
    return QL_OK;
}

static ql_status compare_settings(const json_t *old, const json_t *now,
                                  bool fixed, ql_buf *out)
{
    const json_t *a = json_object_get(old, "settings");
    const json_t *b = json_object_get(now, "settings");

    for (size_t i = 0; i < SETTINGS; i++) {
        const char *name = settings[i].name;

        /* checkpoints of before there was a choice were in fp32 */
        if (settings[i].kind == WEIGHT && !json_object_get(a, name) &&
            strcmp(json_string_value(json_object_get(b, name)), "float32") ==
                0) {
            continue;
        }
        if (settings[i].fixed == fixed) {
            QL_TRY(tell_change(out, name, json_object_get(a, name),
                               json_object_get(b, name)));
        }
    }
    return QL_OK;
}

ql_status ql_identity_compare(const json_t *old, const json_t *now,
                              ql_buf *changes)
{
    static const char *const rest[] = {"version", "isa", "compute"};

    QL_TRY(compare_sums(old, now));
    QL_TRY(compare_settings(old, now, true, changes));
    if (changes->len > 0) {
        QL_FAIL(QL_EMISMATCH, "%s", changes->data);
    }
    QL_TRY(compare_settings(old, now, false, changes));
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        QL_TRY(tell_change(changes, rest[i], json_object_get(old, rest[i]),
                           json_object_get(now, rest[i])));
    }
    return QL_OK;
}

const char *ql_identity_date(const json_t *identity)
{
    return json_string_value(json_object_get(identity, "date"));
}

size_t ql_identity_steps(const json_t *identity)
{
    return (size_t)json_integer_value(json_object_get(identity, "steps"));
}
