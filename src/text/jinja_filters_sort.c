/* Filters that compare elements: by a key, which may be a part of each. */
#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_path.h"
#include "src/text/jinja_tables.h"

/* One key by each of the paths between commas. */
static ql_status several_keys(ql_jinja *j, ql_jval v, ql_jval paths,
                              bool case_counts, ql_jval *out)
{
    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    for (size_t i = 0; i <= paths.n;) {
        const char *comma = memchr(paths.s + i, ',', paths.n - i);
        const size_t end = comma ? (size_t)(comma - paths.s) : paths.n;
        ql_jval key;

        QL_TRY(ql_jinja_key(j, v, ql_jval_str(paths.s + i, end - i),
                            case_counts, &key));
        QL_TRY(ql_jinja_push(j, out->list, key));
        i = end + 1;
    }
    return QL_OK;
}

/* The elements of a list in the order of keys[n]. */
static ql_status in_order(ql_jinja *j, const ql_jlist *list,
                          const ql_jval *keys, bool reverse, ql_jval *out)
{
    size_t *order = ql_jinja_take(&j->mem, list->n, sizeof(*order));

    if (!order) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_jinja_order(j, keys, list->n, reverse, order));
    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, list->n, &out->list));
    for (size_t i = 0; i < list->n; i++) {
        out->list->v[i] = list->v[order[i]];
    }
    out->list->n = list->n;
    return QL_OK;
}

static ql_status sort(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool case_counts = ql_jarg_truth(c, 1, false);
    ql_jlist *keys;
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_list(j, list->n, &keys));
    for (size_t i = 0; i < list->n; i++) {
        if (ql_jval_is_str(c->arg[2])) {
            QL_TRY(several_keys(j, list->v[i], c->arg[2], case_counts,
                                &keys->v[i]));
        } else {
            QL_TRY(ql_jinja_key(j, list->v[i], c->arg[2], case_counts,
                                &keys->v[i]));
        }
    }
    return in_order(j, list, keys->v, ql_jarg_truth(c, 0, false), out);
}

static ql_status dictsort(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool by_value = ql_jval_says(c->arg[1], "value");
    const bool case_counts = ql_jarg_truth(c, 0, false);
    const ql_jdict *d = c->self.dict;
    ql_jlist *keys;
    ql_jlist *list;

    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, c->self);
    }
    if (c->self.kind != QL_J_DICT) {
        QL_RAISE(j, "AttributeError", "'%s' object has no attribute 'items'",
                 ql_jval_type(c->self));
    }
    if (c->arg[1].kind != QL_J_ABSENT && !by_value &&
        !ql_jval_says(c->arg[1], "key")) {
        QL_RAISE(j, "FilterArgumentError",
                 "You can only sort by either \"key\" or \"value\"");
    }
    QL_TRY(ql_jinja_list(j, d->n, &keys));
    QL_TRY(ql_jinja_list(j, d->n, &list));
    for (size_t i = 0; i < d->n; i++) {
        QL_TRY(ql_jinja_pair(j, d->k[i], d->v[i], &list->v[list->n++]));
        QL_TRY(ql_jinja_fold(j, by_value ? d->v[i] : d->k[i], case_counts,
                             &keys->v[i]));
    }
    return in_order(j, list, keys->v, ql_jarg_truth(c, 2, false), out);
}

static ql_status unique(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;
    ql_jval seen;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_dict(j, 0, &seen));
    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    for (size_t i = 0; i < list->n; i++) {
        ql_jval key;
        ql_jval *old;

        QL_TRY(ql_jinja_key(j, list->v[i], c->arg[1],
                            ql_jarg_truth(c, 0, false), &key));
        QL_TRY(ql_jinja_need_key(j, key));
        QL_TRY(ql_jinja_lookup(j, seen.dict, key, &old));
        if (!old) {
            QL_TRY(ql_jinja_put_new(j, seen.dict, key, key));
            QL_TRY(ql_jinja_push(j, out->list, list->v[i]));
        }
    }
    return QL_OK;
}

/* The first of the least or greatest elements. */
static ql_status extreme(ql_jinja *j, const ql_jcall *c, ql_jop op,
                         ql_jval *out)
{
    const bool case_counts = ql_jarg_truth(c, 0, false);
    ql_jval best;
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    if (list->n == 0) {
        return ql_jinja_undefined_hint(
            j, "No aggregated item, sequence was empty.", out);
    }
    for (size_t i = 0; i < list->n; i++) {
        bool better = i == 0;
        ql_jval key;

        QL_TRY(ql_jinja_key(j, list->v[i], c->arg[1], case_counts, &key));
        if (!better) {
            QL_TRY(ql_jinja_compare(j, op, key, best, &better));
        }
        if (better) {
            best = key;
            *out = list->v[i];
        }
    }
    return QL_OK;
}

static ql_status min(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return extreme(j, c, QL_J_LT, out);
}

static ql_status max(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return extreme(j, c, QL_J_GT, out);
}

/* Appends the group of a key, with no elements yet. */
static ql_status add_group(ql_jinja *j, ql_jval key, ql_jlist *groups,
                           ql_jlist **elements)
{
    ql_jval group;

    QL_TRY(ql_jinja_list(j, 0, elements));
    QL_TRY(ql_jinja_pair(j, key, ql_jval_list(*elements), &group));
    group.list->group = true;
    return ql_jinja_push(j, groups, group);
}

static ql_status groupby(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool case_counts = ql_jarg_truth(c, 2, false);
    ql_jlist *elements = NULL;
    ql_jlist *keys;
    ql_jlist *list;
    ql_jval sorted;
    ql_jval before;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jinja_list(j, list->n, &keys));
    for (size_t i = 0; i < list->n; i++) {
        QL_TRY(ql_jinja_path(j, list->v[i], c->arg[0], c->arg[1], &keys->v[i]));
        QL_TRY(ql_jinja_fold(j, keys->v[i], case_counts, &keys->v[i]));
    }
    QL_TRY(in_order(j, list, keys->v, false, &sorted));
    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    for (size_t i = 0; i < sorted.list->n; i++) {
        bool same = false;
        ql_jval shown;
        ql_jval key;

        QL_TRY(
            ql_jinja_path(j, sorted.list->v[i], c->arg[0], c->arg[1], &shown));
        QL_TRY(ql_jinja_fold(j, shown, case_counts, &key));
        if (elements) {
            QL_TRY(ql_jinja_equal(j, key, before, &same));
        }
        if (!same) {
            QL_TRY(add_group(j, shown, out->list, &elements));
        }
        QL_TRY(ql_jinja_push(j, elements, sorted.list->v[i]));
        before = key;
    }
    return QL_OK;
}

const ql_jentry ql_jinja_sort_filters[] = {
    {"sort", sort, "reverse case_sensitive attribute", 0, 0},
    {"dictsort", dictsort, "case_sensitive by reverse", 0, 0},
    {"unique", unique, "case_sensitive attribute", 0, QL_J_MAKES_LAZY},
    {"min", min, "case_sensitive attribute", 0, 0},
    {"max", max, "case_sensitive attribute", 0, 0},
    {"groupby", groupby, "attribute default case_sensitive", 1, 0},
    {0},
};
