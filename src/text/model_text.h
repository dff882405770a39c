/* The member "model" of tokenizer.json as its readers meet it: the object
 * without its two long lists, which are read from the text of the file. */
#ifndef QL_TEXT_MODEL_TEXT_H
#define QL_TEXT_MODEL_TEXT_H

#include "src/base/json_scan.h"
#include "src/text/part.h"
#include "src/text/vocab.h"

typedef struct ql_model_text {
    ql_part part;       /* "vocab" and "merges" are null in it */
    ql_json_scan vocab; /* their text; all zero where there is none */
    ql_json_scan merges;
} ql_model_text;

/* Reads {"content": id, ...} into an empty vocabulary. Errors: QL_EFORMAT,
 * QL_ENOMEM. */
ql_status ql_model_text_vocab(const ql_model_text *m, ql_vocab *vocab);

/* The id of the token that a member names, -1 where it is absent or null.
 * Errors: QL_EFORMAT. */
ql_status ql_model_text_token(const ql_model_text *m, const char *key,
                              const ql_vocab *vocab, int32_t *id);

/* Calls read(ctx, list, i) for each item of a list, which reads it. what: the
 * name of the list. Errors: QL_EFORMAT and those of read. */
typedef ql_status ql_model_item_fn(void *ctx, ql_json_scan *list, size_t i);
ql_status ql_model_text_list(const ql_model_text *m, ql_json_scan list,
                             const char *what, ql_model_item_fn *read,
                             void *ctx);

#endif
