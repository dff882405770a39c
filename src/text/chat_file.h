/* Where chat templates come from: the files of a model folder, or the user. */
#ifndef QL_TEXT_CHAT_FILE_H
#define QL_TEXT_CHAT_FILE_H

#include "src/text/chat.h"

/* A template that was found. */
typedef struct ql_chat_source {
    char *text; /* [len], and a NUL that does not count */
    size_t len;
    char *where; /* what errors are to name */
} ql_chat_source;

/* Finds a template. given, if not NULL, is what the user asked for: the
 * template itself (it has a brace in it), the path of a file, or the name of
 * one of the folder's templates; dir is not looked at for the first two.
 *
 * Else the folder decides, as in transformers. Its templates are those of
 * chat_template.jinja ("default") and additional_chat_templates/NAME.jinja;
 * where there is no such file, those of "chat_template" in
 * tokenizer_config.json, a string ("default") or a list of {"name",
 * "template"}; else that of chat_template.json. Of them, "tool_use" is taken
 * if there are tools, and "default" if there are none or there is no
 * "tool_use".
 *
 * Owned: ql_chat_source_free, which is fine after a failure too. Errors:
 * QL_ENOTFOUND when there is no template, or none of the name given;
 * QL_EUNSUPPORTED when there are templates, but no "default"; QL_EFORMAT,
 * QL_EIO, QL_ENOMEM. */
ql_status ql_chat_source_find(ql_chat_source *s, const char *dir,
                              const char *given, bool tools);
void ql_chat_source_free(ql_chat_source *s);

/* The special tokens of a folder by name, as strings (additional ones as a
 * list of strings), which a template sees as variables: of
 * tokenizer_config.json; what it does not mention, of special_tokens_map.json.
 * Owned: json_decref. Errors: QL_EFORMAT, QL_EIO, QL_ENOMEM. */
ql_status ql_chat_tokens_read(json_t **out, const char *dir);

#endif
