#include "src/text/jinja_loop.h"

#include "src/text/jinja_access.h"
#include "src/text/jinja_eval.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_tables.h"

static ql_status passes(ql_jinja *j, const ql_jloop *l, ql_jval item, bool *out)
{
    ql_jscope *outer = j->scope;
    ql_jval v;

    *out = true;
    if (l->tested) {
        return QL_OK;
    }
    QL_TRY(ql_jinja_scope(j, l->outer, &j->scope));
    QL_TRY(ql_jinja_assign(j, l->node->a, item));
    QL_TRY(ql_jinja_eval(j, l->node->c, &v));
    *out = ql_jval_truth(v);
    j->scope = outer;
    return QL_OK;
}

/* The next element that passes; absent when there is none. */
static ql_status fetch(ql_jinja *j, ql_jloop *l, ql_jval *out)
{
    bool good = false;

    *out = (ql_jval){.kind = QL_J_ABSENT};
    while (!good && l->next < l->items->n) {
        const ql_jval item = l->items->v[l->next++];

        QL_TRY(passes(j, l, item, &good));
        *out = good ? item : *out;
    }
    return QL_OK;
}

static ql_status peek(ql_jinja *j, ql_jloop *l)
{
    return l->after.kind == QL_J_ABSENT ? fetch(j, l, &l->after) : QL_OK;
}

static ql_status measure(ql_jinja *j, ql_jloop *l)
{
    ql_jlist *rest;
    ql_jval v;

    if (l->length >= 0) {
        return QL_OK;
    }
    QL_TRY(ql_jinja_list(j, 0, &rest));
    QL_TRY(fetch(j, l, &v));
    while (v.kind != QL_J_ABSENT) {
        QL_TRY(ql_jinja_push(j, rest, v));
        QL_TRY(fetch(j, l, &v));
    }
    l->length =
        l->index0 + 1 + (l->after.kind != QL_J_ABSENT) + (int64_t)rest->n;
    l->items = rest;
    l->next = 0;
    l->tested = true;
    return QL_OK;
}

static ql_status run(ql_jinja *j, ql_jloop *l)
{
    const ql_jnode *n = l->node;
    ql_jscope *scope = j->scope;

    while (j->flow != QL_J_BREAK) {
        j->flow = QL_J_NEXT;
        QL_TRY(peek(j, l));
        if (l->after.kind == QL_J_ABSENT) {
            break;
        }
        l->before = l->current;
        l->current = l->after;
        l->after = (ql_jval){.kind = QL_J_ABSENT};
        l->index0++;
        QL_TRY(ql_jinja_scope(j, l->outer, &j->scope));
        QL_TRY(ql_jinja_assign(j, n->a, l->current));
        QL_TRY(ql_jinja_set(j, ql_jval_text("loop"),
                            (ql_jval){.kind = QL_J_LOOP, .loop = l}));
        QL_TRY(ql_jinja_exec(j, n->body));
    }
    j->flow = QL_J_NEXT;
    j->scope = scope;
    return l->index0 < 0 ? ql_jinja_exec(j, n->other) : QL_OK;
}

static ql_status start(ql_jinja *j, const ql_jnode *n, ql_jval over,
                       ql_jscope *outer, int depth0)
{
    ql_jloop *l = ql_jinja_take(&j->mem, 1, sizeof(*l));
    ql_jlist *items;

    if (!l) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_jinja_iterate(j, over, &items));
    l->node = n;
    l->outer = outer;
    l->items = items;
    l->tested = n->c == NULL;
    l->index0 = -1;
    l->length = n->c ? -1 : (int64_t)items->n;
    l->depth0 = depth0;
    return run(j, l);
}

ql_status ql_jloop_exec(ql_jinja *j, const ql_jnode *n)
{
    ql_jval over;

    QL_TRY(ql_jinja_eval(j, n->b, &over));
    j->line = n->line;
    return start(j, n, over, j->scope, 0);
}

ql_status ql_jloop_call(ql_jinja *j, const ql_jloop *l, const ql_jargs *args,
                        ql_jval *out)
{
    size_t mark;

    if (!(l->node->flags & QL_J_RECURSIVE)) {
        QL_RAISE(j, "TypeError",
                 "The loop must have the 'recursive' marker to be called "
                 "recursively.");
    }
    if (args->n != 1 || args->n_named > 0) {
        QL_RAISE(j, "TypeError", "loop() takes one argument");
    }
    mark = ql_jinja_capture(j);
    QL_TRY(start(j, l->node, args->v[0], l->outer, l->depth0 + 1));
    return ql_jinja_captured(j, mark, out);
}

/* Attributes whose value is a number, and those that are another element. */
enum {
    INDEX,
    INDEX0,
    REVINDEX,
    REVINDEX0,
    LENGTH,
    DEPTH,
    DEPTH0,
    FIRST,
    LAST,
    PREVITEM,
    NEXTITEM,
    ATTRS
};

static const char *const attrs[ATTRS] = {
    [INDEX] = "index",         [INDEX0] = "index0",     [REVINDEX] = "revindex",
    [REVINDEX0] = "revindex0", [LENGTH] = "length",     [DEPTH] = "depth",
    [DEPTH0] = "depth0",       [FIRST] = "first",       [LAST] = "last",
    [PREVITEM] = "previtem",   [NEXTITEM] = "nextitem",
};

static ql_status other_item(ql_jinja *j, const ql_jloop *l, int attr,
                            ql_jval *out)
{
    const bool next = attr == NEXTITEM;

    *out = next ? l->after : l->before;
    if (out->kind != QL_J_ABSENT) {
        return QL_OK;
    }
    return ql_jinja_undefined_hint(
        j, next ? "there is no next item" : "there is no previous item", out);
}

ql_status ql_jloop_attr(ql_jinja *j, ql_jloop *l, ql_jval name, ql_jval *out)
{
    int attr = 0;

    while (attr < ATTRS && !ql_jval_says(name, attrs[attr])) {
        attr++;
    }
    if (attr == REVINDEX || attr == REVINDEX0 || attr == LENGTH) {
        QL_TRY(measure(j, l));
    }
    if (attr == LAST || attr == NEXTITEM) {
        QL_TRY(peek(j, l));
    }
    if (attr == PREVITEM || attr == NEXTITEM) {
        return other_item(j, l, attr, out);
    }
    if (attr < ATTRS) {
        const ql_jval values[] = {
            [INDEX] = ql_jval_int(l->index0 + 1),
            [INDEX0] = ql_jval_int(l->index0),
            [REVINDEX] = ql_jval_int(l->length - l->index0),
            [REVINDEX0] = ql_jval_int(l->length - l->index0 - 1),
            [LENGTH] = ql_jval_int(l->length),
            [DEPTH] = ql_jval_int(l->depth0 + 1),
            [DEPTH0] = ql_jval_int(l->depth0),
            [FIRST] = ql_jval_bool(l->index0 == 0),
            [LAST] = ql_jval_bool(l->after.kind == QL_J_ABSENT),
        };

        *out = values[attr];
    }
    return QL_OK;
}

static ql_status cycle(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    if (c->args.n == 0 || c->args.n_named > 0) {
        QL_RAISE(j, "TypeError", "no items for cycling given");
    }
    *out = c->args.v[(size_t)c->self.loop->index0 % c->args.n];
    return QL_OK;
}

static ql_status changed(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jloop *l = c->self.loop;
    ql_jval now = {.kind = QL_J_TUPLE};
    bool same = false;

    QL_TRY(ql_jinja_list(j, 0, &now.list));
    for (size_t i = 0; i < c->args.n; i++) {
        QL_TRY(ql_jinja_push(j, now.list, c->args.v[i]));
    }
    if (l->changed.kind != QL_J_ABSENT) {
        QL_TRY(ql_jinja_equal(j, l->changed, now, &same));
    }
    l->changed = now;
    *out = ql_jval_bool(!same);
    return QL_OK;
}

const ql_jentry ql_jinja_loop_methods[] = {
    {"cycle", cycle, NULL, 0, QL_J_VARIADIC},
    {"changed", changed, NULL, 0, QL_J_VARIADIC},
    {0},
};
