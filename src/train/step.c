#include "src/train/step.h"

#include <math.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/train/blame.h"

void ql_step_rates(float *rates, const ql_adapter *a,
                   const ql_train_options *opt)
{
    const double embedding = opt->loraplus_lr_embedding / opt->learning_rate;
    const bool plus = opt->loraplus_lr_ratio > 0 && opt->learning_rate > 0;

    for (size_t i = 0; i < a->n_tensors; i++) {
        const ql_adapter_tensor *t = &a->tensors[i];
        const ql_place place = a->entries[t->entry].site.place;
        const bool up = t->part == QL_PART_B || t->rank == 1;

        rates[i] = !plus || !up ? 1
                   : t->part == QL_PART_B && place == QL_PLACE_EMBED
                       ? (float)embedding
                       : (float)opt->loraplus_lr_ratio;
    }
}

/* How micro-batch i of a step is run. */
static ql_run_train training(const ql_step *s, size_t i,
                             const ql_train_options *opt)
{
    return (ql_run_train){
        .scale = (float)(1.0 / (double)s->trained),
        .dropout = (float)opt->lora_dropout,
        .noise = (float)opt->neftune_noise_alpha,
        .key = ql_rng_split(ql_rng_split(opt->seed, s->number), i - s->from),
    };
}

/* A loss that is not finite, in the batch that was just run. */
static ql_status bad_loss(const ql_step *s, ql_run *run, const ql_batch *batch,
                          const ql_dataset *ds)
{
    char records[QL_BLAME_BYTES];
    char layer[QL_BLAME_BYTES];

    ql_blame_layer(layer, run, batch);
    ql_blame_records(records, run, batch, ds, NULL, NULL);
    QL_FAIL(QL_ENUMERIC,
            "step %zu: the loss is not finite, from %s on, for %s; lower the "
            "learning rate or look at the data",
            s->number + 1, layer, records);
}

/* Losses and gradients of all micro-batches, each scaled by the number of
 * trained tokens in the whole step. */
static ql_status accumulate(ql_step *s, ql_run *run, ql_batches *batches,
                            ql_adapter *a, const ql_train_options *opt)
{
    s->trained = 0;
    for (size_t i = s->from; i < s->to; i++) {
        s->trained += ql_batches_trained(batches, i);
    }
    memset(a->grad, 0, a->count * sizeof(float));
    s->loss = (ql_loss){0};
    s->tokens = 0;
    for (size_t i = s->from; i < s->to; i++) {
        const ql_run_train train = training(s, i, opt);
        ql_batch batch;

        ql_profile_mark(s->profile, QL_WORK_DATA);
        ql_batches_get(batches, i, &batch);
        ql_profile_mark(s->profile, QL_WORK_OTHER);
        ql_run_loss(run, &batch, &train, &s->loss);
        QL_TRY(ql_run_check(run));
        s->tokens += batch.T;
        if (!isfinite(s->loss.sum)) {
            return bad_loss(s, run, &batch, batches->ds);
        }
        if (s->fn) {
            s->fn(i + 1 - s->from, s->to - s->from, s->user);
        }
    }
    return QL_OK;
}

/* A gradient that is not finite: the micro-batches are run once more, one by
 * one, to find that which it comes from. */
static ql_status bad_gradient(const ql_step *s, ql_run *run,
                              ql_batches *batches, ql_adapter *a,
                              const ql_train_options *opt)
{
    char name[QL_BLAME_BYTES];
    char records[QL_BLAME_BYTES] = "all records together";
    char here[QL_BLAME_BYTES];
    ql_batch batch;

    ql_blame_gradient(name, a);
    for (size_t i = s->from; i < s->to; i++) {
        const ql_run_train train = training(s, i, opt);
        ql_loss sum = {0};

        memset(a->grad, 0, a->count * sizeof(float));
        ql_batches_get(batches, i, &batch);
        ql_run_loss(run, &batch, &train, &sum);
        if (ql_blame_gradient(here, a)) {
            memcpy(name, here, sizeof(name));
            ql_blame_records(records, run, &batch, batches->ds, &train, a);
            break;
        }
    }
    QL_FAIL(QL_ENUMERIC,
            "step %zu: the gradient of %s is not finite, for %s; lower the "
            "learning rate or look at the data",
            s->number + 1, name, records);
}

ql_status ql_step_gradient(ql_step *s, ql_run *run, ql_batches *batches,
                           ql_adapter *a, const ql_train_options *opt)
{
    QL_TRY(accumulate(s, run, batches, a, opt));
    ql_profile_mark(s->profile, QL_WORK_OPTIMIZER);
    s->grad_norm = sqrt(ql_adapter_grad_sumsq(a, 0, a->n_tensors));
    if (!isfinite(s->grad_norm)) {
        return bad_gradient(s, run, batches, a, opt);
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
    s->spoilt = st != QL_OK;
    if (st == QL_OK) {
        ql_adapter_settle(a);
    }
    ql_profile_mark(s->profile, QL_WORK_OTHER);
    return st == QL_OK ? st : ql_fail_prefix(st, "step %zu: ", s->number + 1);
}
