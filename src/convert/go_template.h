/* A chat template in Jinja as one in Go's language, as Ollama takes it.
 *
 * The text of conversations is looked at, not the template: what it puts
 * around each message is found with messages that are known, and counts only
 * if conversations of all kinds come out of these pieces as the template
 * writes them. Source: ollama, template/template.go, docs/template.md. */
#ifndef QL_CONVERT_GO_TEMPLATE_H
#define QL_CONVERT_GO_TEMPLATE_H

#include "src/text/chat_file.h"

typedef struct ql_go_template {
    char *text;        /* in Go's language; NULL: there is no such form */
    bool folds_system; /* the template shows no system message: it is put before
                          the first question, as in training */
    bool shows_tools;  /* the template does, but not what it is here */
} ql_go_template;

/* bos: a text that is left out at the start, since Ollama puts the token
 * there; or NULL. tokens: as ql_chat_tokens_read gives them. Errors: QL_ENOMEM;
 * QL_EFORMAT and QL_EUNSUPPORTED for what is no template. */
ql_status ql_go_template_init(ql_go_template *g, const ql_chat_source *source,
                              const json_t *tokens, const char *bos);
void ql_go_template_free(ql_go_template *g);

#endif
