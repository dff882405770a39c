/* The decoder: how the contents of tokens become text again. Steps known:
 * Sequence, Replace of a string, ByteFallback, Fuse, Strip, Metaspace. */
#ifndef QL_TEXT_DECODER_H
#define QL_TEXT_DECODER_H

#include "src/base/buf.h"
#include "src/text/metaspace.h"
#include "src/text/part.h"

/* A list of strings, one after the other. */
typedef struct ql_strings {
    ql_buf text;
    ql_buf ends; /* size_t each: where string i ends in text */
} ql_strings;

void ql_strings_init(ql_strings *s);
void ql_strings_free(ql_strings *s);

/* Errors: QL_ENOMEM, QL_EFORMAT beyond what a text may become. */
ql_status ql_strings_push(ql_strings *s, const char *text, size_t n);

typedef struct ql_decoder_step ql_decoder_step;

/* Writes the list as the step has it to an empty one. */
typedef ql_status ql_decoder_fn(const ql_decoder_step *step,
                                const ql_strings *in, ql_strings *out);

struct ql_decoder_step {
    ql_decoder_fn *run;
    char *from;       /* Replace: what is looked for; Strip: what is cut */
    char *to;         /* Replace: what is put in */
    size_t cut_front; /* Strip: at most so many at the front, */
    size_t cut_back;  /* and at the back */
    ql_metaspace metaspace;
};

/* All zero: none, tokens are joined with a space between them. */
typedef struct ql_decoder {
    ql_decoder_step *steps;
    size_t n;
    bool given;
} ql_decoder;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming the step;
 * QL_ENOMEM. */
ql_status ql_decoder_init(ql_decoder *d, const json_t *json, const char *where);
void ql_decoder_free(ql_decoder *d);

/* Appends to out the text of a list of contents, which is used up. Errors:
 * those of ql_strings_push. */
ql_status ql_decoder_run(const ql_decoder *d, ql_strings *tokens, ql_buf *out);

#endif
