/* Chat templates: a conversation as the text that the model was trained on.
 * The language is Jinja, as transformers runs it: jinja2's immutable sandbox
 * with trim_blocks, lstrip_blocks, break and continue, {% generation %},
 * tojson as json.dumps writes, raise_exception and strftime_now. */
#ifndef QL_TEXT_CHAT_H
#define QL_TEXT_CHAT_H

#include <time.h>

#include <jansson.h>

#include "src/base/buf.h"

typedef struct ql_chat_template ql_chat_template;

/* Compiles text[len]. where: what errors name, a path or so; it is copied.
 * Owned: ql_chat_template_close. Errors: QL_EFORMAT for what is no template,
 * with its line; QL_EUNSUPPORTED for what jinja2 has and we do not, by name;
 * QL_ENOMEM. */
ql_status ql_chat_template_open(ql_chat_template **out, const char *text,
                                size_t len, const char *where);
void ql_chat_template_close(ql_chat_template **t);

/* What a template is given. All is borrowed for the time of the call. */
typedef struct ql_chat_input {
    const json_t *messages;     /* a list; NULL: none */
    const json_t *tools;        /* NULL: none, as when a call has no tools */
    const json_t *documents;    /* as above */
    const json_t *tokens;       /* object: "bos_token": "<s>", ...; or NULL */
    const json_t *extra;        /* object of more variables, or NULL; they
                                   replace all of the above */
    bool add_generation_prompt; /* let the text end where an answer begins */
    const struct tm *now; /* what strftime_now tells; NULL: the clock's time */
} ql_chat_input;

/* The bytes [from, to) of a text. */
typedef struct ql_chat_span {
    size_t from;
    size_t to;
} ql_chat_span;

/* Appends the text to an empty buffer. spans: also the parts inside
 * {% generation %}, in order, as ql_chat_span; NULL: not wanted. On failure
 * both are empty. Safe from several threads at once.
 *
 * Errors: QL_EFORMAT when the template fails (raise_exception: with its own
 * sentence) or meets a limit of steps, depth, output or memory;
 * QL_EUNSUPPORTED for what jinja2 has and we do not, and for {% generation %}
 * where a place in the text is not known yet (a macro, a set block), if spans
 * are wanted; QL_ENOMEM. */
ql_status ql_chat_render(const ql_chat_template *t, const ql_chat_input *in,
                         ql_buf *text, ql_buf *spans);

#endif
