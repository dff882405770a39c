#include "src/train/blame.h"

#include <math.h>
#include <stdio.h>

#include "src/op/vec.h"

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

static bool is_bad(ql_run *run, const ql_batch *b, size_t j)
{
    ql_loss sum = {0};
    size_t start[2];
    const ql_batch one = alone(b, j, start);

    ql_run_loss(run, &one, NULL, &sum);
    return !isfinite(sum.sum);
}

/* "record 7", "records 3, 7", or "one of the records 3, 7": sure is whether it
 * is known to be all of these. */
static void print(char text[QL_BLAME_BYTES], const size_t *records, size_t n,
                  bool sure)
{
    int at = snprintf(text, QL_BLAME_BYTES, "%srecord%s %zu",
                      n > 1 && !sure ? "one of the " : "", n > 1 ? "s" : "",
                      records[0]);

    for (size_t i = 1; i < n; i++) {
        at += snprintf(text + at, QL_BLAME_BYTES - (size_t)at, ", %zu",
                       records[i]);
    }
}

void ql_blame_records(char text[QL_BLAME_BYTES], ql_run *run,
                      const ql_batch *batch)
{
    const size_t n = batch->sequences < SHOWN ? batch->sequences : SHOWN;
    size_t bad[SHOWN] = {0};
    size_t found = 0;

    for (size_t j = 0; j < batch->sequences && found < SHOWN; j++) {
        if (is_bad(run, batch, j)) {
            bad[found++] = batch->record[j] + 1;
        }
    }
    for (size_t j = 0; found == 0 && j < n; j++) {
        bad[j] = batch->record[j] + 1;
    }
    print(text, bad, found > 0 ? found : n, found > 0);
}

void ql_blame_layer(char text[QL_BLAME_BYTES], const ql_run *run,
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
    for (size_t i = a->n; i-- > 0;) {
        const ql_adapter_entry *e = &a->entries[i];
        const size_t n = a->opt.r * (e->in + e->out);

        if (!isfinite(ql_vec_sumsq(a->grad + e->a, n))) {
            ql_adapter_name(a, i, false, text, QL_BLAME_BYTES);
            return true;
        }
    }
    return false;
}
