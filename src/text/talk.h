/* A conversation as chat templates take it, whatever dialect it was written
 * in: roles, contents and calls of tools are brought into one form. */
#ifndef QL_TEXT_TALK_H
#define QL_TEXT_TALK_H

#include "src/base/field.h"

typedef struct ql_talk {
    json_t *messages;  /* a list of {"role", "content", ...}; all its own */
    json_t *tools;     /* NULL: none */
    json_t *documents; /* NULL: none */
    json_t *extra;     /* more variables for the template; NULL: none */
    ql_buf trained;    /* uint8_t for each message: 1 for a turn of the
                          assistant that is to be learnt */
} ql_talk;

/* Errors: QL_ENOMEM; QL_OK leaves an empty conversation. Owned: ql_talk_free,
 * which is fine after a failure too. */
ql_status ql_talk_init(ql_talk *t);
void ql_talk_free(ql_talk *t);

/* Appends a turn of text. */
ql_status ql_talk_say(ql_talk *t, const char *role, const char *text,
                      size_t len, bool trained);

/* Appends a turn that a record has as an object: the role in "role" or "from",
 * the content in "content" or "value", as a string or a list of parts that are
 * text; "tool_calls", or a "function_call" there or as the role. A "weight" of
 * 0 takes it out of the training, as trained == false does. What else is there
 * is kept for the template. strict: the role must be one that we know.
 *
 * Errors: QL_EFORMAT, QL_EUNSUPPORTED for what is not text, QL_ENOMEM. */
ql_status ql_talk_add(ql_talk *t, const json_t *turn, bool trained,
                      bool strict);

/* Appends a list of them, or a single one. key: what errors name. */
ql_status ql_talk_add_all(ql_talk *t, const json_t *turns, const char *key,
                          bool trained, bool strict);

/* Takes over what a record has beside its turns: "system" or "system_prompt",
 * if the first turn is no system turn; "tools" or "functions", "documents",
 * "chat_template_kwargs". */
ql_status ql_talk_frame(ql_talk *t, const json_t *record);

/* The role of a message: "assistant". Borrowed; "" for one beyond the last. */
const char *ql_talk_role(const ql_talk *t, size_t i);

#endif
