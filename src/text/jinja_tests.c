/* What can stand behind "is". */
#include "src/text/jinja_access.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_str.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"
#include "src/text/utf8.h"

static ql_status say(ql_jval *out, bool answer)
{
    *out = ql_jval_bool(answer);
    return QL_OK;
}

static ql_status defined(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind != QL_J_UNDEFINED);
}

static ql_status undefined(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_UNDEFINED);
}

static ql_status none(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_NONE);
}

static ql_status boolean(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_BOOL);
}

static ql_status is_true(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_BOOL && c->self.b);
}

static ql_status is_false(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_BOOL && !c->self.b);
}

static ql_status integer(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_INT);
}

static ql_status is_float(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_FLOAT);
}

static ql_status number(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jval_is_number(c->self));
}

static ql_status string(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jval_is_str(c->self));
}

static ql_status mapping(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.kind == QL_J_DICT);
}

/* What has a length and elements by number or key, which undefined values
 * claim as well. */
static ql_status sequence(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jval_len(c->self) >= 0 && c->self.kind != QL_J_VIEW);
}

static ql_status iterable(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jinja_can_iterate(c->self) || c->self.kind == QL_J_LOOP);
}

static ql_status callable(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jkind k = c->self.kind;

    (void)j;
    return say(out, k == QL_J_FUNCTION || k == QL_J_METHOD || k == QL_J_MACRO ||
                        k == QL_J_JOINER || k == QL_J_LOOP ||
                        k == QL_J_UNDEFINED);
}

static ql_status escaped(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, c->self.markup);
}

static ql_status is_filter(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jinja_filter(c->self) != NULL);
}

static ql_status is_test(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    return say(out, ql_jinja_test(c->self) != NULL);
}

static ql_status remainder_is(ql_jinja *j, ql_jval v, ql_jval by, int64_t want,
                              ql_jval *out)
{
    bool same;
    ql_jval rest;

    QL_TRY(ql_jinja_binary(j, QL_J_MOD, v, by, &rest));
    QL_TRY(ql_jinja_equal(j, rest, ql_jval_int(want), &same));
    return say(out, same);
}

static ql_status odd(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return remainder_is(j, c->self, ql_jval_int(2), 1, out);
}

static ql_status even(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return remainder_is(j, c->self, ql_jval_int(2), 0, out);
}

static ql_status divisibleby(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return remainder_is(j, c->self, c->arg[0], 0, out);
}

static ql_status has_case(ql_jinja *j, const ql_jcall *c, bool upper,
                          ql_jval *out)
{
    ql_jval s;

    QL_TRY(ql_jinja_str(j, c->self, &s));
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    return say(out, ql_jchars_all_case(s.s, s.n, upper));
}

static ql_status lower(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return has_case(j, c, false, out);
}

static ql_status upper(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return has_case(j, c, true, out);
}

/* The same object: for values that have no identity of their own here, an
 * equal one of the same kind. */
static ql_status sameas(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jval a = c->self;
    const ql_jval b = c->arg[0];
    const bool plain = ql_jval_is_number(a) || a.kind == QL_J_NONE;
    bool same = a.kind == b.kind;

    if (same && plain) {
        QL_TRY(ql_jinja_equal(j, a, b, &same));
    } else if (same) {
        same = a.list == b.list && a.n == b.n;
    }
    return say(out, same);
}

static ql_status compare(ql_jinja *j, const ql_jcall *c, ql_jop op,
                         ql_jval *out)
{
    bool holds;

    QL_TRY(ql_jinja_compare(j, op, c->self, c->arg[0], &holds));
    return say(out, holds);
}

static ql_status is_in(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_IN, out);
}

static ql_status eq(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_EQ, out);
}

static ql_status ne(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_NE, out);
}

static ql_status gt(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_GT, out);
}

static ql_status ge(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_GE, out);
}

static ql_status lt(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_LT, out);
}

static ql_status le(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return compare(j, c, QL_J_LE, out);
}

const ql_jentry ql_jinja_tests[] = {
    {"defined", defined, NULL, 0, 0},
    {"undefined", undefined, NULL, 0, 0},
    {"none", none, NULL, 0, 0},
    {"boolean", boolean, NULL, 0, 0},
    {"true", is_true, NULL, 0, 0},
    {"false", is_false, NULL, 0, 0},
    {"integer", integer, NULL, 0, 0},
    {"float", is_float, NULL, 0, 0},
    {"number", number, NULL, 0, 0},
    {"string", string, NULL, 0, 0},
    {"mapping", mapping, NULL, 0, 0},
    {"sequence", sequence, NULL, 0, 0},
    {"iterable", iterable, NULL, 0, 0},
    {"callable", callable, NULL, 0, 0},
    {"escaped", escaped, NULL, 0, 0},
    {"filter", is_filter, NULL, 0, 0},
    {"test", is_test, NULL, 0, 0},
    {"odd", odd, NULL, 0, 0},
    {"even", even, NULL, 0, 0},
    {"divisibleby", divisibleby, "num", 1, 0},
    {"lower", lower, NULL, 0, 0},
    {"upper", upper, NULL, 0, 0},
    {"sameas", sameas, "other", 1, 0},
    {"in", is_in, "seq", 1, 0},
    {"==", eq, "other", 1, 0},
    {"eq", eq, "other", 1, 0},
    {"equalto", eq, "other", 1, 0},
    {"!=", ne, "other", 1, 0},
    {"ne", ne, "other", 1, 0},
    {">", gt, "other", 1, 0},
    {"gt", gt, "other", 1, 0},
    {"greaterthan", gt, "other", 1, 0},
    {">=", ge, "other", 1, 0},
    {"ge", ge, "other", 1, 0},
    {"<", lt, "other", 1, 0},
    {"lt", lt, "other", 1, 0},
    {"lessthan", lt, "other", 1, 0},
    {"<=", le, "other", 1, 0},
    {"le", le, "other", 1, 0},
    {0},
};
