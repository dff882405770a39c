#include "src/data/batches.h"

#include <stdlib.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"

/* Samples of micro-batch i: [*from, *to) in the order. */
static void range(const ql_batches *b, size_t i, size_t *from, size_t *to)
{
    const size_t all = ql_dataset_size(b->ds);

    *from = i * b->size;
    *to = *from + b->size < all ? *from + b->size : all;
}

static int falling(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;

    return (x < y) - (x > y);
}

/* The most tokens that any choice of samples can bring together. Uses order
 * as scratch. */
static void measure(ql_batches *b)
{
    const size_t all = ql_dataset_size(b->ds);

    for (size_t i = 0; i < all; i++) {
        b->order[i] = ql_dataset_sample(b->ds, i).n;
    }
    qsort(b->order, all, sizeof(*b->order), falling);
    b->max_length = b->order[0];
    for (size_t i = 0; i < all && i < b->size; i++) {
        b->max_tokens += b->order[i];
    }
}

ql_status ql_batches_init(ql_batches *b, const ql_dataset *ds, size_t size,
                          bool shuffle, uint64_t seed)
{
    const size_t all = ql_dataset_size(ds);

    size = size < all ? size : all;
    *b = (ql_batches){.ds = ds, .size = size, .shuffle = shuffle, .seed = seed};
    b->n = (all + size - 1) / size;
    b->order = ql_alloc(QL_TAG_DATA, all, sizeof(*b->order));
    b->start = ql_alloc(QL_TAG_DATA, size + 1, sizeof(*b->start));
    if (b->order && b->start) {
        measure(b);
        b->ids = ql_alloc(QL_TAG_DATA, b->max_tokens, sizeof(*b->ids));
        b->target = ql_alloc(QL_TAG_DATA, b->max_tokens, sizeof(*b->target));
    }
    if (!b->ids || !b->target) {
        ql_batches_free(b);
        return QL_ENOMEM;
    }
    ql_batches_begin(b, 0);
    return QL_OK;
}

void ql_batches_free(ql_batches *b)
{
    ql_free(b->order);
    ql_free(b->start);
    ql_free(b->ids);
    ql_free(b->target);
    *b = (ql_batches){0};
}

void ql_batches_begin(ql_batches *b, size_t epoch)
{
    const size_t all = ql_dataset_size(b->ds);

    for (size_t i = 0; i < all; i++) {
        b->order[i] = i;
    }
    if (b->shuffle) {
        ql_rng_shuffle(ql_rng_split(b->seed, epoch), b->order, all);
    }
}

/* Appends a sample at token t; each token's target is the one after it. */
static size_t append(ql_batches *b, ql_sample s, size_t t)
{
    for (size_t i = 0; i < s.n; i++) {
        const bool trained = i + 1 < s.n && s.train[i + 1];

        b->ids[t + i] = s.ids[i];
        b->target[t + i] = trained ? s.ids[i + 1] : -1;
    }
    return t + s.n;
}

void ql_batches_get(ql_batches *b, size_t i, ql_batch *out)
{
    size_t from;
    size_t to;
    size_t t = 0;

    range(b, i, &from, &to);
    b->start[0] = 0;
    for (size_t j = from; j < to; j++) {
        t = append(b, ql_dataset_sample(b->ds, b->order[j]), t);
        b->start[j - from + 1] = t;
    }
    *out = (ql_batch){.T = t,
                      .sequences = to - from,
                      .start = b->start,
                      .ids = b->ids,
                      .target = b->target};
}

size_t ql_batches_trained(const ql_batches *b, size_t i)
{
    size_t from;
    size_t to;
    size_t sum = 0;

    range(b, i, &from, &to);
    for (size_t j = from; j < to; j++) {
        const ql_sample s = ql_dataset_sample(b->ds, b->order[j]);

        for (size_t t = 1; t < s.n; t++) {
            sum += s.train[t];
        }
    }
    return sum;
}
