/* Filters on sequences as a whole. */
#include "src/text/jinja_access.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_path.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"

static ql_status length(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const int64_t n = ql_jval_len(c->self);

    if (c->self.kind == QL_J_LOOP) {
        return ql_jinja_attr(j, c->self, ql_jval_text("length"), out);
    }
    if (n < 0) {
        QL_RAISE(j, "TypeError", "object of type '%s' has no len()",
                 ql_jval_type(c->self));
    }
    QL_TRY(ql_jinja_spend_bytes(j, c->self.n));
    *out = ql_jval_int(n);
    return QL_OK;
}

static ql_status first(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    if (list->n == 0) {
        return ql_jinja_undefined_hint(j, "No first item, sequence was empty.",
                                       out);
    }
    *out = list->v[0];
    return QL_OK;
}

static ql_status last(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;

    if (ql_jval_len(c->self) < 0) {
        QL_RAISE(j, "TypeError", "'%s' object is not reversible",
                 ql_jval_type(c->self));
    }
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    if (list->n == 0) {
        return ql_jinja_undefined_hint(j, "No last item, sequence was empty.",
                                       out);
    }
    *out = list->v[list->n - 1];
    return QL_OK;
}

/* A new list of the elements [from, to) of another. */
static ql_status copy(ql_jinja *j, const ql_jlist *list, size_t from, size_t to,
                      ql_jlist **out)
{
    QL_TRY(ql_jinja_list(j, to - from, out));
    for (size_t i = from; i < to; i++) {
        (*out)->v[(*out)->n++] = list->v[i];
    }
    return QL_OK;
}

static ql_status to_list(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    *out = (ql_jval){.kind = QL_J_LIST};
    return copy(j, list, 0, list->n, &out->list);
}

static ql_status join(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval glue = ql_jval_text("");
    ql_jlist *list;
    ql_buf *b;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    if (c->arg[0].kind != QL_J_ABSENT) {
        QL_TRY(ql_jinja_str(j, c->arg[0], &glue));
    }
    if (!ql_jarg_none(c, 1)) {
        QL_TRY(copy(j, list, 0, list->n, &list));
        for (size_t i = 0; i < list->n; i++) {
            QL_TRY(ql_jinja_path(j, list->v[i], c->arg[1],
                                 (ql_jval){.kind = QL_J_ABSENT}, &list->v[i]));
        }
    }
    b = ql_jinja_scratch(j);
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0) {
            QL_TRY(ql_jinja_put_str(j, b, glue));
        }
        QL_TRY(ql_jinja_put_str(j, b, list->v[i]));
    }
    return ql_jinja_scratch_done(j, out);
}

static ql_status reverse(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jval bounds[3] = {{.kind = QL_J_ABSENT},
                               {.kind = QL_J_ABSENT},
                               {.kind = QL_J_INT, .i = -1}};
    const char *type = c->self.kind == QL_J_LIST    ? "list_reverseiterator"
                       : c->self.kind == QL_J_RANGE ? "range_iterator"
                       : c->self.kind == QL_J_DICT  ? "dict_reversekeyiterator"
                                                    : "reversed";
    ql_jlist *list;
    ql_jlist *turned;

    if (ql_jval_is_str(c->self)) {
        return ql_jinja_slice(j, c->self, bounds, out);
    }
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_list(j, list->n, &turned));
    for (size_t i = list->n; i > 0; i--) {
        turned->v[turned->n++] = list->v[i - 1];
    }
    if (c->self.kind == QL_J_LAZY) {
        *out = ql_jval_list(turned);
        return QL_OK;
    }
    return ql_jinja_iterator(j, type, turned, out);
}

static ql_status items(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jview view = {c->self.dict, QL_J_ITEMS};
    const ql_jval v = {.kind = QL_J_VIEW, .view = &view};

    *out = (ql_jval){.kind = QL_J_LIST};
    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_list(j, 0, &out->list);
    }
    if (c->self.kind != QL_J_DICT) {
        QL_RAISE(j, "TypeError", "Can only get item pairs from a mapping.");
    }
    return ql_jinja_iterate(j, v, &out->list);
}

/* A batch ends when it has its size: one of size 0 does so at once, and the
 * next, which starts with an element, never. */
static ql_status batch(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *batches;
    ql_jlist *part;
    ql_jlist *list;
    int64_t size = 0;

    QL_TRY(ql_jarg_int(j, c, 0, &size));
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_list(j, 0, &batches));
    QL_TRY(ql_jinja_list(j, 0, &part));
    for (size_t i = 0; i < list->n; i++) {
        if ((int64_t)part->n == size) {
            QL_TRY(ql_jinja_push(j, batches, ql_jval_list(part)));
            QL_TRY(ql_jinja_list(j, 0, &part));
        }
        QL_TRY(ql_jinja_push(j, part, list->v[i]));
    }
    if (part->n > 0) {
        while (!ql_jarg_none(c, 1) && (int64_t)part->n < size) {
            QL_TRY(ql_jinja_spend(j, 1));
            QL_TRY(ql_jinja_push(j, part, c->arg[1]));
        }
        QL_TRY(ql_jinja_push(j, batches, ql_jval_list(part)));
    }
    *out = ql_jval_list(batches);
    return QL_OK;
}

/* Parts of nearly the same size, the longer ones first. */
static ql_status slice(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *slices;
    ql_jlist *list;
    int64_t n = 0;
    size_t at = 0;

    QL_TRY(ql_jarg_int(j, c, 0, &n));
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_list(j, 0, &slices));
    if (n == 0) {
        QL_RAISE(j, "ZeroDivisionError", "integer division or modulo by zero");
    }
    for (int64_t i = 0; i < n; i++) {
        const bool longer = i < (int64_t)list->n % n;
        const size_t size = list->n / (size_t)n + longer;
        ql_jlist *part;

        QL_TRY(ql_jinja_spend(j, 1));
        QL_TRY(copy(j, list, at, at + size, &part));
        if (!longer && !ql_jarg_none(c, 1)) {
            QL_TRY(ql_jinja_push(j, part, c->arg[1]));
        }
        QL_TRY(ql_jinja_push(j, slices, ql_jval_list(part)));
        at += size;
    }
    *out = ql_jval_list(slices);
    return QL_OK;
}

static ql_status fallback(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool missing = c->self.kind == QL_J_UNDEFINED;

    (void)j;
    *out = c->self;
    if (missing || (ql_jarg_truth(c, 1, false) && !ql_jval_truth(c->self))) {
        *out = c->arg[0].kind == QL_J_ABSENT ? ql_jval_text("") : c->arg[0];
    }
    return QL_OK;
}

static ql_status attr(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval name = ql_jval_text("");

    QL_TRY(ql_jarg_str(j, c, 0, &name));
    return ql_jinja_attr_only(j, c->self, name, out);
}

static ql_status sum(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    *out = c->arg[1].kind == QL_J_ABSENT ? ql_jval_int(0) : c->arg[1];
    if (ql_jval_is_str(*out)) {
        QL_RAISE(j, "TypeError",
                 "sum() can't sum strings [use ''.join(seq) instead]");
    }
    for (size_t i = 0; i < list->n; i++) {
        ql_jval v;

        QL_TRY(ql_jinja_path(j, list->v[i], c->arg[0],
                             (ql_jval){.kind = QL_J_ABSENT}, &v));
        QL_TRY(ql_jinja_binary(j, QL_J_ADD, *out, v, out));
    }
    return QL_OK;
}

const ql_jentry ql_jinja_sequence_filters[] = {
    {"length", length, NULL, 0, 0},
    {"count", length, NULL, 0, 0},
    {"first", first, NULL, 0, 0},
    {"last", last, NULL, 0, 0},
    {"list", to_list, NULL, 0, 0},
    {"join", join, "d attribute", 0, 0},
    {"reverse", reverse, NULL, 0, 0},
    {"items", items, NULL, 0, QL_J_MAKES_LAZY},
    {"batch", batch, "linecount fill_with", 1, QL_J_MAKES_LAZY},
    {"slice", slice, "slices fill_with", 1, QL_J_MAKES_LAZY},
    {"default", fallback, "default_value boolean", 0, 0},
    {"d", fallback, "default_value boolean", 0, 0},
    {"attr", attr, "name", 1, 0},
    {"sum", sum, "attribute start", 0, 0},
    {0},
};
