/* Operators on values, with Python's rules and Python's complaints. An
 * undefined operand raises what jinja2 raises. Errors of all: QL_EFORMAT,
 * QL_ENOMEM. */
#ifndef QL_TEXT_JINJA_OPS_H
#define QL_TEXT_JINJA_OPS_H

#include "src/text/jinja_state.h"

typedef enum ql_jop {
    QL_J_EQ,
    QL_J_NE,
    QL_J_LT,
    QL_J_LE,
    QL_J_GT,
    QL_J_GE,
    QL_J_IN,
    QL_J_NOT_IN,
    QL_J_ADD,
    QL_J_SUB,
    QL_J_MUL,
    QL_J_DIV,
    QL_J_FLOORDIV,
    QL_J_MOD,
    QL_J_POW,
    QL_J_CONCAT,
    QL_J_NEG,
    QL_J_POS
} ql_jop;

/* a == b; a op b, where op is one of the first eight. */
ql_status ql_jinja_equal(ql_jinja *j, ql_jval a, ql_jval b, bool *out);
ql_status ql_jinja_compare(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                           bool *out);

/* The order that sorts keys[n]: stable; reverse: largest first. */
ql_status ql_jinja_order(ql_jinja *j, const ql_jval *keys, size_t n,
                         bool reverse, size_t *order);

/* a op b for arithmetic and ~; op a for the last two. */
ql_status ql_jinja_binary(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                          ql_jval *out);
ql_status ql_jinja_unary(ql_jinja *j, ql_jop op, ql_jval a, ql_jval *out);

/* A string or list n times over. */
ql_status ql_jinja_repeat(ql_jinja *j, ql_jval v, int64_t n, ql_jval *out);

/* Where a string lies in another, in bytes; SIZE_MAX if nowhere. */
ql_status ql_jinja_find(ql_jinja *j, ql_jval s, ql_jval what, size_t *at);

#endif
