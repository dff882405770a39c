/* What a run will take of memory, before it is taken. */
#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/convert/adapter_begin.h"
#include "src/convert/adapter_make.h"
#include "src/train/advice.h"

enum {
    MANY_ROWS = 1 << 16 /* of a log: there is no room kept ready for more */
};

ql_run_options ql_trainer_run_options(const ql_trainer *t)
{
    const ql_batches *a = &t->batches;
    const ql_batches *b = &t->eval; /* all zero without evaluation data */

    return (ql_run_options){
        .max_tokens =
            a->max_tokens > b->max_tokens ? a->max_tokens : b->max_tokens,
        .max_length = ql_trainer_longest(t),
        .max_sequences = a->max_sequences > b->max_sequences ? a->max_sequences
                                                             : b->max_sequences,
        .max_trained =
            a->max_trained > b->max_trained ? a->max_trained : b->max_trained,
        .training = true,
        .keep_layers = t->plan.keep_layers,
        .keep_outputs = t->plan.keep_outputs,
        .spill_layers = t->plan.spill_layers,
        .spill_dir = t->output.work,
        .bf16_inputs = t->opt->activation_dtype == QL_ACTIVATION_BF16,
        .weight_memory = t->plan.weight_memory,
    };
}

size_t ql_trainer_log_rows(const ql_trainer *t)
{
    const ql_train_options *o = t->opt;
    const size_t total = t->length.total;
    size_t evals = 0;
    size_t rows;

    if (t->has_eval && o->eval_strategy == QL_STRATEGY_EPOCH) {
        evals = total / t->length.steps_per_epoch;
    } else if (t->has_eval && o->eval_steps > 0) {
        evals = total / o->eval_steps;
    }
    if (o->early_stopping_patience > 0) {
        evals *= 2; /* each with its step */
    }
    rows = total / o->logging_steps + 2 /* first, last step */ + evals +
           2 /* before, after */ + 1 /* done */;
    return rows < MANY_ROWS ? rows : MANY_ROWS;
}

/* Bytes of the log, and of what writes files from it. */
static uint64_t log_bytes(const ql_trainer *t)
{
    const uint64_t row = sizeof(ql_train_event) + QL_REPORT_ROW_BYTES;

    return QL_REPORT_BYTES + ql_trainer_log_rows(t) * row;
}

/* Where memory goes; a, which is on the model, is an adapter of the size that
 * will be trained. */
static ql_status plan_with(ql_trainer *t, const ql_adapter *a)
{
    ql_plan_facts facts = {
        .model = t->m,
        .sizes = a->sizes,
        .n = a->n_tensors,
        .count = a->count,
        .run = ql_trainer_run_options(t),
        .optimizer = {.kind = t->opt->optim,
                      .memory = t->opt->optimizer_memory,
                      .half = a->n_half},
        .checkpointing = t->opt->gradient_checkpointing,
        .budget = t->opt->memory,
        .log = log_bytes(t),
    };
    ql_principal principal;

    QL_TRY(ql_adapter_principal(&principal, t->opt));
    facts.principal = ql_principal_needs(&principal, a, &t->m->weights);
    return ql_plan_make(&t->plan, &facts);
}

ql_status ql_trainer_try_plan(ql_trainer *t)
{
    ql_adapter like;
    ql_status st;

    QL_TRY(ql_adapter_measure(&like, &t->m->config, &t->m->weights, t->opt));
    t->trainable = like.elements;
    ql_model_use_adapter(t->m, &like);
    st = plan_with(t, &like);
    ql_model_use_adapter(t->m, NULL);
    ql_adapter_free(&like);
    return st;
}

ql_status ql_trainer_plan(ql_trainer *t)
{
    const ql_status st = ql_trainer_try_plan(t);

    return st == QL_ENOMEM && ql_plan_over(&t->plan) > 0 ? ql_advise(t) : st;
}
