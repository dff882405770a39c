/* The decoder: how the contents of tokens become text again. It is a row of
 * steps, each of which makes a list of strings into another. */
#ifndef QL_TEXT_DECODER_H
#define QL_TEXT_DECODER_H

#include "src/text/metaspace.h"
#include "src/text/part.h"
#include "src/text/pattern.h"
#include "src/text/strings.h"

typedef struct ql_decoder_step ql_decoder_step;

/* Writes the list as the step has it to an empty one. */
typedef ql_status ql_decoder_fn(const ql_decoder_step *step, ql_regex_work *w,
                                const ql_strings *in, ql_strings *out);

struct ql_decoder_step {
    ql_decoder_fn *run;
    ql_pattern pattern; /* Replace: what is looked for */
    char *from;         /* Strip: what is cut; others: a prefix, a suffix */
    char *to;           /* Replace: what is put in */
    char *delimiter;    /* CTC: what stands between words */
    bool cleanup;       /* spaces before punctuation go */
    size_t cut_front;   /* Strip: at most so many at the front, */
    size_t cut_back;    /* and at the back */
    ql_metaspace metaspace;
};

/* Steps that have files of their own: those that make bytes of tokens, */
ql_decoder_fn ql_decode_byte_fallback;
ql_decoder_fn ql_decode_byte_level;

/* and those that put spaces between words. */
ql_decoder_fn ql_decode_wordpiece;
ql_decoder_fn ql_decode_suffix;
ql_decoder_fn ql_decode_ctc;

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
 * those of ql_strings_push and of ql_regex_find. */
ql_status ql_decoder_run(const ql_decoder *d, ql_strings *tokens, ql_buf *out);

#endif
