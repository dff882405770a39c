/* Sequences of one micro-batch, packed one after the other without padding;
 * each attends only to itself, with positions from 0. */
#ifndef QL_MODEL_BATCH_H
#define QL_MODEL_BATCH_H

#include <stddef.h>
#include <stdint.h>

typedef struct ql_batch {
    size_t T;              /* tokens of all sequences */
    size_t sequences;      /* at least 1 */
    const size_t *start;   /* [sequences + 1]: first token of each, then T */
    const int32_t *ids;    /* [T] */
    const int32_t *target; /* [T] id to be predicted after the token, or -1; for
                              a classifier the class of a text, at its first
                              token */
    const uint8_t *type;  /* [T] type of the token, as BERT has them; NULL: 0 */
    const size_t *record; /* [sequences] which sample of the data set each is,
                              or NULL: for messages only */
} ql_batch;

#endif
