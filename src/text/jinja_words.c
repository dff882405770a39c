#include "src/text/jinja_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/jinja_chars.h"
#include "src/text/utf8.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int digit_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Bytes of digits of a base, which may have a low line between them. */
static size_t digits(const char *s, size_t n, int base)
{
    size_t i = 0;

    while (i < n) {
        const size_t at = i > 0 && s[i] == '_' ? i + 1 : i;

        if (at >= n || digit_value(s[at]) >= base) {
            break;
        }
        i = at + 1;
    }
    return i;
}

/* Bytes of a number with a point or exponent, 0 if there is none. */
static size_t float_len(const char *s, size_t n)
{
    size_t i = digits(s, n, 10);
    size_t more = 0;
    bool fraction = false;

    if (i > 0 && i < n && s[i] == '.') {
        more = digits(s + i + 1, n - i - 1, 10);
        fraction = more > 0;
        i += fraction ? 1 + more : 0;
    }
    if (i > 0 && i < n && (s[i] | 0x20) == 'e') {
        const size_t sign = i + 1 < n && (s[i + 1] == '+' || s[i + 1] == '-');

        more = digits(s + i + 1 + sign, n - i - 1 - sign, 10);
        if (more > 0) {
            return i + 1 + sign + more;
        }
    }
    return fraction ? i : 0;
}

/* A number without its low lines, for strtod and strtoll. */
static char *plain(ql_jinja_mem *mem, const char *s, size_t n)
{
    char *copy = ql_jinja_copy(mem, s, n);
    size_t k = 0;

    for (size_t i = 0; copy && i < n; i++) {
        if (s[i] != '_') {
            copy[k++] = s[i];
        }
    }
    if (copy) {
        copy[k] = '\0';
    }
    return copy;
}

/* Base of a number that begins with 0x, 0o or 0b; 0 for none of them. */
static int base_of(const char *s, size_t n)
{
    static const char letters[] = "xob";
    static const int bases[] = {16, 8, 2};
    const char *p =
        n > 2 && s[0] == '0' && s[1] ? strchr(letters, s[1] | 0x20) : NULL;
    size_t from = 2;

    if (!p || !*p) {
        return 0;
    }
    from += s[2] == '_';
    return from < n && digit_value(s[from]) < bases[p - letters]
               ? bases[p - letters]
               : 0;
}

static ql_status read_int(ql_jinja_mem *mem, const char *s, size_t n,
                          ql_jtoken *t, size_t *len)
{
    const int base = base_of(s, n);
    const size_t head = base > 0 ? 2 + (s[2] == '_') : 0;
    char *copy;

    *len = head + digits(s + head, n - head, base > 0 ? base : 10);
    if (base == 0 && s[0] == '0') {
        *len = digits(s, n, 1);
    }
    copy = plain(mem, s + head, *len - head);
    if (!copy) {
        return QL_ENOMEM;
    }
    errno = 0;
    t->kind = QL_J_T_INT;
    t->value = ql_jval_int(strtoll(copy, NULL, base > 0 ? base : 10));
    if (errno == ERANGE) {
        QL_FAIL(QL_EUNSUPPORTED, "the number %s is beyond 64 bits", copy);
    }
    return QL_OK;
}

static ql_status read_number(ql_jinja_mem *mem, const char *s, size_t n,
                             char before, ql_jtoken *t, size_t *len)
{
    const size_t real = before == '.' ? 0 : float_len(s, n);
    char *copy;

    if (real == 0) {
        return read_int(mem, s, n, t, len);
    }
    copy = plain(mem, s, real);
    if (!copy) {
        return QL_ENOMEM;
    }
    *len = real;
    t->kind = QL_J_T_FLOAT;
    t->value = ql_jval_float(strtod(copy, NULL));
    return QL_OK;
}

static size_t name_len(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n &&
           (s[i] == '_' || ql_utf8_is_word(ql_utf8_get(s + i, n - i)))) {
        i += ql_utf8_len(s + i, n - i);
    }
    return i;
}

/* The character of a numbered escape; *i stands behind its letter. Surrogates
 * and what lies beyond Unicode are refused. */
static ql_status numbered(const char *s, size_t n, size_t *i, size_t want,
                          ql_buf *out)
{
    int32_t c = 0;

    for (size_t k = 0; k < want; k++) {
        if (*i >= n || digit_value(s[*i]) > 15 || c > 0x10ffff) {
            QL_FAIL(QL_EFORMAT, "truncated \\%cXX escape",
                    want == 2   ? 'x'
                    : want == 4 ? 'u'
                                : 'U');
        }
        c = c * 16 + digit_value(s[(*i)++]);
    }
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        QL_FAIL(QL_EFORMAT, "illegal Unicode character");
    }
    return ql_jchar_put(out, c);
}

static ql_status octal(const char *s, size_t n, size_t *i, ql_buf *out)
{
    int32_t c = 0;

    for (size_t k = 0; k < 3 && *i < n && s[*i] >= '0' && s[*i] <= '7'; k++) {
        c = c * 8 + (s[(*i)++] - '0');
    }
    return ql_jchar_put(out, c);
}

/* One escape; *i stands behind the backslash, *i < n. */
static ql_status escape(const char *s, size_t n, size_t *i, ql_buf *out)
{
    static const char letters[] = "\\'\"abfnrtv";
    static const char meanings[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = s[*i];
    const char *p = c ? strchr(letters, c) : NULL;

    if (c >= '0' && c <= '7') {
        return octal(s, n, i, out);
    }
    *i += 1;
    if (p) {
        return ql_buf_putc(out, meanings[p - letters]);
    }
    switch (c) {
    case '\n':
        return QL_OK;
    case 'x':
        return numbered(s, n, i, 2, out);
    case 'u':
        return numbered(s, n, i, 4, out);
    case 'U':
        return numbered(s, n, i, 8, out);
    case 'N':
        QL_FAIL(QL_EUNSUPPORTED, "characters by name (\\N) are not supported");
    default:
        QL_TRY(ql_buf_putc(out, '\\'));
        return ql_buf_putc(out, c);
    }
}

static ql_status unescape(const char *s, size_t n, ql_buf *out)
{
    size_t i = 0;

    QL_TRY(ql_buf_append(out, "", 0));
    while (i < n) {
        if (s[i] == '\\') {
            i++;
            QL_TRY(escape(s, n, &i, out));
        } else {
            QL_TRY(ql_buf_putc(out, s[i++]));
        }
    }
    return QL_OK;
}

static ql_status read_string(ql_jinja_mem *mem, const char *s, size_t n,
                             ql_jtoken *t, size_t *len)
{
    size_t end = 1;
    ql_status st;
    ql_buf b;

    *len = 0;
    while (end < n && s[end] != s[0]) {
        end += s[end] == '\\' ? 2 : 1;
    }
    if (end >= n) {
        return QL_OK;
    }
    *len = end + 1;
    t->kind = QL_J_T_STRING;
    ql_buf_init(&b, QL_TAG_TEXT, 4 * n);
    st = unescape(s + 1, end - 1, &b);
    if (st == QL_OK) {
        t->value = ql_jval_str(ql_jinja_copy(mem, b.data, b.len), b.len);
        st = t->value.s ? QL_OK : QL_ENOMEM;
    }
    ql_buf_free(&b);
    return st;
}

/* Longer signs first. */
static const char *const signs[] = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

static void read_sign(const char *s, size_t n, ql_jtoken *t, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
        const size_t m = strlen(signs[i]);

        if (m <= n && memcmp(s, signs[i], m) == 0) {
            t->kind = QL_J_T_SIGN;
            t->value = ql_jval_text(signs[i]);
            *len = m;
            return;
        }
    }
}

ql_status ql_jinja_word(ql_jinja_mem *mem, const char *s, size_t n, char before,
                        ql_jtoken *t, size_t *len)
{
    if (is_digit(s[0])) {
        return read_number(mem, s, n, before, t, len);
    }
    if (s[0] == '"' || s[0] == '\'') {
        return read_string(mem, s, n, t, len);
    }
    *len = name_len(s, n);
    if (*len == 0) {
        read_sign(s, n, t, len);
        return QL_OK;
    }
    t->kind = QL_J_T_NAME;
    t->value = ql_jval_str(s, *len);
    return QL_OK;
}
