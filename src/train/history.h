/* The log of a run: what was told of logged steps, of evaluations, and of the
 * end. All that people see afterwards is written from it: trainer_state.json,
 * metrics.csv, the curves of the report. A run that is resumed loads it and
 * goes on. */
#ifndef QL_TRAIN_HISTORY_H
#define QL_TRAIN_HISTORY_H

#include "qlora/train.h"
#include "src/base/buf.h"
#include "src/op/loss.h"

enum {
    QL_HISTORY_ROWS = 1 << 24 /* that there can be, at most */
};

/* Steps added up. */
typedef struct ql_history_sum {
    ql_loss loss;   /* over all their trained tokens */
    size_t steps;   /* optimizer steps */
    size_t tokens;  /* all that passed through them */
    double seconds; /* time of the steps alone */
} ql_history_sum;

typedef struct ql_history {
    ql_buf rows;         /* ql_train_event each, in order */
    ql_history_sum last; /* steps since the last logged one */
    ql_history_sum all;  /* all steps of the run */
} ql_history;

void ql_history_init(ql_history *h);
void ql_history_free(ql_history *h);

/* Makes room for n rows in all, so that adding them takes no more memory.
 * Errors: QL_ENOMEM. */
ql_status ql_history_reserve(ql_history *h, size_t n);

size_t ql_history_size(const ql_history *h);

/* Row i < ql_history_size(h). Borrowed: until the next call that changes h. */
const ql_train_event *ql_history_row(const ql_history *h, size_t i);

/* Counts a step and fills in what e tells of it: loss and accuracy over the
 * trained tokens since the last logged step, tokens per second of the same
 * steps, and tokens. step holds one step. */
void ql_history_step(ql_history *h, const ql_history_sum *step,
                     ql_train_event *e);

/* Adds a row, and with a step begins anew to count. Errors: QL_ENOMEM. */
ql_status ql_history_add(ql_history *h, const ql_train_event *e);

/* Takes the last row back. */
void ql_history_drop(ql_history *h);

/* Evaluations since the best of those that were due. */
size_t ql_history_waited(const ql_history *h);

/* The evaluation after a step with the smallest loss, the first of equals; NULL
 * without such evaluations. Borrowed as above. */
const ql_train_event *ql_history_best(const ql_history *h);

#endif
