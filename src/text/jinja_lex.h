/* A template's text as tokens: what is printed as it stands, and the words of
 * tags and expressions. Blanks around tags are taken away here, by the rules
 * of jinja2 with trim_blocks and lstrip_blocks. */
#ifndef QL_TEXT_JINJA_LEX_H
#define QL_TEXT_JINJA_LEX_H

#include "qlora/status.h"
#include "src/text/jinja_mem.h"
#include "src/text/jinja_value.h"

typedef enum ql_jtoken_kind {
    QL_J_T_TEXT,
    QL_J_T_NAME,
    QL_J_T_STRING,
    QL_J_T_INT,
    QL_J_T_FLOAT,
    QL_J_T_SIGN, /* an operator or bracket */
    QL_J_T_PRINT,
    QL_J_T_PRINT_END,
    QL_J_T_TAG,
    QL_J_T_TAG_END,
    QL_J_T_END
} ql_jtoken_kind;

typedef struct ql_jtoken {
    ql_jtoken_kind kind;
    size_t line;   /* from 1 */
    ql_jval value; /* of a number; else the text, escapes resolved */
} ql_jtoken;

enum {
    QL_JINJA_BRACKETS = 90 /* brackets, or tags, within each other */
};

/* Tokens of text[len], the last of which is QL_J_T_END. Borrowed from mem.
 * where: what errors name. Errors: QL_EFORMAT; QL_EUNSUPPORTED; QL_ENOMEM. */
ql_status ql_jinja_lex(ql_jinja_mem *mem, const char *text, size_t len,
                       const char *where, ql_jtoken **out);

#endif
