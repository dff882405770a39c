/* What a model writes before and after it is trained: the prompts of a few
 * records, continued by always the likeliest token. */
#ifndef QL_TRAIN_SAMPLES_H
#define QL_TRAIN_SAMPLES_H

#include "qlora/train.h"
#include "src/model/run.h"

/* Texts are valid UTF-8 and end in an ellipsis where they were cut. before and
 * after are NULL until they are written. Owned by the list. */
typedef struct ql_sample_text {
    int32_t *ids; /* [n] of the prompt */
    size_t n;
    char *prompt;   /* what is given */
    char *expected; /* how the record goes on */
    char *before, *after;
} ql_sample_text;

typedef struct ql_samples {
    ql_sample_text *texts; /* [n] */
    size_t n;
} ql_samples;

/* Takes the first n records of ds that leave room for an answer within
 * max_tokens: of a conversation what comes before the first trained token, of
 * a text that is trained whole its beginning. Errors: QL_ENOMEM. */
ql_status ql_samples_init(ql_samples *s, const ql_dataset *ds, size_t n,
                          const ql_tokenizer *tok, size_t max_tokens);
void ql_samples_free(ql_samples *s);

/* Writes the texts after (else before) training, with a run that has room for
 * max_tokens. Ends early when it takes longer than a few seconds. Errors:
 * QL_ENUMERIC, QL_ENOMEM. */
ql_status ql_samples_write(ql_samples *s, ql_run *run, size_t V,
                           const ql_tokenizer *tok, size_t max_tokens,
                           bool after);

/* Keeps the texts in a file; takes what was written before training from it,
 * for those whose prompts are the same. Errors: QL_EIO, QL_ENOSPACE,
 * QL_EFORMAT, QL_ENOMEM. */
ql_status ql_samples_save(const ql_samples *s, const char *path);
ql_status ql_samples_load(ql_samples *s, const char *path);

#endif
