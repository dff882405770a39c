/* The text of ids as they come: in whole characters, never taken back, and up
 * to a stop text. The time for a token does not grow with the text: only ids
 * behind a place from which text is clear are decoded again. */
#ifndef QL_GEN_SHOWN_H
#define QL_GEN_SHOWN_H

#include "qlora/generate.h"
#include "src/base/buf.h"

typedef struct ql_shown {
    const ql_tokenizer *tok;
    const char *const *stop; /* [n_stop] */
    size_t n_stop;
    size_t from;  /* ids from here on are decoded */
    size_t clear; /* up to here their text is */
    char *known;
    size_t taken; /* bytes behind that which are in text */
    ql_buf text;  /* the new text so far */
    size_t given; /* bytes of it handed out */
    bool stopped; /* text ends before a stop text */
} ql_shown;

/* For what follows the first n ids. Errors: QL_ENOMEM. */
ql_status ql_shown_init(ql_shown *s, const ql_tokenizer *tok,
                        const ql_generate_options *opt, const int32_t *ids,
                        size_t n);
void ql_shown_free(ql_shown *s);

/* Takes up what ids[n] has beyond those before: as far as no further id can
 * change it, or with last all of it. *piece of *len bytes may be handed out
 * now: what cannot become a stop text. Borrowed until the next call. Errors:
 * QL_EFORMAT beyond a limit for texts, QL_ENOMEM. */
ql_status ql_shown_take(ql_shown *s, const int32_t *ids, size_t n, bool last,
                        const char **piece, size_t *len);

#endif
