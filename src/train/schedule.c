/* Learning rate schedules. Source: transformers optimization.py. */
#include <math.h>

#include "qlora/train.h"

/* s: step; w: warmup steps; T: steps of the run; m: least factor. */
typedef double factor_fn(double s, double w, double T, double m);

static double constant(double s, double w, double T, double m)
{
    (void)s;
    (void)w;
    (void)T;
    (void)m;
    return 1;
}

static double linear(double s, double w, double T, double m)
{
    (void)m;
    return fmax(0, (T - s) / fmax(1, T - w));
}

static double cosine_with_min(double s, double w, double T, double m)
{
    const double pi = 3.14159265358979323846;
    const double progress = (s - w) / fmax(1, T - w);

    return fmax(0, 0.5 * (1 + cos(pi * progress)) * (1 - m) + m);
}

static double cosine(double s, double w, double T, double m)
{
    (void)m;
    return cosine_with_min(s, w, T, 0);
}

static const struct {
    const char *name;
    bool warmup;
    factor_fn *after;
} schedulers[QL_SCHEDULER_COUNT] = {
    [QL_SCHEDULER_CONSTANT] = {"constant", false, constant},
    [QL_SCHEDULER_CONSTANT_WITH_WARMUP] = {"constant_with_warmup", true,
                                           constant},
    [QL_SCHEDULER_LINEAR] = {"linear", true, linear},
    [QL_SCHEDULER_COSINE] = {"cosine", true, cosine},
    [QL_SCHEDULER_COSINE_WITH_MIN_LR] = {"cosine_with_min_lr", true,
                                         cosine_with_min},
};

const char *ql_scheduler_name(ql_scheduler scheduler)
{
    return schedulers[scheduler].name;
}

double ql_scheduler_factor(ql_scheduler scheduler, double min_rate, size_t s,
                           size_t w, size_t T)
{
    if (schedulers[scheduler].warmup && s < w) {
        return (double)s / fmax(1, (double)w);
    }
    return schedulers[scheduler].after((double)s, (double)w, (double)T,
                                       min_rate);
}
