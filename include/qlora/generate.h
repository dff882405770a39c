/* Text from a model. */
#ifndef QLORA_GENERATE_H
#define QLORA_GENERATE_H

#include "qlora/model.h"
#include "qlora/tokenizer.h"

typedef struct ql_generate_options {
    size_t max_new_tokens; /* 128 */
    double temperature;    /* 0.7; 0: always the most likely token */
    double top_p;          /* 0.9; 1: all */
    size_t top_k;          /* 0: all */
    uint64_t seed;         /* 42 */
} ql_generate_options;

/* Fills in the defaults named above. */
QL_API void ql_generate_options_init(ql_generate_options *opt);

/* A piece of new text, valid UTF-8, in order. Return false to stop. */
typedef bool ql_generate_fn(const char *piece, size_t len, void *user);

/* Continues a prompt until the end token, max_new_tokens, or the longest
 * sequence that the model was made for. The prompt is tokenized with the
 * model's special tokens. out may be NULL. text may be NULL, else it receives
 * the new text. Owned: ql_free(*text).
 *
 * Errors: QL_EINVAL (options; a prompt that leaves no room), QL_EFORMAT
 * (prompt is not UTF-8), QL_EMISMATCH (tokenizer of another model),
 * QL_ENUMERIC (a logit is not finite), QL_ECANCELLED, QL_ENOMEM. */
QL_API ql_status ql_generate(ql_model *model, const ql_tokenizer *tok,
                             const char *prompt, const ql_generate_options *opt,
                             ql_generate_fn *out, void *user, char **text);

#endif
