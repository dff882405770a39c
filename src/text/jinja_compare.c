#include <math.h>
#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_ops.h"

static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};

/* What a comparison found; apart: neither less, equal nor greater (NaN). */
typedef enum rank {
    LESS = -1,
    SAME = 0,
    GREATER = 1,
    APART = 2
} rank;

static rank rank_of(bool less, bool same, bool greater)
{
    return less ? LESS : same ? SAME : greater ? GREATER : APART;
}

static rank rank_numbers(ql_jval a, ql_jval b)
{
    if (ql_jval_is_int(a) && ql_jval_is_int(b)) {
        const int64_t x = ql_jval_whole(a);
        const int64_t y = ql_jval_whole(b);

        return rank_of(x<y, x == y, x> y);
    }
    return rank_of(ql_jval_real(a) < ql_jval_real(b),
                   ql_jval_real(a) == ql_jval_real(b),
                   ql_jval_real(a) > ql_jval_real(b));
}

/* The order of bytes of UTF-8 is that of code points. */
static rank rank_strings(ql_jval a, ql_jval b)
{
    const int c = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);

    return c != 0 ? rank_of(c<0, false, c> 0)
                  : rank_of(a.n<b.n, a.n == b.n, a.n> b.n);
}

static ql_status equal(ql_jinja *j, ql_jval a, ql_jval b, int depth, bool *out);

static ql_status equal_lists(ql_jinja *j, const ql_jlist *a, const ql_jlist *b,
                             int depth, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        QL_TRY(equal(j, a->v[i], b->v[i], depth, out));
    }
    return QL_OK;
}

static ql_status equal_dicts(ql_jinja *j, ql_jdict *a, ql_jdict *b, int depth,
                             bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        ql_jval *v;

        QL_TRY(ql_jinja_lookup(j, b, a->k[i], &v));
        *out = v != NULL;
        if (v) {
            QL_TRY(equal(j, a->v[i], *v, depth, out));
        }
    }
    return QL_OK;
}

static bool is_dict(ql_jval v)
{
    return v.kind == QL_J_DICT;
}

static ql_status equal(ql_jinja *j, ql_jval a, ql_jval b, int depth, bool *out)
{
    QL_TRY(ql_jinja_spend(j, 1));
    if (depth > QL_JINJA_NESTING) {
        QL_RAISE(j, "", "a value is nested deeper than %d", QL_JINJA_NESTING);
    }
    if (ql_jval_is_number(a) && ql_jval_is_number(b)) {
        *out = rank_numbers(a, b) == SAME;
    } else if (a.kind != b.kind) {
        *out = false;
    } else if (ql_jval_is_str(a)) {
        *out = ql_jval_same_text(a, b);
        return ql_jinja_spend_bytes(j, a.n == b.n ? a.n : 0);
    } else if (a.kind == QL_J_LIST || a.kind == QL_J_TUPLE) {
        return equal_lists(j, a.list, b.list, depth + 1, out);
    } else if (is_dict(a)) {
        return equal_dicts(j, a.dict, b.dict, depth + 1, out);
    } else {
        *out =
            a.kind == QL_J_NONE || a.kind == QL_J_UNDEFINED || a.list == b.list;
    }
    return QL_OK;
}

ql_status ql_jinja_equal(ql_jinja *j, ql_jval a, ql_jval b, bool *out)
{
    return equal(j, a, b, 0, out);
}

static ql_status rank_values(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                             int depth, rank *out);

/* The first elements that differ decide, else the lengths. */
static ql_status rank_lists(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                            int depth, rank *out)
{
    const size_t n = a.list->n < b.list->n ? a.list->n : b.list->n;
    size_t i = 0;
    bool same = true;

    while (i < n) {
        QL_TRY(equal(j, a.list->v[i], b.list->v[i], depth, &same));
        if (!same) {
            return rank_values(j, op, a.list->v[i], b.list->v[i], depth, out);
        }
        i++;
    }
    *out = rank_of(a.list->n < b.list->n, a.list->n == b.list->n, true);
    return QL_OK;
}

static ql_status rank_values(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                             int depth, rank *out)
{
    if (a.kind == QL_J_UNDEFINED || b.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, a.kind == QL_J_UNDEFINED ? a : b);
    }
    if (ql_jval_is_number(a) && ql_jval_is_number(b)) {
        *out = rank_numbers(a, b);
    } else if (ql_jval_is_str(a) && ql_jval_is_str(b)) {
        *out = rank_strings(a, b);
        return ql_jinja_spend_bytes(j, a.n < b.n ? a.n : b.n);
    } else if (a.kind == b.kind &&
               (a.kind == QL_J_LIST || a.kind == QL_J_TUPLE)) {
        return rank_lists(j, op, a, b, depth + 1, out);
    } else {
        QL_RAISE(j, "TypeError",
                 "'%s' not supported between instances of '%s' and '%s'",
                 signs[op], ql_jval_type(a), ql_jval_type(b));
    }
    return QL_OK;
}

static ql_status contains(ql_jinja *j, ql_jval item, ql_jval seq, bool *out)
{
    ql_jlist *list;
    ql_jval *v;
    size_t at;

    *out = false;
    if (ql_jval_is_str(seq)) {
        if (!ql_jval_is_str(item)) {
            QL_RAISE(j, "TypeError",
                     "'in <string>' requires string as left operand, not %s",
                     ql_jval_type(item));
        }
        QL_TRY(ql_jinja_find(j, seq, item, &at));
        *out = at != SIZE_MAX;
        return QL_OK;
    }
    if (is_dict(seq)) {
        QL_TRY(ql_jinja_need_key(j, item));
        QL_TRY(ql_jinja_lookup(j, seq.dict, item, &v));
        *out = v != NULL;
        return QL_OK;
    }
    if (!ql_jinja_can_iterate(seq)) {
        QL_RAISE(j, "TypeError", "argument of type '%s' is not iterable",
                 ql_jval_type(seq));
    }
    QL_TRY(ql_jinja_iterate(j, seq, &list));
    for (size_t i = 0; i < list->n && !*out; i++) {
        QL_TRY(ql_jinja_equal(j, list->v[i], item, out));
    }
    return QL_OK;
}

ql_status ql_jinja_compare(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                           bool *out)
{
    rank r = SAME;

    QL_TRY(ql_jinja_spend(j, 1));
    if (op == QL_J_IN || op == QL_J_NOT_IN) {
        QL_TRY(contains(j, a, b, out));
        *out = *out == (op == QL_J_IN);
        return QL_OK;
    }
    if (op == QL_J_EQ || op == QL_J_NE) {
        QL_TRY(ql_jinja_equal(j, a, b, out));
        *out = *out == (op == QL_J_EQ);
        return QL_OK;
    }
    QL_TRY(rank_values(j, op, a, b, 0, &r));
    *out = op == QL_J_LT   ? r == LESS
           : op == QL_J_LE ? r == LESS || r == SAME
           : op == QL_J_GT ? r == GREATER
                           : r == GREATER || r == SAME;
    return QL_OK;
}

/* Merges the sorted runs [from, mid) and [mid, to) of a into b. */
static ql_status merge(ql_jinja *j, const ql_jval *keys, bool reverse,
                       const size_t *a, size_t *b, const size_t run[3])
{
    size_t left = run[0];
    size_t right = run[1];

    for (size_t i = run[0]; i < run[2]; i++) {
        bool swap = left == run[1];

        if (!swap && right < run[2]) {
            const ql_jval x = keys[a[left]];
            const ql_jval y = keys[a[right]];

            QL_TRY(ql_jinja_compare(j, QL_J_LT, reverse ? x : y,
                                    reverse ? y : x, &swap));
        }
        b[i] = swap ? a[right++] : a[left++];
    }
    return QL_OK;
}

ql_status ql_jinja_order(ql_jinja *j, const ql_jval *keys, size_t n,
                         bool reverse, size_t *order)
{
    size_t *a = order;
    size_t *b = ql_jinja_take(&j->mem, n, sizeof(*b));

    if (!b) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        a[i] = i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        size_t *old = a;

        for (size_t i = 0; i < n; i += 2 * width) {
            const size_t mid = i + width < n ? i + width : n;
            const size_t to = mid + width < n ? mid + width : n;

            QL_TRY(merge(j, keys, reverse, a, b, (size_t[]){i, mid, to}));
        }
        a = b;
        b = old;
    }
    if (n > 0 && a != order) {
        memcpy(order, a, n * sizeof(*order));
    }
    return QL_OK;
}

ql_status ql_jinja_find(ql_jinja *j, ql_jval s, ql_jval what, size_t *at)
{
    /* a search compares what with many places, mostly its first bytes */
    QL_TRY(ql_jinja_spend(j, s.n / QL_JINJA_BLOCK *
                                 (1 + what.n / QL_JINJA_BLOCK)));
    *at = ql_jchars_find(s.s, s.n, what.s, what.n);
    return QL_OK;
}
