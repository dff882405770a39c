/* One optimizer step: micro-batches forward and backward, clipping, update. */
#ifndef QL_TRAIN_STEP_H
#define QL_TRAIN_STEP_H

#include "qlora/train.h"
#include "src/data/batches.h"
#include "src/model/run.h"
#include "src/train/optimizer.h"

/* Told after each micro-batch: how many of n are done. */
typedef void ql_step_fn(size_t done, size_t n, void *user);

/* Micro-batches [from, to) of the current epoch, as one step. */
typedef struct ql_step {
    size_t from, to;
    size_t number; /* of the step in the run, from 0: part of its keys */
    double lr;
    ql_step_fn *fn;      /* or NULL */
    void *user;          /* handed to fn */
    ql_profile *profile; /* where time is counted, or NULL */
    ql_loss loss;        /* out: over all its trained tokens */
    double grad_norm;    /* out: before clipping */
    size_t tokens;       /* out: all */
    size_t trained;      /* out: those that have a target */
    bool spoilt;         /* out: the update failed, and with it the optimizer's
                            state is lost */
} ql_step;

/* Factors of the learning rates of a's tensors, rates[a->n_tensors], by which
 * LoRA+ differs: Hayou and others: LoRA+, 2024; which is which as in PEFT and
 * LLaMA-Factory. */
void ql_step_rates(float *rates, const ql_adapter *a,
                   const ql_train_options *opt);

/* Its first half: the gradients of a, and all that s says of them. Errors:
 * QL_ENUMERIC when the loss or a gradient is not finite (names the step, the
 * layer and the records). */
ql_status ql_step_gradient(ql_step *s, ql_run *run, ql_batches *batches,
                           ql_adapter *a, const ql_train_options *opt);

/* Runs the step. a's gradients are used up, its parameters updated. Errors:
 * those of ql_step_gradient and ql_optimizer_update; the parameters are then
 * as before the step. */
ql_status ql_step_run(ql_step *s, ql_run *run, ql_batches *batches,
                      ql_adapter *a, ql_optimizer *o,
                      const ql_train_options *opt);

#endif
