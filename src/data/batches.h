/* The micro-batches of an epoch: packs of samples in shuffled order, laid one
 * after the other without padding. A pack is several samples that fill a
 * sequence of the model's length, or one sample without packing. */
#ifndef QL_DATA_BATCHES_H
#define QL_DATA_BATCHES_H

#include "qlora/dataset.h"
#include "src/data/pack.h"
#include "src/model/batch.h"

typedef struct ql_batches_options {
    size_t size;  /* packs in a micro-batch, at least 1 */
    bool packing; /* packs of up to the data set's max_length tokens */
    bool shuffle; /* in each epoch; else samples stay in their order */
    uint64_t seed;
} ql_batches_options;

typedef struct ql_batches {
    const ql_dataset *ds;
    ql_batches_options opt;
    size_t n;             /* micro-batches in an epoch */
    size_t packs;         /* in an epoch */
    double fill;          /* share of room for packs that has tokens; without
                             packing 0 */
    size_t max_tokens;    /* of any micro-batch */
    size_t max_sequences; /* samples of any micro-batch */
    size_t max_trained;   /* tokens of any micro-batch that have a target, or
                             more than that */
    size_t max_length;    /* of any sample */
    ql_packs pack;        /* of places in sample */
    size_t *sample;       /* [samples] in the order that packs are made of */
    size_t *order;        /* [packs] */
    size_t *drawn;        /* [samples] scratch */
    size_t *longer;       /* [max_length + 1] scratch */
    size_t *start;        /* [max_sequences + 1] */
    size_t *record;       /* [max_sequences] */
    int32_t *ids;         /* [max_tokens] */
    int32_t *target;      /* [max_tokens] */
    uint8_t *type;        /* [max_tokens] */
} ql_batches;

/* ds is borrowed. Errors: QL_ENOMEM. */
ql_status ql_batches_init(ql_batches *b, const ql_dataset *ds,
                          const ql_batches_options *opt);
void ql_batches_free(ql_batches *b);

/* Makes the packs of an epoch (from 0) and puts them in order; both depend on
 * seed and epoch only. The number of packs, and their lengths, are the same in
 * every epoch; with packing and shuffling, who shares a pack with whom is not.
 * Call it before the first ql_batches_get of each epoch. */
void ql_batches_begin(ql_batches *b, size_t epoch);

/* Builds micro-batch i < n of the current epoch. The arrays are borrowed and
 * hold until the next call. */
void ql_batches_get(ql_batches *b, size_t i, ql_batch *out);

/* Tokens of micro-batch i that have a target. */
size_t ql_batches_trained(const ql_batches *b, size_t i);

#endif
