/* Learning rate schedules. Source: transformers optimization.py. */
#include <math.h>

#include "src/train/options.h"

/* s: step; w: warmup steps; T: steps of the run. */
typedef double factor_fn(double s, double w, double T,
                         const ql_train_options *o);

static double constant(double s, double w, double T, const ql_train_options *o)
{
    (void)s;
    (void)w;
    (void)T;
    (void)o;
    return 1;
}

static double linear(double s, double w, double T, const ql_train_options *o)
{
    (void)o;
    return fmax(0, (T - s) / fmax(1, T - w));
}

static double half_wave(double s, double w, double T)
{
    const double pi = 3.14159265358979323846;

    return 0.5 * (1 + cos(pi * (s - w) / fmax(1, T - w)));
}

static double cosine(double s, double w, double T, const ql_train_options *o)
{
    (void)o;
    return fmax(0, half_wave(s, w, T));
}

static double cosine_with_min(double s, double w, double T,
                              const ql_train_options *o)
{
    const double m = o->min_lr_rate;

    return fmax(0, half_wave(s, w, T) * (1 - m) + m);
}

/* Of power 1, down to a learning rate of its own. */
static double polynomial(double s, double w, double T,
                         const ql_train_options *o)
{
    const double end = QL_POLYNOMIAL_END;
    const double left = s < T ? 1 - (s - w) / fmax(1, T - w) : 0;

    return ((o->learning_rate - end) * left + end) / o->learning_rate;
}

static double inverse_sqrt(double s, double w, double T,
                           const ql_train_options *o)
{
    const double scale = w > 0 ? w : 10000;

    (void)T;
    (void)o;
    return 1 / sqrt((s + (scale - w)) / scale);
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
    [QL_SCHEDULER_POLYNOMIAL] = {"polynomial", true, polynomial},
    [QL_SCHEDULER_INVERSE_SQRT] = {"inverse_sqrt", true, inverse_sqrt},
};

const char *ql_scheduler_name(ql_scheduler scheduler)
{
    return schedulers[scheduler].name;
}

double ql_scheduler_factor(const ql_train_options *o, size_t s, size_t w,
                           size_t T)
{
    const ql_scheduler scheduler = o->lr_scheduler_type;

    if (schedulers[scheduler].warmup && s < w) {
        return (double)s / fmax(1, (double)w);
    }
    return schedulers[scheduler].after((double)s, (double)w, (double)T, o);
}
