/* Templates as trees. */
#ifndef QL_TEXT_JINJA_PARSE_H
#define QL_TEXT_JINJA_PARSE_H

#include "src/text/jinja_lex.h"
#include "src/text/jinja_node.h"

/* Parses text[len] to a list of statements, NULL for an empty one. Borrowed
 * from mem. where: what errors name. Errors: QL_EFORMAT; QL_EUNSUPPORTED for
 * what jinja2 has and we do not; QL_ENOMEM. */
ql_status ql_jinja_parse(ql_jinja_mem *mem, const char *text, size_t len,
                         const char *where, ql_jnode **out);

/* A filter or test that does not exist. Where it may never be met (below an
 * if) that is an error only when it is. */
typedef struct ql_junknown {
    const ql_jnode *node;
    bool soft;
    struct ql_junknown *before;
} ql_junknown;

typedef struct ql_jparser {
    ql_jinja_mem *mem;
    const char *where;
    const ql_jtoken *t; /* the next token */
    int depth;          /* of what is being parsed */
    int loops;          /* that break would leave */
    bool soft;
    ql_junknown *unknown; /* the last one */
    ql_jnode *macro;      /* innermost, NULL outside */
    ql_jval tag;          /* innermost that needs an end; absent outside */
    const char *ends;     /* its ends, as errors list them */
} ql_jparser;

/* For the two files of the parser. All fail as ql_jinja_parse does. */

ql_status ql_jparse_fail(const ql_jparser *p, const char *fmt, ...)
    QL_PRINTF(2, 3);

/* A new node at the next token's line. */
ql_status ql_jparse_node(ql_jparser *p, ql_jnode_kind kind, ql_jnode **out);

/* What the next token is. */
bool ql_jparse_is_sign(const ql_jparser *p, const char *sign);
bool ql_jparse_is_name(const ql_jparser *p, const char *name);

/* Steps over it if it is that. */
bool ql_jparse_skip_sign(ql_jparser *p, const char *sign);
bool ql_jparse_skip_name(ql_jparser *p, const char *name);

/* Steps over it, or fails. */
ql_status ql_jparse_sign(ql_jparser *p, const char *sign);
ql_status ql_jparse_name(ql_jparser *p, ql_jval *out);
ql_status ql_jparse_kind(ql_jparser *p, ql_jtoken_kind kind);

/* The next token, as errors call it. */
const char *ql_jparse_describe(const ql_jparser *p, char text[64]);

/* Counts what is nested; each enter needs a leave unless it fails. */
ql_status ql_jparse_enter(ql_jparser *p);
void ql_jparse_leave(ql_jparser *p);

/* An expression: with "x if y" or without; several with commas between them
 * are a tuple, which ends at the name end, if that is not NULL. */
ql_status ql_jparse_expr(ql_jparser *p, bool conditions, ql_jnode **out);
ql_status ql_jparse_tuple(ql_jparser *p, bool conditions, const char *end,
                          ql_jnode **out);

/* A chain of filters on in, the first without its | if begun. */
ql_status ql_jparse_filters(ql_jparser *p, ql_jnode *in, bool begun,
                            ql_jnode **out);

/* What can be assigned to: a name, several, or ns.name where allowed. */
ql_status ql_jparse_target(ql_jparser *p, bool namespaces, const char *end,
                           ql_jnode **out);

#endif
