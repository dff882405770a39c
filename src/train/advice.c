/* Each thing that can be changed takes memory off the plan. They are made as
 * small as can be, one after the other, until the plan fits; then, from the
 * last to the first, each is taken back if it fits without it, or else made as
 * large as it can be: what changes the result most is given back first. */
#include "src/train/advice.h"

#include <stdio.h>
#include <string.h>

#include "src/base/arena.h"
#include "src/base/fail.h"

enum {
    LENGTHS = 32, /* maximum lengths are multiples of this */
    SHORT = 4,    /* ranks are lowered before texts are cut to less than
                         this share */
    MARGIN =
        1 << 18, /* bytes that must be left, and a share of all: the process
                         that is begun anew is not the same to the byte */
    MARGIN_SHARE = 200
};

/* In the order in which they are tried. */
typedef enum change {
    RECOMPUTE, /* the same to the bit: activations are made anew */
    PAGE,      /* the optimizer's state in a file: the same to the bit, unless
                  it is that of adamw_torch for weights in 16 bits, whose
                  moments are in 16 bits, too */
    BATCH,     /* the same but for rounding: smaller micro-batches */
    HALF,      /* inputs of blocks in 16 bits */
    EIGHT,     /* the optimizer's state in 8 bits */
    LENGTH,
    RANK,
    WEIGHTS,  /* all of them are trained in 16 bits */
    SHORTEST, /* LENGTH, as short as can be */
    CHANGES
} change;

/* A choice of changes, as the values that options get. */
typedef struct choice {
    bool made[CHANGES];
    size_t value[CHANGES]; /* of BATCH, LENGTH and RANK */
} choice;

typedef struct adviser {
    const ql_trainer *t;
    uint64_t margin; /* bytes that must be left */
    uint64_t least;  /* bytes of the last plan */
    ql_status st;    /* what made a plan fail but that it does not fit */
} adviser;

static bool is_paged(ql_optim optim)
{
    return optim == QL_OPTIM_PAGED_ADAMW_32BIT ||
           optim == QL_OPTIM_PAGED_ADAMW_8BIT;
}

static bool is_eight(ql_optim optim)
{
    return optim == QL_OPTIM_ADAMW_8BIT || optim == QL_OPTIM_PAGED_ADAMW_8BIT;
}

/* The most tokens of a sequence: of a sample, or of a pack of them. */
static size_t longest(const ql_trainer *t)
{
    const size_t size = t->opt->per_device_train_batch_size;
    const size_t most = ql_larger(t->batches.max_tokens, t->eval.max_tokens);

    return ql_larger(ql_trainer_longest(t), (most + size - 1) / size);
}

/* The smallest value of a change. */
static size_t smallest(const ql_trainer *t, change c)
{
    return c != LENGTH ? 1
                       : ql_larger(longest(t) / SHORT / LENGTHS, 1) * LENGTHS;
}

/* Whether there is something to be changed. */
static bool applies(const ql_trainer *t, change c)
{
    const ql_train_options *o = t->opt;

    switch (c) {
    case RECOMPUTE:
        return o->gradient_checkpointing == QL_CHECKPOINTING_OFF;
    case PAGE:
        return !is_paged(o->optim);
    case BATCH:
        return o->per_device_train_batch_size > 1;
    case HALF:
        return o->activation_dtype == QL_ACTIVATION_FP32;
    case EIGHT:
        return !is_eight(o->optim);
    case LENGTH:
    case SHORTEST:
        return longest(t) > LENGTHS;
    case RANK:
        return !ql_trainer_full(t) && !o->adapter && o->lora_r > 1;
    case WEIGHTS:
        return ql_trainer_full(t) && o->dtype == QL_WEIGHT_FP32;
    case CHANGES:
        break;
    }
    return false;
}

/* Whether paging, which begins, would be held to a size that was given for
 * none, and may be too small. */
static bool frees_pages(const ql_train_options *o, const choice *c)
{
    return o->optimizer_memory > 0 &&
           (c->made[PAGE] || (c->made[EIGHT] && is_paged(o->optim)));
}

static void change_options(ql_train_options *o, const choice *c)
{
    const bool paged = c->made[PAGE] || is_paged(o->optim);
    const bool eight = c->made[EIGHT] || is_eight(o->optim);
    const size_t batch = o->per_device_train_batch_size;

    o->optimizer_memory = frees_pages(o, c) ? 0 : o->optimizer_memory;
    if (c->made[RECOMPUTE]) {
        o->gradient_checkpointing = QL_CHECKPOINTING_AUTO;
    }
    if (c->made[PAGE] || c->made[EIGHT]) {
        o->optim = !paged  ? QL_OPTIM_ADAMW_8BIT
                   : eight ? QL_OPTIM_PAGED_ADAMW_8BIT
                           : QL_OPTIM_PAGED_ADAMW_32BIT;
    }
    if (c->made[BATCH]) {
        o->per_device_train_batch_size = c->value[BATCH];
        o->gradient_accumulation_steps *= batch / c->value[BATCH];
    }
    if (c->made[HALF]) {
        o->activation_dtype = QL_ACTIVATION_BF16;
    }
    if (c->made[RANK]) {
        o->lora_r = c->value[RANK];
    }
    if (c->made[WEIGHTS]) {
        o->dtype = QL_WEIGHT_BF16;
    }
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The sizes of batches become what they would be, or more than that. */
static ql_status change_batches(ql_batches *b, const choice *c)
{
    if (b->ds && c->made[BATCH]) {
        ql_batches_options opt = b->opt;
        ql_batches other;

        b->opt.size = opt.size = c->value[BATCH];
        QL_TRY(ql_batches_init(&other, b->ds, &opt));
        b->max_tokens = other.max_tokens;
        b->max_sequences = other.max_sequences;
        b->max_trained = other.max_trained;
        ql_batches_free(&other);
    }
    if (b->ds && c->made[LENGTH]) {
        b->max_length = lesser(b->max_length, c->value[LENGTH]);
        b->max_tokens = lesser(b->max_tokens, b->opt.size * c->value[LENGTH]);
        b->max_trained = lesser(b->max_trained, b->max_tokens);
    }
    return QL_OK;
}

static bool fits(adviser *a, const choice *c)
{
    const uint64_t budget = a->t->plan.budget;
    ql_trainer t = *a->t;
    ql_train_options o = *t.opt;
    ql_status st;

    if (a->st != QL_OK) {
        return false;
    }
    t.plan = (ql_plan){0};
    t.opt = &o;
    change_options(&o, c);
    o.memory = budget > a->margin ? budget - a->margin : 1;
    st = change_batches(&t.batches, c);
    st = st == QL_OK ? change_batches(&t.eval, c) : st;
    st = st == QL_OK ? ql_trainer_try_plan(&t) : st;
    a->least = t.plan.total;
    a->st = ql_plan_over(&t.plan) > 0 ? QL_OK : st;
    return st == QL_OK;
}

/* Makes changes until it fits. */
static bool shrink(adviser *a, choice *c)
{
    bool fit = false;

    for (int i = 0; i < CHANGES && !fit; i++) {
        if (!applies(a->t, (change)i)) {
            continue;
        }
        if (i == SHORTEST) {
            c->value[LENGTH] = LENGTHS;
        } else {
            c->made[i] = true;
            c->value[i] = smallest(a->t, (change)i);
        }
        fit = fits(a, c);
    }
    return fit;
}

/* The next smaller value: a batch must be cut into equal ones. */
static size_t smaller(const adviser *a, change c, size_t value)
{
    const size_t batch = a->t->opt->per_device_train_batch_size;

    if (c == LENGTH) {
        return (value - 1) / LENGTHS * LENGTHS;
    }
    do {
        value = c == RANK ? value / 2 : value - 1;
    } while (c == BATCH && batch % value != 0);
    return value;
}

/* Gives a change that was made the largest value, below what it was, with which
 * it fits, as it does now. */
static void enlarge(adviser *a, choice *c, change which, size_t was)
{
    const size_t known = c->value[which];
    choice larger = *c;
    size_t v = was;

    while (c->made[which] && v > known) {
        larger.value[which] = v = smaller(a, which, v);
        if (v > known && fits(a, &larger)) {
            *c = larger;
            return;
        }
    }
}

/* Makes less of the changes. */
static void take_back(adviser *a, choice *c)
{
    const size_t was[CHANGES] = {
        [BATCH] = a->t->opt->per_device_train_batch_size,
        [RANK] = a->t->opt->lora_r,
        [LENGTH] = longest(a->t),
    };

    for (int i = CHANGES - 1; i >= 0; i--) {
        if (c->made[i]) {
            c->made[i] = false;
            c->made[i] = !fits(a, c);
            enlarge(a, c, (change)i, was[i]);
        }
    }
}

static void add(char *text, size_t bytes, const char *flag, size_t value)
{
    const size_t n = strlen(text);

    snprintf(text + n, bytes - n, " --%s %zu", flag, value);
}

/* The flags of a choice, each after a blank. */
static void write_flags(const adviser *a, const choice *c, char *text,
                        size_t bytes)
{
    static const char *const optims[] = {
        [QL_OPTIM_PAGED_ADAMW_32BIT] = "paged_adamw_32bit",
        [QL_OPTIM_PAGED_ADAMW_8BIT] = "paged_adamw_8bit",
        [QL_OPTIM_ADAMW_8BIT] = "adamw_8bit",
    };
    ql_train_options o = *a->t->opt;

    change_options(&o, c);
    snprintf(text, bytes, "%s%s%s%s%s%s",
             c->made[WEIGHTS] ? " --dtype bfloat16" : "",
             c->made[RECOMPUTE] ? " --gradient-checkpointing auto" : "",
             c->made[HALF] ? " --activation-dtype bf16" : "",
             c->made[PAGE] || c->made[EIGHT] ? " --optim " : "",
             c->made[PAGE] || c->made[EIGHT] ? optims[o.optim] : "",
             frees_pages(a->t->opt, c) ? " --optimizer-memory 0" : "");
    if (c->made[BATCH]) {
        add(text, bytes, "per-device-train-batch-size",
            o.per_device_train_batch_size);
        add(text, bytes, "gradient-accumulation-steps",
            o.gradient_accumulation_steps);
    }
    if (c->made[LENGTH]) {
        add(text, bytes, "max-length", c->value[LENGTH]);
    }
    if (c->made[RANK]) {
        add(text, bytes, "lora-r", c->value[RANK]);
    }
}

ql_status ql_advise(ql_trainer *t)
{
    adviser a = {.t = t, .margin = MARGIN + t->plan.budget / MARGIN_SHARE};
    choice c = {0};
    const char *how = "it fits";
    char flags[320];
    char *why = ql_strdup(QL_TAG_MISC, ql_last_error());

    if (!why) {
        return QL_ENOMEM;
    }
    if (shrink(&a, &c)) {
        take_back(&a, &c);
    } else {
        a.margin = 0;
        how = fits(&a, &c) ? "it fits, but barely," : NULL;
    }
    write_flags(&a, &c, flags, sizeof(flags));
    if (a.st != QL_OK) {
        ql_free(why);
        return a.st;
    }
    if (how) {
        ql_fail(QL_ENOMEM, "%s; %s with%s", why, how, flags);
    } else {
        ql_fail(
            QL_ENOMEM,
            "%s; with%s it takes %.1f MiB, and less with no flags: it needs "
            "more memory, or a smaller model",
            why, flags, (double)a.least / (1 << 20));
    }
    ql_free(why);
    return QL_ENOMEM;
}
