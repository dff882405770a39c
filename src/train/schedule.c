/* Learning rate schedules. Sources: transformers optimization.py; torch
 * optim/lr_scheduler.py. The order of operations is theirs. */
#include "src/train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* At step t. */
typedef double factor_fn(const ql_schedule *s, double t);

static double constant(const ql_schedule *s, double t)
{
    (void)s;
    (void)t;
    return 1;
}

static double up(const ql_schedule *s, double t)
{
    return t / fmax(1, s->warmup);
}

/* The share of the steps after the warmup that is done. */
static double progress(const ql_schedule *s, double t)
{
    return (t - s->warmup) / fmax(1, s->total - s->warmup);
}

static double wave(double cycles, double x)
{
    return 0.5 * (1 + cos(pi * cycles * 2 * x));
}

/* From 1 down to least. */
static double above(double factor, double least)
{
    return fmax(0, factor * (1 - least) + least);
}

static double linear(const ql_schedule *s, double t)
{
    return fmax(0, (s->total - t) / fmax(1, s->total - s->warmup));
}

static double cosine(const ql_schedule *s, double t)
{
    return fmax(0, wave(s->num_cycles, progress(s, t)));
}

static double cosine_with_restarts(const ql_schedule *s, double t)
{
    const double x = progress(s, t);

    return x >= 1 ? 0 : 0.5 * (1 + cos(pi * fmod(s->num_cycles * x, 1)));
}

static double cosine_with_min_lr(const ql_schedule *s, double t)
{
    return above(wave(s->num_cycles, progress(s, t)), s->min_lr_rate);
}

/* One step ahead of the others, in warming up as well. */
static double warmup_with_min_lr(const ql_schedule *s, double t)
{
    const double first = s->warmup_lr_rate;

    return isnan(first) ? (t + 1) / fmax(1, s->warmup)
                        : first + (1 - first) * t / fmax(1, s->warmup - 1);
}

static double cosine_warmup_with_min_lr(const ql_schedule *s, double t)
{
    const double x = (t - s->warmup + 1) / fmax(1, s->total - s->warmup);

    return above(wave(s->num_cycles, x), s->min_lr_rate);
}

static double polynomial(const ql_schedule *s, double t)
{
    const double left = t < s->total ? 1 - progress(s, t) : 0;

    return ((s->peak - s->lr_end) * pow(left, s->power) + s->lr_end) / s->peak;
}

static double inverse_sqrt(const ql_schedule *s, double t)
{
    const double scale = s->warmup > 0 ? s->warmup : 10000;

    return 1 / sqrt((t + (scale - s->warmup)) / scale);
}

static double stable_warmup(const ql_schedule *s, double t)
{
    const double x = up(s, t);
    const double rise[QL_RAMP_COUNT] = {
        [QL_RAMP_LINEAR] = x,
        [QL_RAMP_COSINE] = 0.5 * (1 - cos(pi * x)),
        [QL_RAMP_ROOT] = 1 - sqrt(1 - x),
    };

    return above(rise[s->warmup_type], s->min_lr_ratio);
}

static double stable_decay(const ql_schedule *s, double t)
{
    const double begin = s->warmup + s->num_stable_steps;
    const double x =
        (t - s->warmup - s->num_stable_steps) / fmax(1, s->num_decay_steps);
    const double fall[QL_RAMP_COUNT] = {
        [QL_RAMP_LINEAR] = 1 - x,
        [QL_RAMP_COSINE] = wave(s->num_cycles, x),
        [QL_RAMP_ROOT] = 1 - sqrt(fmax(0, x)),
    };

    return t < begin ? 1
           : t < begin + s->num_decay_steps
               ? above(fall[s->decay_type], s->min_lr_ratio)
               : s->min_lr_ratio;
}

/* warmup: NULL: there is none; after: NULL: the rate is what evaluations have
 * made of it. */
static const struct {
    const char *name;
    factor_fn *warmup, *after;
} schedulers[QL_SCHEDULER_COUNT] = {
    [QL_SCHEDULER_CONSTANT] = {"constant", NULL, constant},
    [QL_SCHEDULER_CONSTANT_WITH_WARMUP] = {"constant_with_warmup", up,
                                           constant},
    [QL_SCHEDULER_LINEAR] = {"linear", up, linear},
    [QL_SCHEDULER_COSINE] = {"cosine", up, cosine},
    [QL_SCHEDULER_COSINE_WITH_RESTARTS] = {"cosine_with_restarts", up,
                                           cosine_with_restarts},
    [QL_SCHEDULER_COSINE_WITH_MIN_LR] = {"cosine_with_min_lr", up,
                                         cosine_with_min_lr},
    [QL_SCHEDULER_COSINE_WARMUP_WITH_MIN_LR] = {"cosine_warmup_with_min_lr",
                                                warmup_with_min_lr,
                                                cosine_warmup_with_min_lr},
    [QL_SCHEDULER_POLYNOMIAL] = {"polynomial", up, polynomial},
    [QL_SCHEDULER_INVERSE_SQRT] = {"inverse_sqrt", up, inverse_sqrt},
    [QL_SCHEDULER_WARMUP_STABLE_DECAY] = {"warmup_stable_decay", stable_warmup,
                                          stable_decay},
    [QL_SCHEDULER_REDUCE_LR_ON_PLATEAU] = {"reduce_lr_on_plateau", NULL, NULL},
};

const char *ql_scheduler_name(ql_scheduler scheduler)
{
    return schedulers[scheduler].name;
}

double ql_schedule_rate(const ql_schedule *s, size_t step)
{
    const double t = (double)step;
    factor_fn *warmup = schedulers[s->kind].warmup;
    factor_fn *after = schedulers[s->kind].after;

    return !after ? s->plateau.rate
                  : s->peak *
                        (warmup && t < s->warmup ? warmup(s, t) : after(s, t));
}

void ql_schedule_see(ql_schedule *s, double loss)
{
    ql_plateau *p = &s->plateau;
    const bool better = loss < (p->absolute ? p->best - p->threshold
                                            : p->best * (1 - p->threshold));

    p->best = better ? loss : p->best;
    p->bad = better ? 0 : p->bad + 1;
    if (p->cooling > 0) {
        p->cooling--;
        p->bad = 0;
    }
    if (p->bad > p->patience) {
        const double lower = fmax(p->rate * p->factor, p->min_lr);

        p->rate = p->rate - lower > p->eps ? lower : p->rate;
        p->cooling = p->cooldown;
        p->bad = 0;
    }
}
