/* The learning rate over a run, as transformers has it: every scheduler, with
 * what lr_scheduler_kwargs can set of it. */
#ifndef QL_TRAIN_SCHEDULE_H
#define QL_TRAIN_SCHEDULE_H

#include "qlora/train.h"

/* How the rate rises or falls, from 0 to 1. */
typedef enum ql_ramp {
    QL_RAMP_LINEAR,
    QL_RAMP_COSINE,
    QL_RAMP_ROOT, /* 1 - sqrt(1 - x) up, 1 - sqrt(x) down */
    QL_RAMP_COUNT
} ql_ramp;

/* The rate falls when the evaluation loss does not any more, as torch's
 * ReduceLROnPlateau has it. */
typedef struct ql_plateau {
    double factor, patience, cooldown, min_lr, eps;
    double threshold;  /* a loss is better that is less by so much */
    bool absolute;     /* the threshold is no share of the loss */
    double rate, best; /* now, and so far */
    double bad, cooling;
} ql_plateau;

typedef struct ql_schedule {
    ql_scheduler kind;
    double peak;          /* learning rate */
    double warmup, total; /* steps */
    /* By their names in lr_scheduler_kwargs; NaN is what is not given. */
    double num_cycles, lr_end, power;
    double min_lr, min_lr_rate, warmup_lr_rate;
    double num_decay_steps, num_stable_steps, min_lr_ratio;
    ql_ramp warmup_type, decay_type;
    ql_plateau plateau;
} ql_schedule;

/* That of a run's options, with so many steps, of which some warm up. Errors:
 * QL_EINVAL (lr_scheduler_kwargs, and what the scheduler makes of the learning
 * rate, named). */
ql_status ql_schedule_init(ql_schedule *s, const ql_train_options *o,
                           size_t warmup, size_t total);

/* The learning rate of a step, from 0. */
double ql_schedule_rate(const ql_schedule *s, size_t step);

/* Takes in the loss of an evaluation after a step. */
void ql_schedule_see(ql_schedule *s, double loss);

#endif
