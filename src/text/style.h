/* How a chat template writes turns: found out once, by rendering a few short
 * conversations with words in them that are easy to find again. */
#ifndef QL_TEXT_STYLE_H
#define QL_TEXT_STYLE_H

#include "src/text/chat_model.h"
#include "src/text/talk.h"

/* What a call of a tool must look like for the template to show it. */
typedef struct ql_call_style {
    const char *content; /* of a turn that only calls: NULL: no such key;
                            "null"; or "" */
    bool objects;        /* arguments are objects, not strings of JSON */
    bool ids;            /* calls and results need an "id" and "tool_call_id" */
} ql_call_style;

typedef struct ql_style {
    const ql_chat *chat; /* borrowed */
    bool marks;          /* it has {% generation %} */
    bool known;    /* it could be tried; what follows up to the trailer says
                     nothing otherwise */
    bool prompts;  /* it ends in a prompt for an answer if asked to */
    char *head;    /* without that: what stands between the text so far and an
                    answer; "" where the text always ends in a prompt */
    char *trailer; /* what stands behind the last turn and is no part of it */
    char *opens;   /* what the prompt has and a turn has not: the tag by which
                      a thought begins, and white space; "" for none */
    const ql_call_style *calls; /* NULL: calls are unknown to it */
    bool lists;                 /* it shows which tools there are */
    bool systems;               /* it shows a system turn */
    bool developers;            /* and one of a developer; else that is taken
                                   as a system turn */
} ql_style;

/* tools: of the template for conversations with tools. chat must outlive s.
 * Owned: ql_style_free, which is fine after a failure too. Errors:
 * QL_ENOMEM. */
ql_status ql_style_init(ql_style *s, const ql_chat *chat, bool tools,
                        const ql_tokenizer *tok);
void ql_style_free(ql_style *s);

/* What a conversation has that the template does not show, and that was
 * therefore written otherwise. */
typedef struct ql_style_lacks {
    bool tools;   /* tools, calls of them and results: as text */
    bool systems; /* system turns: before what the next turn says */
} ql_style_lacks;

/* Brings a conversation into the form that the template shows. What it lacks is
 * set in *lacks, and left as it is otherwise. Errors: QL_EUNSUPPORTED for a
 * message of a role that the template leaves out (see text/role.h),
 * QL_ENOMEM. */
ql_status ql_style_fit(const ql_style *s, ql_talk *t, ql_style_lacks *lacks);

/* Appends the first n messages as the template writes them. prompt: let the
 * text end where an answer begins. spans: NULL, or the parts inside
 * {% generation %}. Errors: those of ql_chat_render. */
ql_status ql_style_write(const ql_style *s, const ql_talk *t, size_t n,
                         bool prompt, ql_buf *text, ql_buf *spans);

/* A word that no text has and that no template changes. */
extern const char ql_style_word[];

#endif
