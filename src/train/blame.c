#include "src/train/blame.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    SHOWN = 8 /* records that are named */
};

/* Sequence j of a batch, as a batch; start [2] is written. */
static ql_batch alone(const ql_batch *b, size_t j, size_t start[2])
{
    const size_t from = b->start[j];

    start[0] = 0;
    start[1] = b->start[j + 1] - from;
    return (ql_batch){.T = start[1],
                      .sequences = 1,
                      .start = start,
                      .ids = b->ids + from,
                      .target = b->target + from};
}

static bool is_bad(ql_run *run, const ql_batch *b, size_t j,
                   const ql_run_train *train, ql_adapter *a)
{
    char name[QL_BLAME_BYTES];
    ql_loss sum = {0};
    size_t start[2];
    const ql_batch one = alone(b, j, start);

    if (train) {
        memset(a->grad, 0, a->count * sizeof(*a->grad));
    }
    ql_run_loss(run, &one, train, &sum);
    return !isfinite(sum.sum) || (train && ql_blame_gradient(name, a));
}

/* The place of a sample behind what is in text already; what has no room is
 * left out. */
static void put_place(char text[QL_BLAME_BYTES], const ql_dataset *ds, size_t i)
{
    const ql_origin o = ql_dataset_origin(ds, i);
    const size_t at = strlen(text);
    const char *before = at > 0 ? ", " : "";
    int n;

    if (*o.path) {
        n = snprintf(text + at, QL_BLAME_BYTES - at, "%s%s:%zu", before, o.path,
                     o.line);
    } else {
        n = snprintf(text + at, QL_BLAME_BYTES - at, "%ssample %zu", before,
                     i + 1);
    }
    if (n < 0 || (size_t)n >= QL_BLAME_BYTES - at) {
        text[at] = '\0';
    }
}

void ql_blame_records(char text[QL_BLAME_BYTES], ql_run *run,
                      const ql_batch *batch, const ql_dataset *ds,
                      const ql_run_train *train, ql_adapter *a)
{
    size_t found = 0;

    text[0] = '\0';
    for (size_t j = 0; j < batch->sequences && found < SHOWN; j++) {
        if (is_bad(run, batch, j, train, a)) {
            put_place(text, ds, batch->record[j]);
            found++;
        }
    }
    for (size_t j = 0; found == 0 && j < batch->sequences && j < SHOWN; j++) {
        put_place(text, ds, batch->record[j]);
    }
}

void ql_blame_layer(char text[QL_BLAME_BYTES], ql_run *run,
                    const ql_batch *batch)
{
    const size_t block = ql_run_bad_block(run, batch);

    if (block == 0) {
        snprintf(text, QL_BLAME_BYTES, "the embedding");
    } else if (block == SIZE_MAX) {
        snprintf(text, QL_BLAME_BYTES, "the output head");
    } else {
        snprintf(text, QL_BLAME_BYTES, "layer %zu", block - 1);
    }
}

bool ql_blame_gradient(char text[QL_BLAME_BYTES], const ql_adapter *a)
{
    for (size_t i = a->n_tensors; i-- > 0;) {
        if (!isfinite(ql_adapter_grad_sumsq(a, i, i + 1))) {
            ql_adapter_name(a, i, text, QL_BLAME_BYTES);
            return true;
        }
    }
    return false;
}
