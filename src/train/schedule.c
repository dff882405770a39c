/* Learning rate schedules. Source: transformers optimization.py. */
#include <math.h>

#include "qlora/train.h"

static double constant(double s, double w, double T)
{
    (void)s;
    (void)w;
    (void)T;
    return 1;
}

static double linear(double s, double w, double T)
{
    return fmax(0, (T - s) / fmax(1, T - w));
}

static double cosine(double s, double w, double T)
{
    const double pi = 3.14159265358979323846;

    return fmax(0, 0.5 * (1 + cos(pi * (s - w) / fmax(1, T - w))));
}

static const struct {
    const char *name;
    bool warmup;
    double (*after)(double s, double w, double T);
} schedulers[] = {
    [QL_SCHEDULER_CONSTANT] = {"constant", false, constant},
    [QL_SCHEDULER_CONSTANT_WITH_WARMUP] = {"constant_with_warmup", true,
                                           constant},
    [QL_SCHEDULER_LINEAR] = {"linear", true, linear},
    [QL_SCHEDULER_COSINE] = {"cosine", true, cosine},
};

const char *ql_scheduler_name(ql_scheduler scheduler)
{
    return schedulers[scheduler].name;
}

double ql_scheduler_factor(ql_scheduler scheduler, size_t s, size_t w, size_t T)
{
    if (schedulers[scheduler].warmup && s < w) {
        return (double)s / fmax(1, (double)w);
    }
    return schedulers[scheduler].after((double)s, (double)w, (double)T);
}
