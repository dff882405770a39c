#include "src/text/jinja_state.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/text/jinja_text.h"

enum {
    SENTENCE = 1024 /* bytes; what is longer is cut */
};

static ql_status report(ql_jinja *j, ql_status st, const char *type,
                        const char *text)
{
    j->raised = true;
    return ql_fail(st, "%s:%zu: %s%s%s", j->where, j->line, type,
                   *type ? ": " : "", text);
}

ql_status ql_jinja_raise(ql_jinja *j, const char *type, const char *fmt, ...)
{
    char text[SENTENCE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return report(j, QL_EFORMAT, type, text);
}

ql_status ql_jinja_refuse(ql_jinja *j, const char *fmt, ...)
{
    char text[SENTENCE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return report(j, QL_EUNSUPPORTED, "", text);
}

ql_status ql_jinja_enter(ql_jinja *j)
{
    if (j->depth == QL_JINJA_DEPTH) {
        QL_RAISE(j, "",
                 "stopped %d evaluations deep: the template calls itself"
                 " without end",
                 QL_JINJA_DEPTH);
    }
    j->depth++;
    return QL_OK;
}

void ql_jinja_leave(ql_jinja *j)
{
    j->depth--;
}

ql_status ql_jinja_spend(ql_jinja *j, size_t n)
{
    if (n > j->steps) {
        j->steps = 0;
        return ql_jinja_raise(j, "",
                              "stopped after %d steps: the template "
                              "does not come to an end",
                              QL_JINJA_STEPS);
    }
    j->steps -= n;
    return QL_OK;
}

ql_status ql_jinja_spend_bytes(ql_jinja *j, size_t n)
{
    return ql_jinja_spend(j, n / QL_JINJA_BLOCK);
}

static ql_status undefined(ql_jinja *j, ql_jundef u, ql_jval *out)
{
    ql_jundef *copy = ql_jinja_take(&j->mem, 1, sizeof(*copy));

    if (!copy) {
        return QL_ENOMEM;
    }
    *copy = u;
    *out = (ql_jval){.kind = QL_J_UNDEFINED, .undef = copy};
    return QL_OK;
}

ql_status ql_jinja_undefined(ql_jinja *j, ql_jval obj, ql_jval name,
                             ql_jval *out)
{
    return undefined(j, (ql_jundef){.obj = obj, .name = name}, out);
}

ql_status ql_jinja_undefined_hint(ql_jinja *j, const char *hint, ql_jval *out)
{
    return undefined(j, (ql_jundef){.hint = hint}, out);
}

/* What jinja2 calls a value whose part is missing. */
static void owner(ql_jval v, char *text, size_t size)
{
    static const char *const modules[QL_J_KINDS] = {
        [QL_J_NAMESPACE] = "jinja2.utils.", [QL_J_MACRO] = "jinja2.runtime.",
        [QL_J_LOOP] = "jinja2.runtime.",    [QL_J_CYCLER] = "jinja2.utils.",
        [QL_J_JOINER] = "jinja2.utils.",
    };
    const char *module = modules[v.kind];

    if (v.kind == QL_J_NONE) {
        snprintf(text, size, "None");
        return;
    }
    snprintf(text, size, "%s%s object",
             v.markup ? "markupsafe."
             : module ? module
                      : "",
             ql_jval_type(v));
}

ql_status ql_jinja_use_undefined(ql_jinja *j, ql_jval v)
{
    const ql_jundef *u = v.undef;
    const char *type = u->exception ? u->exception : "UndefinedError";
    char name[64];
    ql_jval repr;

    if (u->hint) {
        QL_RAISE(j, type, "%s", u->hint);
    }
    QL_TRY(ql_jinja_repr(j, u->name, &repr));
    if (u->obj.kind == QL_J_ABSENT) {
        QL_RAISE(j, type, "%s is undefined", repr.s);
    }
    owner(u->obj, name, sizeof(name));
    if (!ql_jval_is_str(u->name)) {
        QL_RAISE(j, type, "%s has no element %s", name, repr.s);
    }
    QL_RAISE(j, type, "'%s' has no attribute %s", name, repr.s);
}

ql_status ql_jinja_string(ql_jinja *j, const char *s, size_t n, ql_jval *out)
{
    char *copy = ql_jinja_copy(&j->mem, s, n);

    if (!copy) {
        return QL_ENOMEM;
    }
    *out = ql_jval_str(copy, n);
    return QL_OK;
}

ql_status ql_jinja_list(ql_jinja *j, size_t cap, ql_jlist **out)
{
    ql_jlist *list = ql_jinja_take(&j->mem, 1, sizeof(*list));

    if (!list) {
        return QL_ENOMEM;
    }
    list->cap = cap;
    list->v = cap ? ql_jinja_take(&j->mem, cap, sizeof(*list->v)) : NULL;
    *out = list;
    return cap && !list->v ? QL_ENOMEM : QL_OK;
}

/* Room for one more of n values. */
static ql_status grow(ql_jinja *j, ql_jval **v, size_t n, size_t cap)
{
    ql_jval *more = ql_jinja_take(&j->mem, cap, sizeof(*more));

    if (!more) {
        return QL_ENOMEM;
    }
    if (n > 0) {
        memcpy(more, *v, n * sizeof(*more));
    }
    *v = more;
    return QL_OK;
}

ql_status ql_jinja_push(ql_jinja *j, ql_jlist *list, ql_jval v)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 4;
        QL_TRY(grow(j, &list->v, list->n, list->cap));
    }
    list->v[list->n++] = v;
    return QL_OK;
}

ql_status ql_jinja_pair(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_list(j, 2, &list));
    list->v[0] = a;
    list->v[1] = b;
    list->n = 2;
    *out = (ql_jval){.kind = QL_J_TUPLE, .list = list};
    return QL_OK;
}

ql_status ql_jinja_dict(ql_jinja *j, size_t cap, ql_jval *out)
{
    ql_jdict *d = ql_jinja_take(&j->mem, 1, sizeof(*d));

    if (!d) {
        return QL_ENOMEM;
    }
    *out = (ql_jval){.kind = QL_J_DICT, .dict = d};
    if (cap > 0) {
        QL_TRY(grow(j, &d->k, 0, cap));
        QL_TRY(grow(j, &d->v, 0, cap));
        d->cap = cap;
    }
    return QL_OK;
}

ql_status ql_jinja_put_new(ql_jinja *j, ql_jdict *d, ql_jval k, ql_jval v)
{
    if (d->n == d->cap) {
        const size_t cap = d->cap ? 2 * d->cap : 4;

        QL_TRY(grow(j, &d->k, d->n, cap));
        QL_TRY(grow(j, &d->v, d->n, cap));
        d->cap = cap;
    }
    d->k[d->n] = k;
    d->v[d->n++] = v;
    return QL_OK;
}

ql_status ql_jinja_iterator(ql_jinja *j, const char *type, ql_jlist *items,
                            ql_jval *out)
{
    ql_jlazy *lazy = ql_jinja_take(&j->mem, 1, sizeof(*lazy));

    if (!lazy) {
        return QL_ENOMEM;
    }
    lazy->type = type;
    lazy->items = items;
    *out = (ql_jval){.kind = QL_J_LAZY, .lazy = lazy};
    return QL_OK;
}

ql_buf *ql_jinja_scratch(ql_jinja *j)
{
    ql_buf_clear(&j->scratch);
    return &j->scratch;
}

ql_status ql_jinja_scratch_done(ql_jinja *j, ql_jval *out)
{
    return ql_jinja_string(j, j->scratch.data, j->scratch.len, out);
}

ql_status ql_jinja_set(ql_jinja *j, ql_jval name, ql_jval value)
{
    ql_jbinding *b = j->scope->first;

    assert(value.kind != QL_J_ABSENT);
    while (b && !ql_jval_same_text(b->name, name)) {
        b = b->next;
    }
    if (!b) {
        b = ql_jinja_take(&j->mem, 1, sizeof(*b));
        if (!b) {
            return QL_ENOMEM;
        }
        *b = (ql_jbinding){.name = name, .next = j->scope->first};
        j->scope->first = b;
    }
    b->value = value;
    return QL_OK;
}

ql_status ql_jinja_scope(ql_jinja *j, ql_jscope *parent, ql_jscope **out)
{
    *out = ql_jinja_take(&j->mem, 1, sizeof(**out));
    if (!*out) {
        return QL_ENOMEM;
    }
    (*out)->parent = parent;
    return QL_OK;
}
