#include "src/text/jinja_macro.h"

#include "src/text/jinja_eval.h"

ql_status ql_jmacro_make(ql_jinja *j, const ql_jnode *n, ql_jval *out)
{
    ql_jmacro *m = ql_jinja_take(&j->mem, 1, sizeof(*m));

    if (!m) {
        return QL_ENOMEM;
    }
    *m = (ql_jmacro){n, j->scope};
    *out = (ql_jval){.kind = QL_J_MACRO, .macro = m};
    return QL_OK;
}

ql_jval ql_jmacro_name(const ql_jmacro *m)
{
    return m->node->value;
}

/* A call in the making: what was not used yet. */
typedef struct call {
    const ql_jmacro *macro;
    const ql_jargs *args;
    size_t used; /* plain arguments */
    bool *taken; /* [args->n_named] */
} call;

/* The named argument of this name, which is then taken; NULL for none. */
static const ql_jval *take_named(call *c, ql_jval name)
{
    for (size_t i = 0; i < c->args->n_named; i++) {
        if (!c->taken[i] && ql_jval_same_text(c->args->names[i], name)) {
            c->taken[i] = true;
            return &c->args->named[i];
        }
    }
    return NULL;
}

static ql_status not_given(ql_jinja *j, ql_jval name, ql_jval *out)
{
    ql_buf *b = ql_jinja_scratch(j);
    ql_jval hint;

    QL_TRY(ql_buf_puts(b, "parameter '"));
    QL_TRY(ql_buf_append(b, name.s, name.n));
    QL_TRY(ql_buf_puts(b, "' was not provided"));
    QL_TRY(ql_jinja_scratch_done(j, &hint));
    return ql_jinja_undefined_hint(j, hint.s, out);
}

/* Sets the parameters: given in order, by name, by default, or undefined. */
static ql_status set_params(ql_jinja *j, call *c)
{
    for (const ql_jnode *p = c->macro->node->list; p; p = p->next) {
        const ql_jval *named = NULL;
        ql_jval v;

        if (c->used < c->args->n) {
            v = c->args->v[c->used++];
        } else if ((named = take_named(c, p->value))) {
            v = *named;
        } else if (p->a) {
            QL_TRY(ql_jinja_eval(j, p->a, &v));
        } else {
            QL_TRY(not_given(j, p->value, &v));
        }
        QL_TRY(ql_jinja_set(j, p->value, v));
    }
    return QL_OK;
}

static ql_status set_caller(ql_jinja *j, call *c)
{
    const ql_jval name = ql_jval_text("caller");
    const ql_jval *given = take_named(c, name);
    ql_jval v;

    for (const ql_jnode *p = c->macro->node->list; p; p = p->next) {
        if (ql_jval_same_text(p->value, name)) {
            return QL_OK; /* a parameter like others */
        }
    }
    if (given) {
        v = *given;
    } else {
        QL_TRY(ql_jinja_undefined_hint(j, "No caller defined", &v));
    }
    return ql_jinja_set(j, name, v);
}

/* The plain arguments that are left, as varargs. */
static ql_status set_varargs(ql_jinja *j, const call *c)
{
    ql_jval v = {.kind = QL_J_TUPLE};

    QL_TRY(ql_jinja_list(j, c->args->n - c->used, &v.list));
    for (size_t i = c->used; i < c->args->n; i++) {
        v.list->v[v.list->n++] = c->args->v[i];
    }
    return ql_jinja_set(j, ql_jval_text("varargs"), v);
}

/* The named arguments that are left, as kwargs. */
static ql_status set_kwargs(ql_jinja *j, const call *c)
{
    ql_jval v;

    QL_TRY(ql_jinja_dict(j, 0, &v));
    for (size_t i = 0; i < c->args->n_named; i++) {
        if (!c->taken[i]) {
            QL_TRY(ql_jinja_put_new(j, v.dict, c->args->names[i],
                                    c->args->named[i]));
        }
    }
    return ql_jinja_set(j, ql_jval_text("kwargs"), v);
}

static ql_status refuse_rest(ql_jinja *j, const call *c)
{
    const ql_jnode *n = c->macro->node;

    for (size_t i = 0; i < c->args->n_named; i++) {
        if (!c->taken[i] && !(n->flags & QL_J_USES_KWARGS)) {
            QL_RAISE(j, "TypeError",
                     "macro '%.*s' takes no keyword argument '%.*s'",
                     (int)n->value.n, n->value.s, (int)c->args->names[i].n,
                     c->args->names[i].s);
        }
    }
    if (c->used < c->args->n && !(n->flags & QL_J_USES_VARARGS)) {
        QL_RAISE(j, "TypeError",
                 "macro '%.*s' takes not more than %zu argument(s)",
                 (int)n->value.n, n->value.s, c->used);
    }
    return QL_OK;
}

static ql_status set_args(ql_jinja *j, call *c)
{
    const int flags = c->macro->node->flags;

    QL_TRY(set_params(j, c));
    if (flags & QL_J_USES_CALLER) {
        QL_TRY(set_caller(j, c));
    }
    QL_TRY(refuse_rest(j, c));
    if (flags & QL_J_USES_VARARGS) {
        QL_TRY(set_varargs(j, c));
    }
    return flags & QL_J_USES_KWARGS ? set_kwargs(j, c) : QL_OK;
}

ql_status ql_jmacro_call(ql_jinja *j, const ql_jmacro *m, const ql_jargs *args,
                         ql_jval *out)
{
    call c = {.macro = m, .args = args};
    ql_jscope *outer = j->scope;
    size_t mark;

    c.taken = ql_jinja_take(&j->mem, args->n_named, sizeof(*c.taken));
    if (!c.taken) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_jinja_scope(j, m->scope, &j->scope));
    mark = ql_jinja_capture(j);
    QL_TRY(set_args(j, &c));
    QL_TRY(ql_jinja_exec(j, m->node->body));
    QL_TRY(ql_jinja_captured(j, mark, out));
    j->scope = outer;
    return QL_OK;
}

ql_status ql_jmacro_attr(ql_jinja *j, const ql_jmacro *m, ql_jval name,
                         ql_jval *out)
{
    static const struct {
        const char *name;
        int flag;
    } flags[] = {{"caller", QL_J_USES_CALLER},
                 {"catch_varargs", QL_J_USES_VARARGS},
                 {"catch_kwargs", QL_J_USES_KWARGS}};

    if (ql_jval_says(name, "name")) {
        *out = m->node->value;
    } else if (ql_jval_says(name, "arguments")) {
        ql_jlist *list;

        QL_TRY(ql_jinja_list(j, 0, &list));
        for (const ql_jnode *p = m->node->list; p; p = p->next) {
            QL_TRY(ql_jinja_push(j, list, p->value));
        }
        *out = (ql_jval){.kind = QL_J_TUPLE, .list = list};
    }
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (ql_jval_says(name, flags[i].name)) {
            *out = ql_jval_bool(m->node->flags & flags[i].flag);
        }
    }
    return QL_OK;
}
