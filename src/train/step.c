#include "src/train/step.h"

#include <math.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/op/vec.h"

/* Losses and gradients of all micro-batches, each scaled by the number of
 * trained tokens in the whole step. */
static void accumulate(ql_step *s, ql_run *run, ql_batches *batches,
                       ql_adapter *a, const ql_train_options *opt)
{
    size_t trained = 0;

    for (size_t i = s->from; i < s->to; i++) {
        trained += ql_batches_trained(batches, i);
    }
    memset(a->grad, 0, a->count * sizeof(float));
    s->loss = (ql_loss){0};
    s->tokens = 0;
    for (size_t i = s->from; i < s->to; i++) {
        const ql_run_train train = {
            .scale = (float)(1.0 / (double)trained),
            .dropout = (float)opt->lora_dropout,
            .key =
                ql_rng_split(ql_rng_split(opt->seed, s->number), i - s->from),
        };
        ql_batch batch;

        ql_batches_get(batches, i, &batch);
        ql_run_loss(run, &batch, &train, &s->loss);
        s->tokens += batch.T;
    }
}

/* The first pair with a gradient that is not finite, for the message. */
static ql_status bad_gradient(const ql_step *s, const ql_adapter *a)
{
    char name[256] = "unknown";

    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const size_t n = a->opt.r * (e->in + e->out);

        if (!isfinite(ql_vec_sumsq(a->grad + e->a, n))) {
            ql_adapter_name(a, i, false, name, sizeof(name));
            break;
        }
    }
    QL_FAIL(QL_ENUMERIC,
            "step %zu: the gradient of %s is not finite; lower the learning "
            "rate or look for damaged records",
            s->number + 1, name);
}

ql_status ql_step_gradient(ql_step *s, ql_run *run, ql_batches *batches,
                           ql_adapter *a, const ql_train_options *opt)
{
    accumulate(s, run, batches, a, opt);
    if (!isfinite(s->loss.sum)) {
        QL_FAIL(QL_ENUMERIC,
                "step %zu: the loss is not finite; lower the learning rate or "
                "look for damaged weights",
                s->number + 1);
    }
    ql_profile_mark(s->profile, QL_WORK_OPTIMIZER);
    s->grad_norm = sqrt(ql_vec_sumsq(a->grad, a->count));
    if (!isfinite(s->grad_norm)) {
        return bad_gradient(s, a);
    }
    return QL_OK;
}

ql_status ql_step_run(ql_step *s, ql_run *run, ql_batches *batches,
                      ql_adapter *a, ql_optimizer *o,
                      const ql_train_options *opt)
{
    ql_adam_step adam = {.lr = s->lr,
                         .beta1 = opt->adam_beta1,
                         .beta2 = opt->adam_beta2,
                         .eps = opt->adam_epsilon,
                         .weight_decay = opt->weight_decay,
                         .clip = 1};
    ql_status st;

    QL_TRY(ql_step_gradient(s, run, batches, a, opt));
    if (opt->max_grad_norm > 0) {
        /* torch.nn.utils.clip_grad_norm_ */
        adam.clip = fmin(1, opt->max_grad_norm / (s->grad_norm + 1e-6));
    }
    st = ql_optimizer_update(o, a->param, a->grad, &adam);
    ql_profile_mark(s->profile, QL_WORK_OTHER);
    return st == QL_OK ? st : ql_fail_prefix(st, "step %zu: ", s->number + 1);
}
