/* Statements: a function for each kind of node. */
#include "src/text/jinja_access.h"
#include "src/text/jinja_eval.h"
#include "src/text/jinja_loop.h"
#include "src/text/jinja_macro.h"
#include "src/text/jinja_text.h"

typedef ql_status exec_fn(ql_jinja *j, const ql_jnode *n);

size_t ql_jinja_capture(ql_jinja *j)
{
    j->captures++;
    return j->out.len;
}

ql_status ql_jinja_captured(ql_jinja *j, size_t mark, ql_jval *out)
{
    QL_TRY(ql_jinja_string(j, j->out.data ? j->out.data + mark : "",
                           j->out.len - mark, out));
    j->captures--;
    j->out.len = mark;
    if (j->out.data) {
        j->out.data[mark] = '\0';
    }
    return QL_OK;
}

static ql_status assign_attr(ql_jinja *j, const ql_jnode *target, ql_jval v)
{
    const ql_jnode name = {
        .kind = QL_J_N_NAME, .line = target->line, .value = target->value};
    ql_jval ns;

    QL_TRY(ql_jinja_eval(j, &name, &ns));
    if (ns.kind != QL_J_NAMESPACE) {
        QL_RAISE(j, "TemplateRuntimeError",
                 "cannot assign attribute on non-namespace object");
    }
    return ql_jinja_put(j, ns.dict, target->a->value, v);
}

static ql_status unpack(ql_jinja *j, const ql_jnode *targets, ql_jval v)
{
    size_t want = 0;
    ql_jlist *list;

    if (!ql_jinja_can_iterate(v)) {
        QL_RAISE(j, "TypeError", "cannot unpack non-iterable %s object",
                 ql_jval_type(v));
    }
    QL_TRY(ql_jinja_iterate(j, v, &list));
    for (const ql_jnode *t = targets; t; t = t->next) {
        want++;
    }
    if (list->n < want) {
        QL_RAISE(j, "ValueError",
                 "not enough values to unpack (expected %zu, got %zu)", want,
                 list->n);
    }
    if (list->n > want) {
        QL_RAISE(j, "ValueError", "too many values to unpack (expected %zu)",
                 want);
    }
    for (size_t i = 0; i < want; i++) {
        QL_TRY(ql_jinja_assign(j, targets, list->v[i]));
        targets = targets->next;
    }
    return QL_OK;
}

ql_status ql_jinja_assign(ql_jinja *j, const ql_jnode *target, ql_jval v)
{
    switch (target->kind) {
    case QL_J_N_NAME:
        return ql_jinja_set(j, target->value, v);
    case QL_J_N_NSREF:
        return assign_attr(j, target, v);
    default:
        return unpack(j, target->list, v);
    }
}

static ql_status exec_text(ql_jinja *j, const ql_jnode *n)
{
    return ql_buf_append(&j->out, n->value.s, n->value.n);
}

static ql_status exec_print(ql_jinja *j, const ql_jnode *n)
{
    ql_jval v;

    QL_TRY(ql_jinja_eval(j, n->a, &v));
    j->line = n->line;
    return ql_jinja_put_str(j, &j->out, v);
}

static ql_status exec_if(ql_jinja *j, const ql_jnode *n)
{
    for (;;) {
        ql_jval v;

        QL_TRY(ql_jinja_eval(j, n->a, &v));
        if (ql_jval_truth(v)) {
            return ql_jinja_exec(j, n->body);
        }
        if (!n->other || n->other->kind != QL_J_N_IF ||
            !(n->other->flags & QL_J_ELIF)) {
            return ql_jinja_exec(j, n->other);
        }
        n = n->other;
    }
}

static ql_status exec_set(ql_jinja *j, const ql_jnode *n)
{
    ql_jval v;

    QL_TRY(ql_jinja_eval(j, n->b, &v));
    j->line = n->line;
    return ql_jinja_assign(j, n->a, v);
}

/* What a body prints, through filters. It is of no use when the body leaves
 * the loop around it. */
static ql_status filtered(ql_jinja *j, const ql_jnode *body,
                          const ql_jnode *filter, ql_jval *out)
{
    const ql_jval outer = j->input;
    const size_t mark = ql_jinja_capture(j);

    QL_TRY(ql_jinja_exec_in(j, j->scope, body));
    QL_TRY(ql_jinja_captured(j, mark, &j->input));
    QL_TRY(ql_jinja_eval(j, filter, out));
    j->input = outer;
    return QL_OK;
}

static ql_status exec_set_block(ql_jinja *j, const ql_jnode *n)
{
    ql_jval v;

    QL_TRY(filtered(j, n->body, n->b, &v));
    j->line = n->line;
    return j->flow == QL_J_NEXT ? ql_jinja_assign(j, n->a, v) : QL_OK;
}

static ql_status exec_filter_block(ql_jinja *j, const ql_jnode *n)
{
    ql_jval v;

    QL_TRY(filtered(j, n->body, n->a, &v));
    return j->flow == QL_J_NEXT ? ql_jinja_put_str(j, &j->out, v) : QL_OK;
}

static ql_status exec_macro(ql_jinja *j, const ql_jnode *n)
{
    ql_jval macro;

    QL_TRY(ql_jmacro_make(j, n, &macro));
    return ql_jinja_set(j, n->value, macro);
}

static ql_status exec_call_block(ql_jinja *j, const ql_jnode *n)
{
    ql_jval caller;
    ql_jval v;

    QL_TRY(ql_jmacro_make(j, n->b, &caller));
    QL_TRY(ql_jinja_eval_call(j, n->a, caller, &v));
    return ql_jinja_put_str(j, &j->out, v);
}

static ql_status exec_with(ql_jinja *j, const ql_jnode *n)
{
    ql_jscope *outer = j->scope;
    ql_jscope *inner;

    QL_TRY(ql_jinja_scope(j, outer, &inner));
    for (const ql_jnode *set = n->list; set; set = set->next) {
        ql_jval v;

        QL_TRY(ql_jinja_eval(j, set->b, &v));
        j->scope = inner;
        QL_TRY(ql_jinja_assign(j, set->a, v));
        j->scope = outer;
    }
    j->scope = inner;
    QL_TRY(ql_jinja_exec(j, n->body));
    j->scope = outer;
    return QL_OK;
}

static ql_status exec_generation(ql_jinja *j, const ql_jnode *n)
{
    const size_t from = j->out.len;

    if (j->want_spans && j->captures > 0) {
        return ql_jinja_refuse(j, "the tag 'generation' is not supported inside"
                                  " a macro, call, filter or set block");
    }
    QL_TRY(ql_jinja_exec_in(j, j->scope, n->body));
    if (j->want_spans) {
        const size_t span[2] = {from, j->out.len};

        QL_TRY(ql_buf_append(&j->spans, span, sizeof(span)));
    }
    return QL_OK;
}

static ql_status exec_break(ql_jinja *j, const ql_jnode *n)
{
    (void)n;
    j->flow = QL_J_BREAK;
    return QL_OK;
}

static ql_status exec_continue(ql_jinja *j, const ql_jnode *n)
{
    (void)n;
    j->flow = QL_J_CONTINUE;
    return QL_OK;
}

static exec_fn *const execs[QL_J_N_KINDS] = {
    [QL_J_N_TEXT] = exec_text,
    [QL_J_N_PRINT] = exec_print,
    [QL_J_N_IF] = exec_if,
    [QL_J_N_FOR] = ql_jloop_exec,
    [QL_J_N_SET] = exec_set,
    [QL_J_N_SET_BLOCK] = exec_set_block,
    [QL_J_N_MACRO] = exec_macro,
    [QL_J_N_CALL_BLOCK] = exec_call_block,
    [QL_J_N_FILTER_BLOCK] = exec_filter_block,
    [QL_J_N_WITH] = exec_with,
    [QL_J_N_GENERATION] = exec_generation,
    [QL_J_N_BREAK] = exec_break,
    [QL_J_N_CONTINUE] = exec_continue,
};

ql_status ql_jinja_exec(ql_jinja *j, const ql_jnode *list)
{
    QL_TRY(ql_jinja_enter(j));
    for (const ql_jnode *n = list; n && j->flow == QL_J_NEXT; n = n->next) {
        j->line = n->line;
        QL_TRY(ql_jinja_spend(j, 1));
        QL_TRY(execs[n->kind](j, n));
    }
    ql_jinja_leave(j);
    return QL_OK;
}

ql_status ql_jinja_exec_in(ql_jinja *j, ql_jscope *parent, const ql_jnode *list)
{
    ql_jscope *outer = j->scope;

    QL_TRY(ql_jinja_scope(j, parent, &j->scope));
    QL_TRY(ql_jinja_exec(j, list));
    j->scope = outer;
    return QL_OK;
}
