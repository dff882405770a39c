/* The normalizer: what is done to a text before it is split. */
#ifndef QL_TEXT_NORMALIZE_H
#define QL_TEXT_NORMALIZE_H

#include "src/text/charsmap.h"
#include "src/text/normal_chars.h"
#include "src/text/normal_form.h"
#include "src/text/pattern.h"
#include "src/text/view.h"

/* Scratch of one thread. */
typedef struct ql_normal_work {
    ql_draft drafts[2];
    ql_buf points;
    ql_regex_work regex;
} ql_normal_work;

void ql_normal_work_init(ql_normal_work *w);
void ql_normal_work_free(ql_normal_work *w);

typedef struct ql_normal_step ql_normal_step;

/* Writes a text of v.n > 0 bytes, as the step has it, to an empty draft. */
typedef ql_status ql_normal_fn(const ql_normal_step *step, ql_view v,
                               ql_normal_work *w, ql_draft *out);

struct ql_normal_step {
    ql_normal_fn *run;
    ql_pattern pattern;         /* Replace: what is looked for */
    char *text;                 /* Replace, Prepend: what is put in */
    size_t text_len;            /* bytes of it */
    ql_normal_char_fn *by_char; /* what a character becomes */
    ql_normal_form form;        /* NFC and the like */
    ql_charsmap charsmap;       /* Precompiled */
    bool left, right;           /* Strip: at which ends */
};

/* All zero: no normalizer. */
typedef struct ql_normalizer {
    ql_normal_step *steps;
    size_t n;
} ql_normalizer;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming the step;
 * QL_ENOMEM. */
ql_status ql_normalizer_init(ql_normalizer *n, const json_t *json,
                             const char *where);
void ql_normalizer_free(ql_normalizer *n);

/* Applies all steps. *out is v itself, or borrowed from w. Errors: those of
 * ql_draft_copy and ql_regex_find. */
ql_status ql_normalizer_run(const ql_normalizer *n, ql_view v,
                            ql_normal_work *w, ql_view *out);

#endif
