/* The tokens that a model says end a text, beside that of its tokenizer. */
#ifndef QL_TEXT_END_IDS_H
#define QL_TEXT_END_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "qlora/status.h"

typedef struct ql_end_ids {
    int32_t *ids; /* [n] */
    size_t n;
} ql_end_ids;

/* "eos_token_id", the id of a token or a list of them, of
 * generation_config.json in a folder, or of config.json where that says
 * nothing. Null and what is below 0 are no tokens. Errors: QL_EFORMAT, QL_EIO,
 * QL_ENOMEM. */
ql_status ql_end_ids_init(ql_end_ids *e, const char *dir);
void ql_end_ids_free(ql_end_ids *e);

#endif
