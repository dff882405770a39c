/* The pre-tokenizer: cuts a text into words that the model encodes one by
 * one. It is a row of steps; each takes a piece and hands on one or more,
 * from the last step to the model, before it takes the next. */
#ifndef QL_TEXT_PRETOKENIZE_H
#define QL_TEXT_PRETOKENIZE_H

#include "src/text/metaspace.h"
#include "src/text/split.h"

typedef struct ql_pre_step ql_pre_step;
typedef struct ql_pre_work ql_pre_work;

/* Takes a piece of v.n > 0 bytes, hands on what comes of it. */
typedef ql_status ql_pre_fn(const ql_pre_step *step, ql_pre_work *w, ql_view v);

struct ql_pre_step {
    ql_pre_fn *run;
    size_t index;           /* among the steps */
    ql_split split;         /* where pieces are cut */
    ql_metaspace metaspace; /* Metaspace */
};

/* All zero: null, a text is one word. */
typedef struct ql_pretokenizer {
    ql_pre_step *steps;
    size_t n;
} ql_pretokenizer;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming what;
 * QL_ENOMEM. */
ql_status ql_pretokenizer_init(ql_pretokenizer *p, const json_t *json,
                               const char *where);
void ql_pretokenizer_free(ql_pretokenizer *p);

typedef ql_status ql_pre_word_fn(void *ctx, ql_view word);

/* Scratch of one thread, and who takes the words. */
struct ql_pre_work {
    const ql_pretokenizer *p;
    ql_draft *drafts; /* [p->n]: text that a step has rewritten */
    ql_regex_work regex;
    bool begins; /* original offset 0 is where a document begins */
    ql_pre_word_fn *word;
    void *ctx;
};

/* Errors: QL_ENOMEM. */
ql_status ql_pre_work_init(ql_pre_work *w, const ql_pretokenizer *p);
void ql_pre_work_free(ql_pre_work *w);

/* Hands the words of v to w->word. Errors: those of it, of ql_draft_copy and
 * of ql_regex_find. */
ql_status ql_pretokenizer_run(ql_pre_work *w, ql_view v);

#endif
