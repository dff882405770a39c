/* Filters that apply another filter, or a test, to each element. */
#include "src/text/jinja_access.h"
#include "src/text/jinja_path.h"
#include "src/text/jinja_tables.h"

static ql_status wrong_arg(ql_jinja *j, const char *what)
{
    QL_RAISE(j, "FilterArgumentError", "%s", what);
}

static const ql_jval *find_named(const ql_jargs *a, const char *name)
{
    for (size_t i = 0; i < a->n_named; i++) {
        if (ql_jval_says(a->names[i], name)) {
            return &a->named[i];
        }
    }
    return NULL;
}

/* The arguments behind the first n. */
static ql_jargs behind(const ql_jargs *a, size_t n)
{
    ql_jargs rest = *a;

    rest.v += n;
    rest.n -= n;
    return rest;
}

static ql_status map_attribute(ql_jinja *j, const ql_jcall *c,
                               const ql_jlist *list, ql_jlist *out)
{
    const ql_jval absent = {.kind = QL_J_ABSENT};
    const ql_jval *path = find_named(&c->args, "attribute");
    const ql_jval *fallback = find_named(&c->args, "default");

    if (c->args.n_named != 1 + (fallback != NULL)) {
        return wrong_arg(j, "Unexpected keyword argument");
    }
    for (size_t i = 0; i < list->n; i++) {
        ql_jval v;

        QL_TRY(ql_jinja_path(j, list->v[i], *path,
                             fallback ? *fallback : absent, &v));
        QL_TRY(ql_jinja_push(j, out, v));
    }
    return QL_OK;
}

static ql_status map_filter(ql_jinja *j, const ql_jcall *c,
                            const ql_jlist *list, ql_jlist *out)
{
    const ql_jentry *filter;
    ql_jargs rest;

    if (c->args.n == 0) {
        return wrong_arg(j, "map requires a filter argument");
    }
    filter = ql_jinja_filter(c->args.v[0]);
    if (!filter) {
        return ql_jinja_refuse(j, "No filter named '%.*s'.",
                               (int)c->args.v[0].n, c->args.v[0].s);
    }
    rest = behind(&c->args, 1);
    for (size_t i = 0; i < list->n; i++) {
        ql_jval v;

        QL_TRY(ql_jinja_apply(j, filter, list->v[i], &rest, &v));
        QL_TRY(ql_jinja_push(j, out, v));
    }
    return QL_OK;
}

static ql_status map(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool attribute =
        c->args.n == 0 && find_named(&c->args, "attribute") != NULL;
    ql_jlist *list;

    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    if (!ql_jval_truth(c->self)) {
        return QL_OK;
    }
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    return attribute ? map_attribute(j, c, list, out->list)
                     : map_filter(j, c, list, out->list);
}

/* Whether the element, or its attribute, passes the test that the arguments
 * name; without a test, whether it is true. */
static ql_status passes(ql_jinja *j, const ql_jcall *c, ql_jval v,
                        bool attribute, bool *out)
{
    const size_t at = attribute;
    const ql_jentry *test;
    ql_jargs rest;

    if (attribute) {
        QL_TRY(ql_jinja_path(j, v, c->args.v[0], (ql_jval){.kind = QL_J_ABSENT},
                             &v));
    }
    if (c->args.n > at) {
        test = ql_jinja_test(c->args.v[at]);
        if (!test) {
            return ql_jinja_refuse(j, "No test named '%.*s'.",
                                   (int)c->args.v[at].n, c->args.v[at].s);
        }
        rest = behind(&c->args, at + 1);
        QL_TRY(ql_jinja_apply(j, test, v, &rest, &v));
    }
    *out = ql_jval_truth(v);
    return QL_OK;
}

static ql_status pick(ql_jinja *j, const ql_jcall *c, bool attribute, bool want,
                      ql_jval *out)
{
    ql_jlist *list;

    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    if (!ql_jval_truth(c->self)) {
        return QL_OK;
    }
    if (attribute && c->args.n == 0) {
        return wrong_arg(j, "Missing parameter for attribute name");
    }
    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    for (size_t i = 0; i < list->n; i++) {
        bool good = false;

        QL_TRY(ql_jinja_spend(j, 1));
        QL_TRY(passes(j, c, list->v[i], attribute, &good));
        if (good == want) {
            QL_TRY(ql_jinja_push(j, out->list, list->v[i]));
        }
    }
    return QL_OK;
}

static ql_status select(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pick(j, c, false, true, out);
}

static ql_status reject(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pick(j, c, false, false, out);
}

static ql_status selectattr(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pick(j, c, true, true, out);
}

static ql_status rejectattr(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pick(j, c, true, false, out);
}

const ql_jentry ql_jinja_select_filters[] = {
    {"map", map, NULL, 0, QL_J_VARIADIC | QL_J_MAKES_LAZY},
    {"select", select, NULL, 0, QL_J_VARIADIC | QL_J_MAKES_LAZY},
    {"reject", reject, NULL, 0, QL_J_VARIADIC | QL_J_MAKES_LAZY},
    {"selectattr", selectattr, NULL, 0, QL_J_VARIADIC | QL_J_MAKES_LAZY},
    {"rejectattr", rejectattr, NULL, 0, QL_J_VARIADIC | QL_J_MAKES_LAZY},
    {0},
};
