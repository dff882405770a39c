/* What lr_scheduler_kwargs says of a schedule. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/train/schedule.h"

#define OF(scheduler) (1U << QL_SCHEDULER_##scheduler)

enum {
    WAVES = OF(COSINE) | OF(COSINE_WITH_RESTARTS) | OF(COSINE_WITH_MIN_LR) |
            OF(COSINE_WARMUP_WITH_MIN_LR) | OF(WARMUP_STABLE_DECAY),
    FLOORS = OF(COSINE_WITH_MIN_LR) | OF(COSINE_WARMUP_WITH_MIN_LR),
    STABLE = OF(WARMUP_STABLE_DECAY),
    PLATEAU = OF(REDUCE_LR_ON_PLATEAU)
};

static const char where[] = "lr-scheduler-kwargs";

/* A number: the schedulers that have it, and from where to where it goes. */
static const struct {
    const char *key;
    unsigned schedulers;
    size_t offset;
    double low, high;
} numbers[] = {
    {"num_cycles", WAVES, offsetof(ql_schedule, num_cycles), 0, 1e9},
    {"lr_end", OF(POLYNOMIAL), offsetof(ql_schedule, lr_end), 0, 1e3},
    {"power", OF(POLYNOMIAL), offsetof(ql_schedule, power), 0, 1e3},
    {"min_lr", FLOORS, offsetof(ql_schedule, min_lr), 0, 1e3},
    {"min_lr_rate", FLOORS, offsetof(ql_schedule, min_lr_rate), 0, 1},
    {"warmup_lr_rate", OF(COSINE_WARMUP_WITH_MIN_LR),
     offsetof(ql_schedule, warmup_lr_rate), 0, 1},
    {"num_decay_steps", STABLE, offsetof(ql_schedule, num_decay_steps), 0,
     1e15},
    {"num_stable_steps", STABLE, offsetof(ql_schedule, num_stable_steps), 0,
     1e15},
    {"min_lr_ratio", STABLE, offsetof(ql_schedule, min_lr_ratio), 0, 1},
    {"factor", PLATEAU, offsetof(ql_schedule, plateau.factor), 0, 1},
    {"patience", PLATEAU, offsetof(ql_schedule, plateau.patience), 0, 1e15},
    {"threshold", PLATEAU, offsetof(ql_schedule, plateau.threshold), 0, 1e9},
    {"cooldown", PLATEAU, offsetof(ql_schedule, plateau.cooldown), 0, 1e15},
    {"min_lr", PLATEAU, offsetof(ql_schedule, plateau.min_lr), 0, 1e3},
    {"eps", PLATEAU, offsetof(ql_schedule, plateau.eps), 0, 1e3},
};

/* A word, and what the first, second, third one means. */
static const struct {
    const char *key;
    unsigned schedulers;
    const char *words[QL_RAMP_COUNT];
} choices[] = {
    {"warmup_type", STABLE, {"linear", "cosine", "1-sqrt"}},
    {"decay_type", STABLE, {"linear", "cosine", "1-sqrt"}},
    {"mode", PLATEAU, {"min", NULL, NULL}},
    {"threshold_mode", PLATEAU, {"rel", "abs", NULL}},
};

enum {
    NUMBERS = sizeof(numbers) / sizeof(numbers[0]),
    CHOICES = sizeof(choices) / sizeof(choices[0])
};

static bool has(const ql_schedule *s, unsigned schedulers)
{
    return schedulers >> s->kind & 1;
}

static ql_status read_number(ql_schedule *s, const json_t *o, size_t i)
{
    const json_t *given = json_object_get(o, numbers[i].key);
    const double low = numbers[i].low;
    const double high = numbers[i].high;
    double *x = (double *)(void *)((char *)s + numbers[i].offset);

    QL_TRY(ql_json_real(o, numbers[i].key, where, x));
    if (given && !json_is_null(given) && !(*x >= low && *x <= high)) {
        QL_FAIL(QL_EINVAL, "%s: %s %g: give a number from %g to %g", where,
                numbers[i].key, *x, low, high);
    }
    return QL_OK;
}

/* Number of the word, which stays as it is where none is given. */
static ql_status read_choice(const json_t *o, size_t i, size_t *number)
{
    const char *word = NULL;

    QL_TRY(ql_json_string(o, choices[i].key, where, &word));
    for (size_t j = 0; word && j < QL_RAMP_COUNT; j++) {
        if (choices[i].words[j] && strcmp(word, choices[i].words[j]) == 0) {
            *number = j;
            return QL_OK;
        }
    }
    if (word) {
        QL_FAIL(QL_EINVAL, "%s: %s \"%s\": give \"%s\"%s%s%s", where,
                choices[i].key, word, choices[i].words[0],
                choices[i].words[1] ? " or \"" : "",
                choices[i].words[1] ? choices[i].words[1] : "",
                choices[i].words[1] ? "\"" : "");
    }
    return QL_OK;
}

/* The keys that a scheduler takes: "a, b". */
static void list_keys(const ql_schedule *s, char *text, size_t bytes)
{
    size_t n = 0;

    *text = '\0';
    for (size_t i = 0; i < NUMBERS + CHOICES; i++) {
        const bool number = i < NUMBERS;
        const char *key = number ? numbers[i].key : choices[i - NUMBERS].key;

        if (has(s, number ? numbers[i].schedulers
                          : choices[i - NUMBERS].schedulers) &&
            n < bytes) {
            n += (size_t)snprintf(text + n, bytes - n, "%s%s",
                                  n > 0 ? ", " : "", key);
        }
    }
}

static bool is_known(const ql_schedule *s, const char *key)
{
    bool known = false;

    for (size_t i = 0; i < NUMBERS; i++) {
        known |=
            has(s, numbers[i].schedulers) && strcmp(key, numbers[i].key) == 0;
    }
    for (size_t i = 0; i < CHOICES; i++) {
        known |=
            has(s, choices[i].schedulers) && strcmp(key, choices[i].key) == 0;
    }
    return known;
}

static ql_status check_keys(const ql_schedule *s, json_t *o)
{
    const char *key;
    json_t *value;
    char all[200];

    json_object_foreach(o, key, value)
    {
        if (!is_known(s, key)) {
            list_keys(s, all, sizeof(all));
            QL_FAIL(QL_EINVAL, "%s: %s has no \"%s\"; %s%s", where,
                    ql_scheduler_name(s->kind), key,
                    *all ? "it has " : "it takes none", all);
        }
    }
    return QL_OK;
}

static ql_status read_all(ql_schedule *s, json_t *o)
{
    size_t chosen[CHOICES] = {(size_t)s->warmup_type, (size_t)s->decay_type, 0,
                              s->plateau.absolute};

    if (!json_is_object(o)) {
        QL_FAIL(QL_EINVAL,
                "%s: give a JSON object, such as {\"num_cycles\": 2}", where);
    }
    QL_TRY(check_keys(s, o));
    for (size_t i = 0; i < NUMBERS; i++) {
        QL_TRY(has(s, numbers[i].schedulers) ? read_number(s, o, i) : QL_OK);
    }
    for (size_t i = 0; i < CHOICES; i++) {
        QL_TRY(read_choice(o, i, &chosen[i]));
    }
    s->warmup_type = (ql_ramp)chosen[0];
    s->decay_type = (ql_ramp)chosen[1];
    s->plateau.absolute = chosen[3] == 1;
    return QL_OK;
}

static ql_status read_text(ql_schedule *s, const char *text)
{
    json_t *o;
    ql_status st = ql_json_parse(&o, text, strlen(text), where);

    if (st == QL_OK) {
        st = read_all(s, o);
        json_decref(o);
    }
    return st == QL_EFORMAT ? ql_fail(QL_EINVAL, "%s", ql_last_error()) : st;
}

/* What follows from what was given, or was not. rate: what is kept where the
 * kwargs name no lowest rate. */
static ql_status settle(ql_schedule *s, double rate)
{
    const bool floors = has(s, FLOORS);

    if (floors && !isnan(s->min_lr) && !isnan(s->min_lr_rate)) {
        QL_FAIL(QL_EINVAL, "%s: give min_lr or min_lr_rate, not both", where);
    }
    if (floors && isnan(s->min_lr_rate)) {
        s->min_lr_rate = isnan(s->min_lr) ? rate : s->min_lr / s->peak;
    }
    if (s->kind == QL_SCHEDULER_WARMUP_STABLE_DECAY &&
        isnan(s->num_decay_steps)) {
        QL_FAIL(QL_EINVAL, "warmup_stable_decay needs num_decay_steps: give "
                           "--lr-scheduler-kwargs '{\"num_decay_steps\": N}'");
    }
    if (isnan(s->num_stable_steps)) {
        s->num_stable_steps = s->total - s->warmup - s->num_decay_steps;
    }
    if (s->plateau.factor >= 1) {
        QL_FAIL(QL_EINVAL, "%s: factor %g: give less than 1: the rate falls",
                where, s->plateau.factor);
    }
    if (s->kind == QL_SCHEDULER_POLYNOMIAL && s->peak <= s->lr_end) {
        QL_FAIL(QL_EINVAL,
                "learning-rate %g: the polynomial schedule falls to %g; give "
                "more",
                s->peak, s->lr_end);
    }
    return QL_OK;
}

ql_status ql_schedule_init(ql_schedule *s, const ql_train_options *o,
                           size_t warmup, size_t total)
{
    const double none = (double)NAN;
    const bool restarts =
        o->lr_scheduler_type == QL_SCHEDULER_COSINE_WITH_RESTARTS;

    *s = (ql_schedule){
        .kind = o->lr_scheduler_type,
        .peak = o->learning_rate,
        .warmup = (double)warmup,
        .total = (double)total,
        .num_cycles = restarts ? 1 : 0.5,
        .lr_end = 1e-7,
        .power = 1,
        .min_lr = none,
        .min_lr_rate = none,
        .warmup_lr_rate = none,
        .num_decay_steps = none,
        .num_stable_steps = none,
        .decay_type = QL_RAMP_COSINE,
        .plateau = {.factor = 0.1,
                    .patience = 10,
                    .threshold = 1e-4,
                    .eps = 1e-8,
                    .rate = o->learning_rate,
                    .best = HUGE_VAL},
    };
    QL_TRY(o->lr_scheduler_kwargs ? read_text(s, o->lr_scheduler_kwargs)
                                  : QL_OK);
    return settle(s, o->min_lr_rate);
}
