/* Fields of a given width: numbers and text. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/text/jinja_chars.h"
#include "src/text/jinja_format.h"
#include "src/text/utf8.h"

enum {
    MOST_DIGITS = 1000000, /* of a width */
    MOST_PRECISION = 300,
    NUMBER = 1024 /* bytes of a number, commas included */
};

ql_status ql_jspec_digits(ql_jinja *j, ql_jval s, size_t *i, int64_t *out)
{
    *out = -1;
    while (*i < s.n && s.s[*i] >= '0' && s.s[*i] <= '9') {
        *out = (*out < 0 ? 0 : *out) * 10 + (s.s[*i] - '0');
        *i += 1;
        if (*out > MOST_DIGITS) {
            QL_RAISE(j, "ValueError", "a field is too wide");
        }
    }
    return QL_OK;
}

static ql_status put_fill(ql_buf *b, const ql_jspec *spec, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_puts(b, *spec->fill ? spec->fill : " "));
    }
    return QL_OK;
}

/* sign and text, filled to the width; align: where none is given. */
static ql_status put_aligned(ql_buf *b, const ql_jspec *spec, char align,
                             const char *sign, ql_jval text)
{
    const int64_t len = (int64_t)strlen(sign) + ql_jval_len(text);
    const int64_t pad = spec->width > len ? spec->width - len : 0;
    const char how = spec->align ? spec->align : align;
    const int64_t left = how == '<' ? 0 : how == '^' ? pad / 2 : pad;

    if (how != '=') {
        QL_TRY(put_fill(b, spec, left));
    }
    QL_TRY(ql_buf_puts(b, sign));
    if (how == '=') {
        QL_TRY(put_fill(b, spec, left));
    }
    QL_TRY(ql_buf_append(b, text.s, text.n));
    return put_fill(b, spec, pad - left);
}

ql_status ql_jspec_put_text(ql_jinja *j, ql_buf *b, const ql_jspec *spec,
                            ql_jval s)
{
    QL_TRY(ql_jinja_spend_bytes(j, s.n + (size_t)spec->width));
    if (spec->precision >= 0) {
        s.n = ql_jchars_offset(s.s, s.n, (size_t)spec->precision);
    }
    return put_aligned(b, spec, '<', "", s);
}

/* Puts commas between thousands of the digits that text begins with. */
static void group(char *text)
{
    const size_t n = strspn(text, "0123456789");

    for (size_t i = n; i > 3; i -= 3) {
        memmove(text + i - 2, text + i - 3, strlen(text + i - 3) + 1);
        text[i - 3] = ',';
    }
}

static void binary_digits(uint64_t u, char *text)
{
    int bits = 1;

    while (bits < 64 && u >> bits) {
        bits++;
    }
    for (int i = bits; i > 0; i--) {
        *text++ = (char)('0' + (u >> (i - 1) & 1));
    }
    *text = '\0';
}

static const char *prefix_of(const ql_jspec *spec)
{
    if (!spec->alternate) {
        return "";
    }
    switch (spec->type) {
    case 'x':
        return "0x";
    case 'X':
        return "0X";
    case 'o':
        return "0o";
    case 'b':
        return "0b";
    default:
        return "";
    }
}

static void whole_digits(const ql_jspec *spec, uint64_t u, char *text)
{
    if (spec->type == 'b') {
        binary_digits(u, text);
        return;
    }
    snprintf(text, NUMBER,
             spec->type == 'x'   ? "%" PRIx64
             : spec->type == 'X' ? "%" PRIX64
             : spec->type == 'o' ? "%" PRIo64
                                 : "%" PRIu64,
             u);
}

static ql_status real_digits(ql_jinja *j, const ql_jspec *spec, double f,
                             char *text)
{
    const int digits = spec->precision < 0 ? 6 : spec->precision;

    if (digits > MOST_PRECISION) {
        QL_RAISE(j, "ValueError", "precision too big");
    }
    if (spec->alternate) {
        return ql_jinja_refuse(j, "the flag # of floats is not supported");
    }
    f = fabs(spec->type == '%' ? f * 100 : f);
    snprintf(text, NUMBER,
             spec->type == '%'   ? "%.*f%%"
             : spec->type == 'f' ? "%.*f"
             : spec->type == 'F' ? "%.*F"
             : spec->type == 'e' ? "%.*e"
             : spec->type == 'E' ? "%.*E"
             : spec->type == 'G' ? "%.*G"
                                 : "%.*g",
             digits, f);
    return QL_OK;
}

ql_status ql_jspec_put_number(ql_jinja *j, ql_buf *b, const ql_jspec *spec,
                              ql_jval v)
{
    const bool whole = !spec->type || strchr("dxXob", spec->type);
    const bool negative = v.kind == QL_J_FLOAT ? signbit(v.f) && !isnan(v.f)
                                               : ql_jval_whole(v) < 0;
    char text[NUMBER];
    char sign[4];

    QL_TRY(ql_jinja_spend_bytes(j, (size_t)spec->width));
    if (whole && ql_jval_is_int(v)) {
        const uint64_t u = (uint64_t)ql_jval_whole(v);

        whole_digits(spec, negative ? 0 - u : u, text);
    } else {
        QL_TRY(real_digits(j, spec, ql_jval_real(v), text));
    }
    if (spec->grouped) {
        group(text);
    }
    snprintf(sign, sizeof(sign), "%s%s",
             negative            ? "-"
             : spec->sign == '+' ? "+"
             : spec->sign == ' ' ? " "
                                 : "",
             whole ? prefix_of(spec) : "");
    return put_aligned(b, spec, '>', sign, ql_jval_text(text));
}
