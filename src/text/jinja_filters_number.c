/* Filters on numbers, and to numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/text/jinja_number.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_tables.h"

/* The text as a whole number, or as a float that is cut. */
static ql_status int_of_text(ql_jinja *j, const ql_jcall *c, bool *good,
                             int64_t *out)
{
    int64_t base = 10;
    double f;

    QL_TRY(ql_jarg_int(j, c, 1, &base));
    if (base != 0 && (base < 2 || base > 36)) {
        QL_RAISE(j, "ValueError", "int() base must be >= 2 and <= 36, or 0");
    }
    QL_TRY(ql_jinja_parse_int(j, c->self, (int)base, good, out));
    if (!*good) {
        QL_TRY(ql_jinja_parse_float(j, c->self, good, &f));
        *good = *good && isfinite(f);
        if (*good) {
            QL_TRY(ql_jinja_truncate(j, f, out));
        }
    }
    return QL_OK;
}

static ql_status to_int(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    bool good = true;
    int64_t i = 0;

    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, c->self);
    }
    if (ql_jval_is_str(c->self)) {
        QL_TRY(int_of_text(j, c, &good, &i));
    } else if (ql_jval_is_int(c->self)) {
        i = ql_jval_whole(c->self);
    } else if (c->self.kind == QL_J_FLOAT && !isnan(c->self.f)) {
        QL_TRY(ql_jinja_truncate(j, c->self.f, &i));
    } else {
        good = false;
    }
    *out = good                            ? ql_jval_int(i)
           : c->arg[0].kind == QL_J_ABSENT ? ql_jval_int(0)
                                           : c->arg[0];
    return QL_OK;
}

static ql_status to_float(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    bool good = true;
    double f = 0;

    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, c->self);
    }
    if (ql_jval_is_str(c->self)) {
        QL_TRY(ql_jinja_parse_float(j, c->self, &good, &f));
    } else if (ql_jval_is_number(c->self)) {
        f = ql_jval_real(c->self);
    } else {
        good = false;
    }
    *out = good                            ? ql_jval_float(f)
           : c->arg[0].kind == QL_J_ABSENT ? ql_jval_float(0)
                                           : c->arg[0];
    return QL_OK;
}

static ql_status absolute(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    if (!ql_jval_is_number(c->self)) {
        QL_RAISE(j, "TypeError", "bad operand type for abs(): '%s'",
                 ql_jval_type(c->self));
    }
    *out = c->self;
    if (c->self.kind == QL_J_FLOAT) {
        out->f = fabs(c->self.f);
        return QL_OK;
    }
    return ql_jval_whole(c->self) < 0
               ? ql_jinja_unary(j, QL_J_NEG, c->self, out)
               : ql_jinja_unary(j, QL_J_POS, c->self, out);
}

/* Rounds half to even, by the exact value of the double, as printf does. */
static double round_decimal(double f, int64_t digits)
{
    char text[400];

    if (digits > 300 || !isfinite(f)) {
        return f;
    }
    if (digits < 0) {
        const double unit = pow(10, (double)-digits);

        return isfinite(unit) ? rint(f / unit) * unit : 0;
    }
    if (snprintf(text, sizeof(text), "%.*f", (int)digits, f) >=
        (int)sizeof(text)) {
        return f; /* larger than its own precision */
    }
    return strtod(text, NULL);
}

/* A whole number rounded to tens, hundreds, ...: half to even. */
static ql_status round_whole(ql_jinja *j, int64_t i, int64_t digits,
                             ql_jval *out)
{
    int64_t unit = 1;
    int64_t rest;

    for (int64_t k = digits; k < 0; k++) {
        if (__builtin_mul_overflow(unit, 10, &unit)) {
            *out = ql_jval_int(0);
            return QL_OK;
        }
    }
    rest = i % unit;
    i -= rest;
    rest = rest < 0 ? -rest : rest;
    if (rest > unit - rest || (rest == unit - rest && i / unit % 2 != 0)) {
        return ql_jinja_binary(j, QL_J_ADD, ql_jval_int(i),
                               ql_jval_int(i < 0 ? -unit : unit), out);
    }
    *out = ql_jval_int(i);
    return QL_OK;
}

static ql_status round_by(ql_jinja *j, ql_jval v, int64_t digits, bool up,
                          ql_jval *out)
{
    const double unit = pow(10, (double)digits);
    const double f = ql_jval_real(v) * unit;
    int64_t i;

    QL_TRY(ql_jinja_truncate(j, up ? ceil(f) : floor(f), &i));
    return ql_jinja_binary(
        j, QL_J_DIV, ql_jval_int(i),
        digits < 0 ? ql_jval_float(unit) : ql_jval_int((int64_t)unit), out);
}

static ql_status round_to(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool up = ql_jval_says(c->arg[1], "ceil");
    int64_t digits = 0;

    QL_TRY(ql_jarg_int(j, c, 0, &digits));
    digits = digits > 400 ? 400 : digits < -400 ? -400 : digits;
    if (c->arg[1].kind != QL_J_ABSENT && !up &&
        !ql_jval_says(c->arg[1], "floor") &&
        !ql_jval_says(c->arg[1], "common")) {
        QL_RAISE(j, "FilterArgumentError",
                 "method must be common, ceil or floor");
    }
    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, c->self);
    }
    if (!ql_jval_is_number(c->self)) {
        QL_RAISE(j, "TypeError", "type %s doesn't define __round__ method",
                 ql_jval_type(c->self));
    }
    if (up || ql_jval_says(c->arg[1], "floor")) {
        return round_by(j, c->self, digits > 18 ? 18 : digits, up, out);
    }
    if (c->self.kind == QL_J_FLOAT) {
        *out = ql_jval_float(round_decimal(c->self.f, digits));
        return QL_OK;
    }
    return round_whole(j, ql_jval_whole(c->self), digits, out);
}

const ql_jentry ql_jinja_number_filters[] = {
    {"int", to_int, "default base", 0, 0},
    {"float", to_float, "default", 0, 0},
    {"abs", absolute, NULL, 0, 0},
    {"round", round_to, "precision method", 0, 0},
    {0},
};
