/* The tokens that end a text, and those that are none. */
#ifndef QL_GEN_ENDS_H
#define QL_GEN_ENDS_H

#include "src/model/model_handle.h"

#include "qlora/tokenizer.h"

typedef struct ql_ends {
    int32_t *ids; /* [n] end tokens */
    size_t n;
    int32_t *holes; /* [n_holes] rows of the head without a token */
    size_t n_holes;
} ql_ends;

/* End tokens: that of the tokenizer, and those of end_ids.h. Errors:
 * QL_EFORMAT, QL_EIO, QL_ENOMEM. */
ql_status ql_ends_init(ql_ends *e, const ql_model *m, const ql_tokenizer *tok);
void ql_ends_free(ql_ends *e);

bool ql_ends_has(const ql_ends *e, int32_t id);

#endif
