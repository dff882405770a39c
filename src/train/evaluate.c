/* Evaluations: when they are due, their loss, and the best adapter so far. */
#include <math.h>

#include "src/base/alloc.h"
#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/op/classes.h"
#include "src/train/blame.h"
#include "src/train/trainer.h"

/* True if the options ask for an evaluation after the steps done so far. */
static bool is_due(const ql_trainer *t)
{
    const ql_train_options *o = t->opt;
    const size_t step = t->progress.step;

    return o->eval_strategy == QL_STRATEGY_EPOCH
               ? step % t->length.steps_per_epoch == 0
               : o->eval_steps > 0 && step % o->eval_steps == 0;
}

/* All steps are done, and that is the only reason to evaluate. */
static bool is_closing(const ql_trainer *t)
{
    return t->progress.step == t->length.total && !is_due(t);
}

bool ql_trainer_must_evaluate(const ql_trainer *t)
{
    const ql_train_options *o = t->opt;
    const size_t step = t->progress.step;

    if (!t->has_eval || o->eval_strategy == QL_STRATEGY_NO ||
        t->progress.evaluated == step + 1) {
        return false;
    }
    return step == 0 || is_due(t) || is_closing(t);
}

static ql_status not_finite(ql_trainer *t, const ql_batch *batch)
{
    char records[QL_BLAME_BYTES];

    ql_blame_records(records, t->run, batch, t->eval.ds, NULL, NULL);
    QL_FAIL(QL_ENUMERIC,
            "step %zu: the evaluation loss is not finite, for %s; lower the "
            "learning rate or look at the data",
            t->progress.step, records);
}

/* The loss over all evaluation data; not finished when asked to stop. */
static ql_status run_batches(ql_trainer *t, ql_loss *sum)
{
    ql_train_event e = {.kind = QL_TRAIN_EVALUATING, .step = t->progress.step};

    *sum = (ql_loss){0};
    e.batches = t->eval.n;
    for (size_t i = 0; i < t->eval.n && !t->stop; i++) {
        ql_batch batch;

        ql_batches_get(&t->eval, i, &batch);
        ql_run_loss(t->run, &batch, NULL, sum);
        if (!isfinite(sum->sum)) {
            return not_finite(t, &batch);
        }
        e.batches_done = i + 1;
        ql_trainer_tell(t, &e);
    }
    return QL_OK;
}

/* The same, and F1 of a classifier. */
static ql_status measure(ql_trainer *t, ql_loss *sum, ql_train_event *e)
{
    const size_t n = t->m->config.labels.n;
    size_t *table = ql_calloc(QL_TAG_MISC, n * n, sizeof(*table));
    ql_status st = table ? QL_OK : QL_ENOMEM;

    if (st == QL_OK) {
        ql_run_count_classes(t->run, n > 0 ? table : NULL);
        st = run_batches(t, sum);
        ql_run_count_classes(t->run, NULL);
    }
    e->classifies = n > 0;
    if (st == QL_OK && n > 0) {
        e->eval_f1 = ql_classes_f1(table, n);
    }
    ql_free(table);
    return st;
}

/* The loss of the untrained model is no candidate for the best. As with
 * transformers, the learning rate goes by evaluations that are due: a run that
 * goes on beyond its end does what one does that was to be longer. */
static ql_status judge(ql_trainer *t, double loss)
{
    ql_progress *s = &t->progress;

    if (s->step > 0 && !is_closing(t)) {
        ql_schedule_see(&t->schedule, loss);
    }
    if (s->step == 0) {
        s->result.first_eval_loss = loss;
    } else if (s->best_step == 0 || loss < s->result.best_eval_loss) {
        QL_TRY(ql_trainer_save_best(t, NULL));
        s->best_step = s->result.best_step = s->step;
        s->result.best_eval_loss = loss;
    }
    s->result.last_eval_loss = loss;
    return QL_OK;
}

ql_status ql_trainer_evaluate(ql_trainer *t)
{
    const double started = ql_now_s();
    ql_train_event e = {.kind = QL_TRAIN_EVAL,
                        .step = t->progress.step,
                        .closing = is_closing(t),
                        .log = true};
    ql_loss sum;

    QL_TRY(measure(t, &sum, &e));
    if (t->stop) {
        return QL_OK;
    }
    e.eval_runtime_s = ql_now_s() - started;
    e.eval_tokens = sum.count;
    e.eval_loss = sum.sum / (double)sum.count;
    e.eval_accuracy = (double)sum.hits / (double)sum.count;
    QL_TRY(judge(t, e.eval_loss));
    t->progress.evaluated = t->progress.step + 1;
    ql_trainer_tell(t, &e);
    return ql_trainer_log(t, &e);
}
