/* Texts as Ollama's Modelfile says them. Source: ollama, parser/parser.go. */
#ifndef QL_CONVERT_MODELFILE_H
#define QL_CONVERT_MODELFILE_H

#include "src/base/buf.h"

/* A text can be said if Ollama takes it as it is: it leaves characters out that
 * are not printed, and three quotes at the end of a line end the text. */
bool ql_modelfile_can(const char *text);

/* Appends such a text as the value of a command. There are no escapes: it
 * stands in quotes, in three where it has quotes or lines itself. Errors: those
 * of ql_buf_append. */
ql_status ql_modelfile_quote(ql_buf *out, const char *text);

#endif
