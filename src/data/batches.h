/* The micro-batches of an epoch: samples in shuffled order, packed one after
 * the other without padding. */
#ifndef QL_DATA_BATCHES_H
#define QL_DATA_BATCHES_H

#include "qlora/dataset.h"
#include "src/model/batch.h"

typedef struct ql_batches {
    const ql_dataset *ds;
    size_t size; /* samples in a micro-batch */
    bool shuffle;
    uint64_t seed;
    size_t *order;                 /* [samples] */
    size_t n;                      /* micro-batches in an epoch */
    size_t max_tokens, max_length; /* of any micro-batch, any sample */
    size_t *start;                 /* [size + 1] */
    int32_t *ids;                  /* [max_tokens] */
    int32_t *target;               /* [max_tokens] */
} ql_batches;

/* ds is borrowed. Errors: QL_ENOMEM. */
ql_status ql_batches_init(ql_batches *b, const ql_dataset *ds, size_t size,
                          bool shuffle, uint64_t seed);
void ql_batches_free(ql_batches *b);

/* Orders the samples for an epoch (from 0); the order depends on seed and
 * epoch only. Call it before the first ql_batches_get of each epoch. */
void ql_batches_begin(ql_batches *b, size_t epoch);

/* Builds micro-batch i < n of the current epoch. The arrays are borrowed and
 * hold until the next call. */
void ql_batches_get(ql_batches *b, size_t i, ql_batch *out);

/* Tokens of micro-batch i that have a target. */
size_t ql_batches_trained(const ql_batches *b, size_t i);

#endif
