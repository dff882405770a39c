/* The base that an adapter was made for: of embeddings and heads that it
 * adapts, PEFT saves the matrix as it was, beside the pair. */
#ifndef QL_CONVERT_ADAPTER_BASE_H
#define QL_CONVERT_ADAPTER_BASE_H

#include "src/convert/adapter_folder.h"
#include "src/format/shards.h"

enum {
    QL_TIES = 3
};

/* Embeddings and the heads that may be one matrix with them, by the ends of
 * their paths. */
typedef struct ql_tie {
    const char *embed, *head;
} ql_tie;

extern const ql_tie ql_ties[QL_TIES];

/* What the adapter repeats of its base must be what the model has, rounded as
 * it may be on either side: PEFT casts embeddings to F32 before it trains on
 * 4 bits. A head that the model does not have is its embedding. What is stored
 * as anything but F32, F16 and BF16 is not compared. Embeddings and heads that
 * the settings do not name are marked as repeating the base where they do; else
 * they take its place, as PEFT loads them, and one that is the head, too, stays
 * so. Errors: QL_EMISMATCH. */
ql_status ql_adapter_base_check(ql_adapter_folder *f, const ql_shards *s);

#endif
