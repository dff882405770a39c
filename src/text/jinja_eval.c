/* Expressions: a function for each kind of node. */
#include "src/text/jinja_eval.h"

#include "src/text/jinja_access.h"
#include "src/text/jinja_loop.h"
#include "src/text/jinja_macro.h"
#include "src/text/jinja_tables.h"

typedef ql_status eval_fn(ql_jinja *j, const ql_jnode *n, ql_jval *out);

static ql_status eval_const(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    (void)j;
    *out = n->value;
    return QL_OK;
}

static ql_status eval_input(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    (void)n;
    *out = j->input;
    return QL_OK;
}

static ql_status eval_name(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    const ql_jentry *e;

    for (const ql_jscope *s = j->scope; s; s = s->parent) {
        for (const ql_jbinding *b = s->first; b; b = b->next) {
            if (ql_jval_same_text(b->name, n->value)) {
                *out = b->value;
                return QL_OK;
            }
        }
    }
    e = ql_jinja_function(n->value);
    if (e && (e->flags & QL_J_MISSING)) {
        return ql_jinja_refuse(j, "%s() is not supported", e->name);
    }
    if (e) {
        *out = (ql_jval){.kind = QL_J_FUNCTION, .function = e};
        return QL_OK;
    }
    return ql_jinja_undefined(j, (ql_jval){.kind = QL_J_ABSENT}, n->value, out);
}

static ql_status eval_list(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_list(j, 0, &list));
    for (const ql_jnode *e = n->list; e; e = e->next) {
        ql_jval v;

        QL_TRY(ql_jinja_eval(j, e, &v));
        QL_TRY(ql_jinja_push(j, list, v));
    }
    *out = ql_jval_list(list);
    out->kind = n->kind == QL_J_N_TUPLE ? QL_J_TUPLE : QL_J_LIST;
    return QL_OK;
}

static ql_status eval_dict(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval dict;

    QL_TRY(ql_jinja_dict(j, 0, &dict));
    for (const ql_jnode *pair = n->list; pair; pair = pair->next) {
        ql_jval k;
        ql_jval v;

        QL_TRY(ql_jinja_eval(j, pair->a, &k));
        QL_TRY(ql_jinja_eval(j, pair->b, &v));
        QL_TRY(ql_jinja_put(j, dict.dict, k, v));
    }
    *out = dict;
    return QL_OK;
}

static ql_status eval_attr(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval obj;

    QL_TRY(ql_jinja_eval(j, n->a, &obj));
    j->line = n->line;
    return ql_jinja_attr(j, obj, n->value, out);
}

static ql_status eval_item(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval obj;
    ql_jval key;

    QL_TRY(ql_jinja_eval(j, n->a, &obj));
    QL_TRY(ql_jinja_eval(j, n->b, &key));
    j->line = n->line;
    return ql_jinja_item(j, obj, key, out);
}

static ql_status eval_slice(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    const ql_jnode *bound = n->list;
    ql_jval bounds[3];
    ql_jval obj;

    QL_TRY(ql_jinja_eval(j, n->a, &obj));
    for (size_t i = 0; i < 3; i++) {
        QL_TRY(ql_jinja_eval(j, bound, &bounds[i]));
        bound = bound->next;
    }
    j->line = n->line;
    return ql_jinja_slice(j, obj, bounds, out);
}

/* The arguments in the making. */
typedef struct builder {
    ql_jlist plain;
    ql_jlist names;
    ql_jlist named;
} builder;

static ql_status add_named(ql_jinja *j, builder *b, ql_jval name, ql_jval v)
{
    for (size_t i = 0; i < b->names.n; i++) {
        if (ql_jval_same_text(b->names.v[i], name)) {
            QL_RAISE(j, "TypeError", "keyword argument repeated: %.*s",
                     (int)name.n, name.s);
        }
    }
    QL_TRY(ql_jinja_spend(j, b->names.n));
    QL_TRY(ql_jinja_push(j, &b->names, name));
    return ql_jinja_push(j, &b->named, v);
}

static ql_status add_stars(ql_jinja *j, builder *b, ql_jval v)
{
    if (v.kind != QL_J_DICT) {
        QL_RAISE(j, "TypeError", "argument after ** must be a mapping, not %s",
                 ql_jval_type(v));
    }
    for (size_t i = 0; i < v.dict->n; i++) {
        if (!ql_jval_is_str(v.dict->k[i])) {
            QL_RAISE(j, "TypeError", "keywords must be strings");
        }
        QL_TRY(add_named(j, b, v.dict->k[i], v.dict->v[i]));
    }
    return QL_OK;
}

static ql_status add_arg(ql_jinja *j, builder *b, const ql_jnode *n)
{
    const bool wrapped = n->kind == QL_J_N_NAMED || n->kind == QL_J_N_STAR ||
                         n->kind == QL_J_N_STAR_STAR;
    ql_jlist *list;
    ql_jval v;

    QL_TRY(ql_jinja_eval(j, wrapped ? n->a : n, &v));
    switch (n->kind) {
    case QL_J_N_NAMED:
        return add_named(j, b, n->value, v);
    case QL_J_N_STAR_STAR:
        return add_stars(j, b, v);
    case QL_J_N_STAR:
        QL_TRY(ql_jinja_iterate(j, v, &list));
        for (size_t i = 0; i < list->n; i++) {
            QL_TRY(ql_jinja_push(j, &b->plain, list->v[i]));
        }
        return QL_OK;
    default:
        return ql_jinja_push(j, &b->plain, v);
    }
}

/* The arguments of a list of nodes. caller: one more by this name, unless it
 * is absent. */
static ql_status eval_args(ql_jinja *j, const ql_jnode *list, ql_jval caller,
                           ql_jargs *out)
{
    builder b = {0};

    for (const ql_jnode *n = list; n; n = n->next) {
        QL_TRY(add_arg(j, &b, n));
    }
    if (caller.kind != QL_J_ABSENT) {
        QL_TRY(add_named(j, &b, ql_jval_text("caller"), caller));
    }
    *out = (ql_jargs){.v = b.plain.v,
                      .n = b.plain.n,
                      .names = b.names.v,
                      .named = b.named.v,
                      .n_named = b.names.n};
    return QL_OK;
}

ql_status ql_jinja_call(ql_jinja *j, ql_jval callee, const ql_jargs *args,
                        ql_jval *out)
{
    const ql_jval none = {.kind = QL_J_ABSENT};

    switch (callee.kind) {
    case QL_J_FUNCTION:
        return ql_jinja_apply(j, callee.function, none, args, out);
    case QL_J_METHOD:
        return ql_jinja_apply(j, callee.method->entry, callee.method->self,
                              args, out);
    case QL_J_MACRO:
        return ql_jmacro_call(j, callee.macro, args, out);
    case QL_J_LOOP:
        return ql_jloop_call(j, callee.loop, args, out);
    case QL_J_JOINER:
        *out = callee.cycler->at++ > 0 ? callee.cycler->items.v[0]
                                       : ql_jval_text("");
        return QL_OK;
    case QL_J_UNDEFINED:
        return ql_jinja_use_undefined(j, callee);
    default:
        QL_RAISE(j, "TypeError", "'%s' object is not callable",
                 ql_jval_type(callee));
    }
}

ql_status ql_jinja_eval_call(ql_jinja *j, const ql_jnode *n, ql_jval caller,
                             ql_jval *out)
{
    ql_jval callee;
    ql_jargs args;

    QL_TRY(ql_jinja_eval(j, n->a, &callee));
    QL_TRY(eval_args(j, n->list, caller, &args));
    j->line = n->line;
    return ql_jinja_call(j, callee, &args, out);
}

static ql_status eval_call(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    return ql_jinja_eval_call(j, n, (ql_jval){.kind = QL_J_ABSENT}, out);
}

static ql_status eval_filter(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jargs args;
    ql_jval self;

    QL_TRY(ql_jinja_eval(j, n->a, &self));
    QL_TRY(eval_args(j, n->list, (ql_jval){.kind = QL_J_ABSENT}, &args));
    j->line = n->line;
    if (!n->entry) {
        return ql_jinja_refuse(j, "No %s named '%.*s' found.",
                               n->kind == QL_J_N_TEST ? "test" : "filter",
                               (int)n->value.n, n->value.s);
    }
    return ql_jinja_apply(j, n->entry, self, &args, out);
}

static ql_status eval_unary(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval a;

    QL_TRY(ql_jinja_eval(j, n->a, &a));
    j->line = n->line;
    return ql_jinja_unary(j, n->op, a, out);
}

static ql_status eval_binary(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval a;
    ql_jval b;

    QL_TRY(ql_jinja_eval(j, n->a, &a));
    QL_TRY(ql_jinja_eval(j, n->b, &b));
    j->line = n->line;
    return ql_jinja_binary(j, n->op, a, b, out);
}

static ql_status eval_compare(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    bool holds = true;
    ql_jval a;
    ql_jval b;

    QL_TRY(ql_jinja_eval(j, n->a, &a));
    for (const ql_jnode *o = n->list; o && holds; o = o->next) {
        QL_TRY(ql_jinja_eval(j, o->a, &b));
        j->line = o->line;
        QL_TRY(ql_jinja_compare(j, o->op, a, b, &holds));
        a = b;
    }
    *out = ql_jval_bool(holds);
    return QL_OK;
}

static ql_status eval_not(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval a;

    QL_TRY(ql_jinja_eval(j, n->a, &a));
    *out = ql_jval_bool(!ql_jval_truth(a));
    return QL_OK;
}

static ql_status eval_and(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    QL_TRY(ql_jinja_eval(j, n->a, out));
    return ql_jval_truth(*out) ? ql_jinja_eval(j, n->b, out) : QL_OK;
}

static ql_status eval_or(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    QL_TRY(ql_jinja_eval(j, n->a, out));
    return ql_jval_truth(*out) ? QL_OK : ql_jinja_eval(j, n->b, out);
}

/* What "a if b" gives when b is false. */
static ql_status no_else(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval hint;

    QL_TRY(ql_buf_printf(ql_jinja_scratch(j),
                         "the inline if-expression on line %zu evaluated to "
                         "false and no else section was defined.",
                         n->line));
    QL_TRY(ql_jinja_scratch_done(j, &hint));
    return ql_jinja_undefined_hint(j, hint.s, out);
}

static ql_status eval_cond(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jval a;

    QL_TRY(ql_jinja_eval(j, n->a, &a));
    if (ql_jval_truth(a)) {
        return ql_jinja_eval(j, n->b, out);
    }
    if (n->c) {
        return ql_jinja_eval(j, n->c, out);
    }
    return no_else(j, n, out);
}

static eval_fn *const evals[QL_J_N_PAIR] = {
    [QL_J_N_CONST] = eval_const,     [QL_J_N_NAME] = eval_name,
    [QL_J_N_LIST] = eval_list,       [QL_J_N_TUPLE] = eval_list,
    [QL_J_N_DICT] = eval_dict,       [QL_J_N_ATTR] = eval_attr,
    [QL_J_N_ITEM] = eval_item,       [QL_J_N_SLICE] = eval_slice,
    [QL_J_N_CALL] = eval_call,       [QL_J_N_FILTER] = eval_filter,
    [QL_J_N_TEST] = eval_filter,     [QL_J_N_INPUT] = eval_input,
    [QL_J_N_UNARY] = eval_unary,     [QL_J_N_BINARY] = eval_binary,
    [QL_J_N_COMPARE] = eval_compare, [QL_J_N_NOT] = eval_not,
    [QL_J_N_AND] = eval_and,         [QL_J_N_OR] = eval_or,
    [QL_J_N_COND] = eval_cond,
};

ql_status ql_jinja_eval(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    j->line = n->line;
    QL_TRY(ql_jinja_enter(j));
    QL_TRY(ql_jinja_spend(j, 1));
    QL_TRY(evals[n->kind](j, n, out));
    ql_jinja_leave(j);
    return QL_OK;
}
