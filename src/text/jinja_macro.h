/* Macros: parts of a template that are called, and return what they print. */
#ifndef QL_TEXT_JINJA_MACRO_H
#define QL_TEXT_JINJA_MACRO_H

#include "src/text/jinja_node.h"

struct ql_jmacro {
    const ql_jnode *node;
    ql_jscope *scope; /* where it was defined, which it sees */
};

/* The macro of a node, in the scope that is set. */
ql_status ql_jmacro_make(ql_jinja *j, const ql_jnode *n, ql_jval *out);

ql_status ql_jmacro_call(ql_jinja *j, const ql_jmacro *m, const ql_jargs *args,
                         ql_jval *out);

ql_jval ql_jmacro_name(const ql_jmacro *m);

/* An attribute; *out stays absent if there is none. */
ql_status ql_jmacro_attr(ql_jinja *j, const ql_jmacro *m, ql_jval name,
                         ql_jval *out);

#endif
