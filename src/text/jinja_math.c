#include <math.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/text/jinja_format.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_text.h"

static const char *const signs[] = {
    [QL_J_ADD] = "+",           [QL_J_SUB] = "-",       [QL_J_MUL] = "*",
    [QL_J_DIV] = "/",           [QL_J_FLOORDIV] = "//", [QL_J_MOD] = "%",
    [QL_J_POW] = "** or pow()",
};

static ql_status wrong_types(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b)
{
    QL_RAISE(j, "TypeError",
             "unsupported operand type(s) for %s: '%s' and '%s'", signs[op],
             ql_jval_type(a), ql_jval_type(b));
}

static ql_status too_large(ql_jinja *j)
{
    QL_RAISE(j, "OverflowError", "a whole number is beyond 64 bits");
}

static ql_status divided_by_zero(ql_jinja *j, const char *what)
{
    QL_RAISE(j, "ZeroDivisionError", "%s", what);
}

static ql_status power(ql_jinja *j, int64_t x, int64_t n, ql_jval *out)
{
    int64_t y = 1;

    while (n > 0) {
        if ((n & 1) && __builtin_mul_overflow(y, x, &y)) {
            return too_large(j);
        }
        n >>= 1;
        if (n > 0 && __builtin_mul_overflow(x, x, &x)) {
            return too_large(j);
        }
    }
    *out = ql_jval_int(y);
    return QL_OK;
}

/* The remainder has the sign of the divisor, and the quotient fits it. */
static void divide(int64_t x, int64_t y, int64_t *quotient, int64_t *rest)
{
    *quotient = x / y;
    *rest = x % y;
    if (*rest != 0 && (*rest < 0) != (y < 0)) {
        *rest += y;
        *quotient -= 1;
    }
}

static ql_status whole(ql_jinja *j, ql_jop op, int64_t x, int64_t y,
                       ql_jval *out)
{
    int64_t r = 0;
    int64_t rest;
    bool over = false;

    if (op == QL_J_POW) {
        return power(j, x, y, out);
    }
    if (op == QL_J_FLOORDIV || op == QL_J_MOD) {
        if (y == 0) {
            return divided_by_zero(j, op == QL_J_MOD
                                          ? "integer modulo by zero"
                                          : "integer division or modulo by "
                                            "zero");
        }
        over = y == -1 && op == QL_J_FLOORDIV && x == INT64_MIN;
        if (y == -1) {
            r = op == QL_J_MOD || over ? 0 : -x;
        } else {
            divide(x, y, &r, &rest);
            r = op == QL_J_MOD ? rest : r;
        }
    } else if (op == QL_J_ADD) {
        over = __builtin_add_overflow(x, y, &r);
    } else if (op == QL_J_SUB) {
        over = __builtin_sub_overflow(x, y, &r);
    } else {
        over = __builtin_mul_overflow(x, y, &r);
    }
    *out = ql_jval_int(r);
    return over ? too_large(j) : QL_OK;
}

static void divide_real(double x, double y, double *quotient, double *rest)
{
    double q;

    *rest = fmod(x, y);
    q = (x - *rest) / y;
    if (*rest == 0) {
        *rest = copysign(0, y);
    } else if ((*rest < 0) != (y < 0)) {
        *rest += y;
        q -= 1;
    }
    *quotient = q == 0 ? copysign(0, x / y) : floor(q);
    if (q - *quotient > 0.5) {
        *quotient += 1;
    }
}

static ql_status power_real(ql_jinja *j, double x, double y, ql_jval *out)
{
    if (x == 0 && y < 0) {
        return divided_by_zero(j, "0.0 cannot be raised to a negative power");
    }
    if (x < 0 && isfinite(y) && y != floor(y)) {
        return ql_jinja_refuse(j, "complex numbers are not supported");
    }
    *out = ql_jval_float(pow(x, y));
    if (isinf(out->f) && isfinite(x) && isfinite(y)) {
        QL_RAISE(j, "OverflowError", "a number is too large");
    }
    return QL_OK;
}

static ql_status real(ql_jinja *j, ql_jop op, double x, double y, ql_jval *out)
{
    double quotient;
    double rest;

    if (op == QL_J_POW) {
        return power_real(j, x, y, out);
    }
    if (op == QL_J_FLOORDIV || op == QL_J_MOD) {
        if (y == 0) {
            return divided_by_zero(j, op == QL_J_MOD
                                          ? "float modulo"
                                          : "float floor division by zero");
        }
        divide_real(x, y, &quotient, &rest);
        *out = ql_jval_float(op == QL_J_MOD ? rest : quotient);
        return QL_OK;
    }
    *out = ql_jval_float(op == QL_J_ADD   ? x + y
                         : op == QL_J_SUB ? x - y
                         : op == QL_J_MUL ? x * y
                                          : x / y);
    return QL_OK;
}

static ql_status numbers(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                         ql_jval *out)
{
    const bool ints = ql_jval_is_int(a) && ql_jval_is_int(b);

    if (op == QL_J_DIV && ql_jval_real(b) == 0) {
        return divided_by_zero(j, ints ? "division by zero"
                                       : "float division by zero");
    }
    if (ints && op != QL_J_DIV && (op != QL_J_POW || ql_jval_whole(b) >= 0)) {
        return whole(j, op, ql_jval_whole(a), ql_jval_whole(b), out);
    }
    return real(j, op, ql_jval_real(a), ql_jval_real(b), out);
}

ql_status ql_jinja_repeat(ql_jinja *j, ql_jval v, int64_t n, ql_jval *out)
{
    const size_t times = n > 0 ? (size_t)n : 0;
    const bool text = ql_jval_is_str(v);
    const size_t size = text ? 1 : sizeof(*v.list->v);
    const size_t bytes = size * (text ? v.n : v.list->n);
    size_t total;
    char *p;

    if (ql_mul_overflows(bytes, times, &total)) {
        total = SIZE_MAX; /* beyond the ceiling */
    }
    p = ql_jinja_take(&j->mem, total, 1);
    if (!p) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_jinja_spend_bytes(j, total));
    for (size_t i = 0; i < times && bytes > 0; i++) {
        memcpy(p + i * bytes, text ? v.s : (const char *)v.list->v, bytes);
    }
    if (text) {
        *out = ql_jval_str(p, total);
        out->markup = v.markup;
        return QL_OK;
    }
    *out = v;
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    *out->list =
        (ql_jlist){.v = (void *)p, .n = total / size, .cap = total / size};
    return QL_OK;
}

static ql_status add_strings(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out)
{
    char *p;

    if (a.markup || b.markup) {
        QL_TRY(ql_jinja_escape(j, a, &a));
        QL_TRY(ql_jinja_escape(j, b, &b));
    }
    p = ql_jinja_take(&j->mem, a.n + b.n + 1, 1);
    if (!p) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_jinja_spend_bytes(j, a.n + b.n));
    memcpy(p, a.s, a.n);
    memcpy(p + a.n, b.s, b.n);
    *out = ql_jval_str(p, a.n + b.n);
    out->markup = a.markup;
    return QL_OK;
}

static ql_status add_lists(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_spend(j, a.list->n + b.list->n));
    QL_TRY(ql_jinja_list(j, a.list->n + b.list->n, &list));
    for (size_t i = 0; i < a.list->n; i++) {
        list->v[list->n++] = a.list->v[i];
    }
    for (size_t i = 0; i < b.list->n; i++) {
        list->v[list->n++] = b.list->v[i];
    }
    *out = a;
    out->list = list;
    return QL_OK;
}

static bool is_sequence(ql_jval v)
{
    return v.kind == QL_J_STR || v.kind == QL_J_LIST || v.kind == QL_J_TUPLE;
}

static ql_status add_sequence(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out)
{
    if (a.kind != b.kind) {
        const char *type =
            ql_jval_is_str(a) ? "str" : ql_jval_type(a); /* markup as well */

        QL_RAISE(j, "TypeError", "can only concatenate %s (not \"%s\") to %s",
                 type, ql_jval_type(b), type);
    }
    return ql_jval_is_str(a) ? add_strings(j, a, b, out)
                             : add_lists(j, a, b, out);
}

static ql_status multiply_sequence(ql_jinja *j, ql_jval a, ql_jval b,
                                   ql_jval *out)
{
    const ql_jval seq = is_sequence(a) ? a : b;
    const ql_jval n = is_sequence(a) ? b : a;

    if (!ql_jval_is_int(n)) {
        QL_RAISE(j, "TypeError",
                 "can't multiply sequence by non-int of type '%s'",
                 ql_jval_type(n));
    }
    return ql_jinja_repeat(j, seq, ql_jval_whole(n), out);
}

static ql_status join_texts(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out)
{
    ql_buf *text = ql_jinja_scratch(j);

    QL_TRY(ql_jinja_put_str(j, text, a));
    QL_TRY(ql_jinja_put_str(j, text, b));
    return ql_jinja_scratch_done(j, out);
}

ql_status ql_jinja_binary(ql_jinja *j, ql_jop op, ql_jval a, ql_jval b,
                          ql_jval *out)
{
    if (op == QL_J_CONCAT) {
        return join_texts(j, a, b, out);
    }
    if (op == QL_J_MOD && ql_jval_is_str(a)) {
        return ql_jinja_percent(j, a, b, out);
    }
    if (a.kind == QL_J_UNDEFINED || b.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, a.kind == QL_J_UNDEFINED ? a : b);
    }
    if (ql_jval_is_number(a) && ql_jval_is_number(b)) {
        return numbers(j, op, a, b, out);
    }
    if (op == QL_J_ADD && is_sequence(a)) {
        return add_sequence(j, a, b, out);
    }
    if (op == QL_J_MUL && (is_sequence(a) || is_sequence(b))) {
        return multiply_sequence(j, a, b, out);
    }
    return wrong_types(j, op, a, b);
}

ql_status ql_jinja_unary(ql_jinja *j, ql_jop op, ql_jval a, ql_jval *out)
{
    const char *sign = op == QL_J_NEG ? "-" : "+";

    if (a.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, a);
    }
    if (!ql_jval_is_number(a)) {
        QL_RAISE(j, "TypeError", "bad operand type for unary %s: '%s'", sign,
                 ql_jval_type(a));
    }
    if (a.kind == QL_J_FLOAT) {
        *out = ql_jval_float(op == QL_J_NEG ? -a.f : a.f);
        return QL_OK;
    }
    return op == QL_J_NEG ? whole(j, QL_J_SUB, 0, ql_jval_whole(a), out)
                          : whole(j, QL_J_ADD, 0, ql_jval_whole(a), out);
}
