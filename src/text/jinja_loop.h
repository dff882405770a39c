/* Loops, and the variable loop that their bodies see. */
#ifndef QL_TEXT_JINJA_LOOP_H
#define QL_TEXT_JINJA_LOOP_H

#include "src/text/jinja_node.h"

/* Elements are tested by the loop's condition one by one, as they are reached
 * or looked ahead at: the body may change what the condition sees. */
struct ql_jloop {
    const ql_jnode *node;
    ql_jscope *outer;      /* where the loop stands */
    const ql_jlist *items; /* what is looped over */
    size_t next;           /* the first of them that was not looked at */
    bool tested;           /* all that are left pass the condition */
    int64_t index0;
    int64_t length; /* -1: not known yet */
    int depth0;
    ql_jval before;  /* absent where there is none */
    ql_jval current; /* as above */
    ql_jval after;   /* looked ahead at; absent where it was not */
    ql_jval changed; /* the last arguments of loop.changed() */
};

ql_status ql_jloop_exec(ql_jinja *j, const ql_jnode *n);

/* An attribute; *out stays absent if there is none. */
ql_status ql_jloop_attr(ql_jinja *j, ql_jloop *l, ql_jval name, ql_jval *out);

/* loop(elements) of a recursive loop: what the loop prints for them. */
ql_status ql_jloop_call(ql_jinja *j, const ql_jloop *l, const ql_jargs *args,
                        ql_jval *out);

#endif
