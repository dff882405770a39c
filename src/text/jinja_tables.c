#include "src/text/jinja_tables.h"

#include <string.h>

static const ql_jentry *find(const ql_jentry *table, ql_jval name)
{
    while (table && table->name) {
        if (ql_jval_says(name, table->name)) {
            return table;
        }
        table++;
    }
    return NULL;
}

static const ql_jentry *find_in(const ql_jentry *const *tables, size_t n,
                                ql_jval name)
{
    const ql_jentry *e = NULL;

    for (size_t i = 0; i < n && !e; i++) {
        e = find(tables[i], name);
    }
    return e;
}

const ql_jentry *ql_jinja_filter(ql_jval name)
{
    static const ql_jentry *const tables[] = {
        ql_jinja_sequence_filters, ql_jinja_select_filters,
        ql_jinja_sort_filters, ql_jinja_text_filters, ql_jinja_number_filters};

    return find_in(tables, sizeof(tables) / sizeof(*tables), name);
}

const ql_jentry *ql_jinja_test(ql_jval name)
{
    return find(ql_jinja_tests, name);
}

const ql_jentry *ql_jinja_function(ql_jval name)
{
    return find(ql_jinja_functions, name);
}

const ql_jentry *ql_jinja_method(ql_jkind kind, ql_jval name)
{
    static const ql_jentry *const tables[QL_J_KINDS][2] = {
        [QL_J_STR] = {ql_jinja_str_methods, ql_jinja_str_questions},
        [QL_J_LIST] = {ql_jinja_list_methods},
        [QL_J_TUPLE] = {ql_jinja_tuple_methods},
        [QL_J_RANGE] = {ql_jinja_tuple_methods},
        [QL_J_DICT] = {ql_jinja_dict_methods},
        [QL_J_CYCLER] = {ql_jinja_cycler_methods},
        [QL_J_LOOP] = {ql_jinja_loop_methods},
    };

    return find_in(tables[kind], 2, name);
}

/* Length of the first of a row's parameters. */
static size_t word(const char *params)
{
    return strcspn(params, " ");
}

static const char *next_word(const char *params)
{
    params += word(params);
    return *params ? params + 1 : params;
}

static int count_words(const char *params)
{
    int n = 0;

    while (*params) {
        params = next_word(params);
        n++;
    }
    return n;
}

/* The place of a parameter, -1 if there is none of that name. */
static int place_of(const char *params, ql_jval name)
{
    for (int i = 0; *params; i++) {
        if (ql_jval_same_text(ql_jval_str(params, word(params)), name)) {
            return i;
        }
        params = next_word(params);
    }
    return -1;
}

/* Sorts the arguments to the row's parameters. */
static ql_status sort(ql_jinja *j, const ql_jentry *e, ql_jcall *c)
{
    const char *params = e->params ? e->params : "";
    const size_t n = (size_t)count_words(params);

    if (c->args.n > n) {
        QL_RAISE(j, "TypeError", "%s() takes at most %zu arguments (%zu given)",
                 e->name, n, c->args.n);
    }
    for (size_t i = 0; i < c->args.n; i++) {
        c->arg[i] = c->args.v[i];
    }
    for (size_t i = 0; i < c->args.n_named; i++) {
        const ql_jval name = c->args.names[i];
        const int at = place_of(params, name);

        if (at < 0) {
            QL_RAISE(j, "TypeError",
                     "%s() got an unexpected keyword argument '%.*s'", e->name,
                     (int)name.n, name.s);
        }
        if (c->arg[at].kind != QL_J_ABSENT) {
            QL_RAISE(j, "TypeError",
                     "%s() got multiple values for argument '%.*s'", e->name,
                     (int)name.n, name.s);
        }
        c->arg[at] = c->args.named[i];
    }
    for (int i = 0; i < e->need; i++) {
        if (c->arg[i].kind == QL_J_ABSENT) {
            QL_RAISE(j, "TypeError",
                     "%s() missing 1 required positional argument: '%.*s'",
                     e->name, (int)word(params), params);
        }
        params = next_word(params);
    }
    return QL_OK;
}

ql_status ql_jinja_apply(ql_jinja *j, const ql_jentry *e, ql_jval self,
                         const ql_jargs *args, ql_jval *out)
{
    ql_jcall c = {.self = self, .args = *args};

    QL_TRY(ql_jinja_spend(j, 1));
    if (!(e->flags & QL_J_VARIADIC)) {
        QL_TRY(sort(j, e, &c));
    }
    if (e->flags & QL_J_MAKES_LAZY) {
        QL_TRY(ql_jinja_iterator(j, "generator", NULL, out));
        out->lazy->entry = e;
        out->lazy->call = c;
        return QL_OK;
    }
    return e->fn(j, &c, out);
}

ql_status ql_jarg_int(ql_jinja *j, const ql_jcall *c, int i, int64_t *out)
{
    if (c->arg[i].kind == QL_J_ABSENT) {
        return QL_OK;
    }
    if (!ql_jval_is_int(c->arg[i])) {
        QL_RAISE(j, "TypeError",
                 "'%s' object cannot be interpreted as an integer",
                 ql_jval_type(c->arg[i]));
    }
    *out = ql_jval_whole(c->arg[i]);
    return QL_OK;
}

ql_status ql_jarg_str(ql_jinja *j, const ql_jcall *c, int i, ql_jval *out)
{
    if (c->arg[i].kind == QL_J_ABSENT) {
        return QL_OK;
    }
    if (!ql_jval_is_str(c->arg[i])) {
        QL_RAISE(j, "TypeError", "argument must be str, not %s",
                 ql_jval_type(c->arg[i]));
    }
    *out = c->arg[i];
    return QL_OK;
}

bool ql_jarg_truth(const ql_jcall *c, int i, bool fallback)
{
    return c->arg[i].kind == QL_J_ABSENT ? fallback : ql_jval_truth(c->arg[i]);
}

bool ql_jarg_none(const ql_jcall *c, int i)
{
    return c->arg[i].kind == QL_J_ABSENT || c->arg[i].kind == QL_J_NONE;
}
