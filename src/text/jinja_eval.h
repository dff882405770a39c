/* Running a parsed template. Errors of all: QL_EFORMAT, QL_EUNSUPPORTED,
 * QL_ENOMEM. */
#ifndef QL_TEXT_JINJA_EVAL_H
#define QL_TEXT_JINJA_EVAL_H

#include "src/text/jinja_node.h"

ql_status ql_jinja_eval(ql_jinja *j, const ql_jnode *n, ql_jval *out);

/* The statements of a list, in the scope that is set. */
ql_status ql_jinja_exec(ql_jinja *j, const ql_jnode *list);

/* The same in a scope of their own within another. */
ql_status ql_jinja_exec_in(ql_jinja *j, ql_jscope *parent,
                           const ql_jnode *list);

/* Calls a value. */
ql_status ql_jinja_call(ql_jinja *j, ql_jval callee, const ql_jargs *args,
                        ql_jval *out);

/* The call of a node, with one more argument named caller unless it is
 * absent. */
ql_status ql_jinja_eval_call(ql_jinja *j, const ql_jnode *n, ql_jval caller,
                             ql_jval *out);

/* Assigns to a target: a name, several, an attribute of a namespace. */
ql_status ql_jinja_assign(ql_jinja *j, const ql_jnode *target, ql_jval v);

/* From capture to captured, what is printed becomes a string instead. */
size_t ql_jinja_capture(ql_jinja *j);
ql_status ql_jinja_captured(ql_jinja *j, size_t mark, ql_jval *out);

#endif
