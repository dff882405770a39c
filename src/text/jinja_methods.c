/* Methods of lists, tuples and mappings, the questions that strings answer,
 * and what the sandbox of jinja2 forbids because it changes a value. */
#include "src/text/jinja_access.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_tables.h"
#include "src/text/utf8.h"

static ql_status list_index(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    int64_t from = 0;
    int64_t to = INT64_MAX;
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    QL_TRY(ql_jarg_int(j, c, 1, &from));
    QL_TRY(ql_jarg_int(j, c, 2, &to));
    ql_jinja_clip((int64_t)list->n, &from, &to);
    for (int64_t i = from; i < to; i++) {
        bool same;

        QL_TRY(ql_jinja_equal(j, list->v[i], c->arg[0], &same));
        if (same) {
            *out = ql_jval_int(i);
            return QL_OK;
        }
    }
    QL_RAISE(j, "ValueError", "the value is not in the %s",
             ql_jval_type(c->self));
}

static ql_status list_count(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->self, &list));
    *out = ql_jval_int(0);
    for (size_t i = 0; i < list->n; i++) {
        bool same;

        QL_TRY(ql_jinja_equal(j, list->v[i], c->arg[0], &same));
        out->i += same;
    }
    return QL_OK;
}

/* Nothing can be changed, so the copy need not be another one. */
static ql_status same(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    *out = c->self;
    return QL_OK;
}

static ql_status make_view(ql_jinja *j, const ql_jcall *c, int part,
                           ql_jval *out)
{
    ql_jview *view = ql_jinja_take(&j->mem, 1, sizeof(*view));

    if (!view) {
        return QL_ENOMEM;
    }
    view->dict = c->self.dict;
    view->part = part == QL_J_KEYS     ? QL_J_KEYS
                 : part == QL_J_VALUES ? QL_J_VALUES
                                       : QL_J_ITEMS;
    *out = (ql_jval){.kind = QL_J_VIEW, .view = view};
    return QL_OK;
}

static ql_status dict_keys(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return make_view(j, c, QL_J_KEYS, out);
}

static ql_status dict_values(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return make_view(j, c, QL_J_VALUES, out);
}

static ql_status dict_items(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return make_view(j, c, QL_J_ITEMS, out);
}

static ql_status dict_get(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval *found;

    QL_TRY(ql_jinja_need_key(j, c->arg[0]));
    QL_TRY(ql_jinja_lookup(j, c->self.dict, c->arg[0], &found));
    *out = found                           ? *found
           : c->arg[1].kind == QL_J_ABSENT ? ql_jval_none()
                                           : c->arg[1];
    return QL_OK;
}

typedef bool char_fn(int32_t c);

/* True when there are characters and all are of a kind. */
static ql_status all(ql_jinja *j, const ql_jcall *c, char_fn *is, ql_jval *out)
{
    const ql_jval s = c->self;

    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    *out = ql_jval_bool(s.n > 0);
    for (size_t i = 0; i < s.n && out->b; i += ql_utf8_len(s.s + i, s.n - i)) {
        out->b = is(ql_utf8_get(s.s + i, s.n - i));
    }
    return QL_OK;
}

static bool is_ascii_char(int32_t c)
{
    return c < 128;
}

static ql_status isdigit_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return all(j, c, ql_jchar_is_digit, out);
}

static ql_status isdecimal_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return all(j, c, ql_jchar_is_decimal, out);
}

static ql_status isalpha_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return all(j, c, ql_jchar_is_alpha, out);
}

static ql_status isalnum_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return all(j, c, ql_jchar_is_alnum, out);
}

static ql_status isspace_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return all(j, c, ql_jchar_is_space, out);
}

static ql_status isascii_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(all(j, c, is_ascii_char, out));
    out->b = out->b || c->self.n == 0;
    return QL_OK;
}

static ql_status isprintable_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(all(j, c, ql_jchar_is_printable, out));
    out->b = out->b || c->self.n == 0;
    return QL_OK;
}

static ql_status isupper_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    *out = ql_jval_bool(ql_jchars_all_case(c->self.s, c->self.n, true));
    return ql_jinja_spend_bytes(j, c->self.n);
}

static ql_status islower_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    *out = ql_jval_bool(ql_jchars_all_case(c->self.s, c->self.n, false));
    return ql_jinja_spend_bytes(j, c->self.n);
}

static ql_status istitle_all(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    *out = ql_jval_bool(ql_jchars_is_title(c->self.s, c->self.n));
    return ql_jinja_spend_bytes(j, c->self.n);
}

const ql_jentry ql_jinja_str_questions[] = {
    {"isdigit", isdigit_all, NULL, 0, 0},
    {"isdecimal", isdecimal_all, NULL, 0, 0},
    {"isalpha", isalpha_all, NULL, 0, 0},
    {"isalnum", isalnum_all, NULL, 0, 0},
    {"isspace", isspace_all, NULL, 0, 0},
    {"isascii", isascii_all, NULL, 0, 0},
    {"isprintable", isprintable_all, NULL, 0, 0},
    {"isupper", isupper_all, NULL, 0, 0},
    {"islower", islower_all, NULL, 0, 0},
    {"istitle", istitle_all, NULL, 0, 0},
    {"isnumeric", NULL, NULL, 0, QL_J_MISSING},
    {"isidentifier", NULL, NULL, 0, QL_J_MISSING},
    {0},
};

const ql_jentry ql_jinja_list_methods[] = {
    {"index", list_index, "value start stop", 1, 0},
    {"count", list_count, "value", 1, 0},
    {"copy", same, NULL, 0, 0},
    {"append", NULL, NULL, 0, QL_J_UNSAFE},
    {"clear", NULL, NULL, 0, QL_J_UNSAFE},
    {"extend", NULL, NULL, 0, QL_J_UNSAFE},
    {"insert", NULL, NULL, 0, QL_J_UNSAFE},
    {"pop", NULL, NULL, 0, QL_J_UNSAFE},
    {"remove", NULL, NULL, 0, QL_J_UNSAFE},
    {"reverse", NULL, NULL, 0, QL_J_UNSAFE},
    {"sort", NULL, NULL, 0, QL_J_UNSAFE},
    {0},
};

const ql_jentry ql_jinja_tuple_methods[] = {
    {"index", list_index, "value start stop", 1, 0},
    {"count", list_count, "value", 1, 0},
    {0},
};

const ql_jentry ql_jinja_dict_methods[] = {
    {"items", dict_items, NULL, 0, 0},
    {"keys", dict_keys, NULL, 0, 0},
    {"values", dict_values, NULL, 0, 0},
    {"get", dict_get, "key default", 1, 0},
    {"copy", same, NULL, 0, 0},
    {"fromkeys", NULL, NULL, 0, QL_J_MISSING},
    {"clear", NULL, NULL, 0, QL_J_UNSAFE},
    {"pop", NULL, NULL, 0, QL_J_UNSAFE},
    {"popitem", NULL, NULL, 0, QL_J_UNSAFE},
    {"setdefault", NULL, NULL, 0, QL_J_UNSAFE},
    {"update", NULL, NULL, 0, QL_J_UNSAFE},
    {0},
};
