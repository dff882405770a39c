#include "src/text/jinja_access.h"

#include <stdio.h>
#include <string.h>

#include "src/text/jinja_chars.h"
#include "src/text/jinja_loop.h"
#include "src/text/jinja_macro.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"
#include "src/text/utf8.h"

enum {
    KEYS_A_STEP = 16 /* keys compared that count as one step */
};

bool ql_jinja_can_iterate(ql_jval v)
{
    return ql_jval_len(v) >= 0 || v.kind == QL_J_LAZY;
}

static ql_status characters(ql_jinja *j, ql_jval v, ql_jlist **out)
{
    QL_TRY(ql_jinja_list(j, (size_t)ql_jval_len(v), out));
    for (size_t i = 0, len; i < v.n; i += len) {
        len = ql_utf8_len(v.s + i, v.n - i);
        (*out)->v[(*out)->n++] = ql_jval_str(v.s + i, len);
    }
    return QL_OK;
}

static ql_status numbers(ql_jinja *j, const ql_jrange *r, ql_jlist **out)
{
    QL_TRY(ql_jinja_list(j, r->n, out));
    for (size_t i = 0; i < r->n; i++) {
        (*out)->v[i] = ql_jval_int(r->start + (int64_t)i * r->step);
    }
    (*out)->n = r->n;
    return QL_OK;
}

static ql_status view(ql_jinja *j, const ql_jdict *d, int part, ql_jlist **out)
{
    QL_TRY(ql_jinja_list(j, d->n, out));
    for (size_t i = 0; i < d->n; i++) {
        ql_jval *v = &(*out)->v[i];

        *v = part == QL_J_KEYS ? d->k[i] : d->v[i];
        if (part == QL_J_ITEMS) {
            QL_TRY(ql_jinja_pair(j, d->k[i], d->v[i], v));
        }
    }
    (*out)->n = d->n;
    return QL_OK;
}

/* What is left of an iterator. */
static ql_status rest(ql_jinja *j, ql_jlazy *lazy, ql_jlist **out)
{
    ql_jval made;

    if (lazy->read) {
        return ql_jinja_list(j, 0, out);
    }
    lazy->read = true;
    if (lazy->entry) {
        QL_TRY(ql_jinja_enter(j)); /* it may read another iterator */
        QL_TRY(lazy->entry->fn(j, &lazy->call, &made));
        ql_jinja_leave(j);
        lazy->items = made.list;
    }
    *out = lazy->items;
    return QL_OK;
}

ql_status ql_jinja_iterate(ql_jinja *j, ql_jval v, ql_jlist **out)
{
    const int64_t n = ql_jval_len(v);

    QL_TRY(ql_jinja_spend(j, n > 0 ? (size_t)n : 0));
    switch (v.kind) {
    case QL_J_UNDEFINED:
        return ql_jinja_list(j, 0, out);
    case QL_J_STR:
        return characters(j, v, out);
    case QL_J_LIST:
    case QL_J_TUPLE:
        *out = v.list;
        return QL_OK;
    case QL_J_DICT:
        return view(j, v.dict, QL_J_KEYS, out);
    case QL_J_VIEW:
        return view(j, v.view->dict, v.view->part, out);
    case QL_J_RANGE:
        return numbers(j, v.range, out);
    case QL_J_LAZY:
        return rest(j, v.lazy, out);
    default:
        QL_RAISE(j, "TypeError", "'%s' object is not iterable",
                 ql_jval_type(v));
    }
}

ql_status ql_jinja_need_key(ql_jinja *j, ql_jval key)
{
    const ql_jkind k = key.kind;

    if (k == QL_J_LIST || k == QL_J_DICT || k == QL_J_NAMESPACE) {
        QL_RAISE(j, "TypeError", "unhashable type: '%s'", ql_jval_type(key));
    }
    if (k == QL_J_TUPLE) {
        QL_TRY(ql_jinja_spend(j, key.list->n));
        for (size_t i = 0; i < key.list->n; i++) {
            if (key.list->v[i].kind != QL_J_TUPLE) {
                QL_TRY(ql_jinja_need_key(j, key.list->v[i]));
            }
        }
    }
    return QL_OK;
}

ql_status ql_jinja_lookup(ql_jinja *j, ql_jdict *d, ql_jval key, ql_jval **out)
{
    const bool text = ql_jval_is_str(key);

    QL_TRY(ql_jinja_spend(j, d->n / KEYS_A_STEP));
    *out = NULL;
    for (size_t i = 0; i < d->n && !*out; i++) {
        bool same = false;

        if (text && ql_jval_is_str(d->k[i])) {
            same = ql_jval_same_text(key, d->k[i]);
            QL_TRY(ql_jinja_spend_bytes(j, key.n == d->k[i].n ? key.n : 0));
        } else if (!text && !ql_jval_is_str(d->k[i])) {
            QL_TRY(ql_jinja_equal(j, key, d->k[i], &same));
        }
        *out = same ? &d->v[i] : NULL;
    }
    return QL_OK;
}

ql_status ql_jinja_put(ql_jinja *j, ql_jdict *d, ql_jval key, ql_jval v)
{
    ql_jval *old;

    QL_TRY(ql_jinja_need_key(j, key));
    QL_TRY(ql_jinja_lookup(j, d, key, &old));
    if (!old) {
        return ql_jinja_put_new(j, d, key, v);
    }
    *old = v;
    return QL_OK;
}

static ql_status unsafe(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out)
{
    char hint[128];
    ql_jundef *u = ql_jinja_take(&j->mem, 1, sizeof(*u));

    if (!u) {
        return QL_ENOMEM;
    }
    snprintf(hint, sizeof(hint),
             "access to attribute '%.*s' of '%s' object is unsafe.",
             (int)name.n, name.s, ql_jval_type(obj));
    u->hint = ql_jinja_copy(&j->mem, hint, strlen(hint));
    u->exception = "SecurityError";
    *out = (ql_jval){.kind = QL_J_UNDEFINED, .undef = u};
    return u->hint ? QL_OK : QL_ENOMEM;
}

static ql_status method(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out)
{
    const ql_jentry *e = ql_jinja_method(obj.kind, name);
    ql_jmethod *m;

    if (!e) {
        return QL_OK;
    }
    if (e->flags & QL_J_UNSAFE) {
        return unsafe(j, obj, name, out);
    }
    if (e->flags & QL_J_MISSING) {
        return ql_jinja_refuse(j, "the method %s.%s() is not supported",
                               ql_jval_type(obj), e->name);
    }
    m = ql_jinja_take(&j->mem, 1, sizeof(*m));
    if (!m) {
        return QL_ENOMEM;
    }
    *m = (ql_jmethod){obj, e};
    *out = (ql_jval){.kind = QL_J_METHOD, .method = m};
    return QL_OK;
}

/* *out is absent when there is no such attribute. */
static ql_status attribute(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out)
{
    ql_jval *found;

    *out = (ql_jval){.kind = QL_J_ABSENT};
    switch (obj.kind) {
    case QL_J_NAMESPACE:
        QL_TRY(ql_jinja_lookup(j, obj.dict, name, &found));
        *out = found ? *found : *out;
        return QL_OK;
    case QL_J_LOOP:
        QL_TRY(ql_jloop_attr(j, obj.loop, name, out));
        break;
    case QL_J_MACRO:
        return ql_jmacro_attr(j, obj.macro, name, out);
    case QL_J_CYCLER:
        if (ql_jval_says(name, "current")) {
            *out = obj.cycler->items.v[obj.cycler->at];
        }
        break;
    case QL_J_TUPLE:
        if (obj.list->group && ql_jval_says(name, "grouper")) {
            *out = obj.list->v[0];
        } else if (obj.list->group && ql_jval_says(name, "list")) {
            *out = obj.list->v[1];
        }
        break;
    default:
        break;
    }
    return out->kind == QL_J_ABSENT ? method(j, obj, name, out) : QL_OK;
}

static ql_status at_index(ql_jinja *j, ql_jval obj, int64_t i, ql_jval *out)
{
    const int64_t n = ql_jval_len(obj);
    size_t at;

    i += i < 0 ? n : 0;
    if (i < 0 || i >= n) {
        return QL_OK;
    }
    if (ql_jval_is_str(obj)) {
        QL_TRY(ql_jinja_spend_bytes(j, obj.n));
        at = ql_jchars_offset(obj.s, obj.n, (size_t)i);
        *out = ql_jval_str(obj.s + at, ql_utf8_len(obj.s + at, obj.n - at));
        out->markup = obj.markup;
    } else if (obj.kind == QL_J_RANGE) {
        *out = ql_jval_int(obj.range->start + i * obj.range->step);
    } else {
        *out = obj.list->v[i];
    }
    return QL_OK;
}

/* *out is absent when there is no such element. */
static ql_status element(ql_jinja *j, ql_jval obj, ql_jval key, ql_jval *out)
{
    ql_jval *found;

    *out = (ql_jval){.kind = QL_J_ABSENT};
    switch (obj.kind) {
    case QL_J_DICT:
        if (key.kind == QL_J_LIST || key.kind == QL_J_DICT) {
            return QL_OK; /* cannot be a key */
        }
        QL_TRY(ql_jinja_lookup(j, obj.dict, key, &found));
        *out = found ? *found : *out;
        return QL_OK;
    case QL_J_STR:
    case QL_J_LIST:
    case QL_J_TUPLE:
    case QL_J_RANGE:
        return ql_jval_is_int(key) ? at_index(j, obj, ql_jval_whole(key), out)
                                   : QL_OK;
    default:
        return QL_OK;
    }
}

/* Nothing was found. Python's own attributes are there, but unsafe. */
static ql_status missing(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out)
{
    const bool inner = ql_jval_is_str(name) && name.n > 4 &&
                       memcmp(name.s, "__", 2) == 0 &&
                       memcmp(name.s + name.n - 2, "__", 2) == 0;

    return inner ? unsafe(j, obj, name, out)
                 : ql_jinja_undefined(j, obj, name, out);
}

ql_status ql_jinja_attr(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out)
{
    if (obj.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, obj);
    }
    QL_TRY(attribute(j, obj, name, out));
    if (out->kind == QL_J_ABSENT) {
        QL_TRY(element(j, obj, name, out));
    }
    return out->kind == QL_J_ABSENT ? missing(j, obj, name, out) : QL_OK;
}

ql_status ql_jinja_attr_only(ql_jinja *j, ql_jval obj, ql_jval name,
                             ql_jval *out)
{
    if (obj.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, obj);
    }
    QL_TRY(attribute(j, obj, name, out));
    return out->kind == QL_J_ABSENT ? missing(j, obj, name, out) : QL_OK;
}

ql_status ql_jinja_item(ql_jinja *j, ql_jval obj, ql_jval key, ql_jval *out)
{
    if (obj.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, obj);
    }
    QL_TRY(element(j, obj, key, out));
    if (out->kind == QL_J_ABSENT && ql_jval_is_str(key)) {
        QL_TRY(attribute(j, obj, key, out));
    }
    return out->kind == QL_J_ABSENT ? missing(j, obj, key, out) : QL_OK;
}

/* A bound of a slice of n elements with this step. */
static int64_t clip(int64_t i, int64_t n, int64_t step)
{
    const int64_t least = step < 0 ? -1 : 0;
    const int64_t most = step < 0 ? n - 1 : n;

    if (i < 0) {
        i = i < -n ? least : i + n;
    }
    return i > most ? most : i;
}

void ql_jinja_clip(int64_t n, int64_t *from, int64_t *to)
{
    *from = clip(*from, n, 1);
    *to = clip(*to, n, 1);
    *to = *to < *from ? *from : *to;
}

static ql_status read_bound(ql_jinja *j, ql_jval v, int64_t fallback,
                            int64_t *out)
{
    *out = fallback;
    if (ql_jval_is_int(v)) {
        *out = ql_jval_whole(v);
    } else if (v.kind != QL_J_ABSENT && v.kind != QL_J_NONE) {
        QL_RAISE(j, "TypeError",
                 "slice indices must be integers or None or have an __index__ "
                 "method");
    }
    return QL_OK;
}

static ql_status part_of_range(ql_jinja *j, const ql_jrange *r, int64_t from,
                               int64_t step, size_t count, ql_jval *out)
{
    ql_jrange *part = ql_jinja_take(&j->mem, 1, sizeof(*part));

    if (!part) {
        return QL_ENOMEM;
    }
    part->start = r->start + from * r->step;
    part->step = step * r->step;
    part->stop = part->start + (int64_t)count * part->step;
    part->n = count;
    *out = (ql_jval){.kind = QL_J_RANGE, .range = part};
    return QL_OK;
}

/* Elements from, from + step, ... of a list, count of them. */
static ql_status pick(ql_jinja *j, ql_jval obj, int64_t from, int64_t step,
                      size_t count, ql_jval *out)
{
    ql_jlist *all;
    ql_jlist *picked;

    if (obj.kind == QL_J_RANGE) {
        return part_of_range(j, obj.range, from, step, count, out);
    }
    QL_TRY(ql_jinja_iterate(j, obj, &all));
    QL_TRY(ql_jinja_list(j, count, &picked));
    for (size_t i = 0; i < count; i++) {
        picked->v[i] = all->v[from + (int64_t)i * step];
    }
    picked->n = count;
    *out = obj;
    out->list = picked;
    if (!ql_jval_is_str(obj)) {
        return QL_OK;
    }
    ql_jinja_scratch(j);
    for (size_t i = 0; i < count; i++) {
        const ql_jval c = picked->v[i];

        QL_TRY(ql_buf_append(&j->scratch, c.s, c.n));
    }
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = obj.markup;
    return QL_OK;
}

static ql_status part_of_string(ql_jinja *j, ql_jval s, int64_t from,
                                size_t count, ql_jval *out)
{
    const size_t at = ql_jchars_offset(s.s, s.n, (size_t)from);

    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    *out = ql_jval_str(s.s + at, ql_jchars_offset(s.s + at, s.n - at, count));
    out->markup = s.markup;
    return QL_OK;
}

ql_status ql_jinja_slice(ql_jinja *j, ql_jval obj, const ql_jval bounds[3],
                         ql_jval *out)
{
    const int64_t n = ql_jval_len(obj);
    int64_t step;
    int64_t from;
    int64_t to;
    size_t count = 0;

    if (obj.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, obj);
    }
    if (obj.kind == QL_J_DICT) {
        QL_RAISE(j, "TypeError", "unhashable type: 'slice'");
    }
    if (n < 0 || obj.kind == QL_J_VIEW) {
        QL_RAISE(j, "TypeError", "'%s' object is not subscriptable",
                 ql_jval_type(obj));
    }
    QL_TRY(read_bound(j, bounds[2], 1, &step));
    if (step == 0) {
        QL_RAISE(j, "ValueError", "slice step cannot be zero");
    }
    step = step < -INT32_MAX ? -INT32_MAX : step > INT32_MAX ? INT32_MAX : step;
    QL_TRY(read_bound(j, bounds[0], step < 0 ? INT64_MAX : 0, &from));
    QL_TRY(read_bound(j, bounds[1], step < 0 ? INT64_MIN : INT64_MAX, &to));
    from = clip(from, n, step);
    to = clip(to, n, step);
    if (step > 0 && to > from) {
        count = (size_t)((to - from - 1) / step + 1);
    } else if (step < 0 && from > to) {
        count = (size_t)((from - to - 1) / -step + 1);
    }
    return ql_jval_is_str(obj) && step == 1
               ? part_of_string(j, obj, from, count, out)
               : pick(j, obj, from, step, count, out);
}
