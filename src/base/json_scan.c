#include "src/base/json_scan.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"

enum {
    MAX_DEPTH = 2048 /* jansson's limit too */
};

ql_status ql_json_scan_wrong(const ql_json_scan *s, const char *what)
{
    QL_FAIL(QL_EFORMAT, "%s: not valid JSON: %s (byte %zu)", s->where, what,
            (size_t)(s->p - s->begin));
}

int ql_json_scan_peek(ql_json_scan *s)
{
    while (s->p < s->end &&
           (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')) {
        s->p++;
    }
    return s->p < s->end ? (unsigned char)*s->p : -1;
}

bool ql_json_scan_take(ql_json_scan *s, char c)
{
    const bool there = ql_json_scan_peek(s) == (unsigned char)c;

    s->p += there;
    return there;
}

ql_status ql_json_scan_expect(ql_json_scan *s, char c)
{
    const char what[] = {c, ' ', 'e', 'x', 'p', 'e', 'c', 't', 'e', 'd', '\0'};

    return ql_json_scan_take(s, c) ? QL_OK : ql_json_scan_wrong(s, what);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits, -1 if there are not. */
static long hex4(ql_json_scan *s)
{
    long value = 0;

    for (int i = 0; i < 4; i++) {
        const int digit = s->p < s->end ? hex_digit(*s->p) : -1;

        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
        s->p++;
    }
    return value;
}

/* What follows \u: one code point, written as one number or as a pair of
 * surrogates. -1 if it is neither. */
static long code_point(ql_json_scan *s)
{
    const long high = hex4(s);
    long low;

    if (high < 0xd800 || high > 0xdfff) {
        return high;
    }
    if (high > 0xdbff || s->end - s->p < 6 || s->p[0] != '\\' ||
        s->p[1] != 'u') {
        return -1;
    }
    s->p += 2;
    low = hex4(s);
    if (low < 0xdc00 || low > 0xdfff) {
        return -1;
    }
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static ql_status put_code_point(ql_buf *out, long c)
{
    static const long lead[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    char utf8[4];

    for (size_t i = n; i-- > 1; c >>= 6) {
        utf8[i] = (char)(0x80 | (c & 0x3f));
    }
    utf8[0] = (char)(lead[n] | c);
    return ql_buf_append(out, utf8, n);
}

/* What follows a backslash. */
static ql_status put_escape(ql_json_scan *s, ql_buf *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char c = s->p < s->end ? *s->p : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    long point;

    if (name) {
        s->p++;
        return ql_buf_putc(out, values[name - names]);
    }
    if (c != 'u') {
        return ql_json_scan_wrong(s, "an unknown escape");
    }
    s->p++;
    point = code_point(s);
    return point < 0 ? ql_json_scan_wrong(s, "\\u names no character")
                     : put_code_point(out, point);
}

/* Up to the next quote, backslash or control character. */
static const char *plain_end(const ql_json_scan *s)
{
    const char *p = s->p;

    while (p < s->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
        p++;
    }
    return p;
}

ql_status ql_json_scan_string(ql_json_scan *s, ql_buf *out)
{
    QL_TRY(ql_json_scan_expect(s, '"'));
    ql_buf_clear(out);
    for (;;) {
        const char *plain = plain_end(s);

        QL_TRY(ql_buf_append(out, s->p, (size_t)(plain - s->p)));
        s->p = plain;
        if (s->p == s->end || (unsigned char)*s->p < 0x20) {
            return ql_json_scan_wrong(s, "a string does not end");
        }
        if (*s->p++ == '"') {
            return QL_OK;
        }
        QL_TRY(put_escape(s, out));
    }
}

/* The characters that a number may consist of. */
static size_t number_length(ql_json_scan *s)
{
    const int c = ql_json_scan_peek(s);

    return c == '-' || (c >= '0' && c <= '9') ? strspn(s->p, "+-.0123456789Ee")
                                              : 0;
}

ql_status ql_json_scan_real(ql_json_scan *s, double *out)
{
    const size_t n = number_length(s);
    char *end = NULL;

    *out = n > 0 ? strtod(s->p, &end) : 0;
    if (n == 0 || end != s->p + n) {
        return ql_json_scan_wrong(s, "a number expected");
    }
    s->p += n;
    return QL_OK;
}

ql_status ql_json_scan_integer(ql_json_scan *s, int64_t *out)
{
    const size_t n = number_length(s);
    const bool negative = n > 0 && *s->p == '-';
    int64_t value = 0;

    for (size_t i = negative; i < n; i++) {
        const int digit = s->p[i] - '0';

        if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10) {
            return ql_json_scan_wrong(s, "a whole number expected");
        }
        value = 10 * value + digit;
    }
    if (n == negative) {
        return ql_json_scan_wrong(s, "a whole number expected");
    }
    s->p += n;
    *out = negative ? -value : value;
    return QL_OK;
}

static ql_status skip_string(ql_json_scan *s)
{
    QL_TRY(ql_json_scan_expect(s, '"'));
    for (;;) {
        s->p = plain_end(s);
        if (s->end - s->p < 2 && (s->p == s->end || *s->p != '"')) {
            return ql_json_scan_wrong(s, "a string does not end");
        }
        if (*s->p == '"') {
            s->p++;
            return QL_OK;
        }
        s->p += *s->p == '\\' ? 2 : 1;
    }
}

/* A number, true, false or null: which of them, its reader finds out. */
static ql_status skip_word(ql_json_scan *s)
{
    const char *p = s->p;

    while (p < s->end && !strchr(" \n\r\t,:]}[{\"", *p)) {
        p++;
    }
    if (p == s->p) {
        return ql_json_scan_wrong(s, "a value expected");
    }
    s->p = p;
    return QL_OK;
}

static ql_status skip_list(ql_json_scan *s, int depth);

static ql_status skip_value(ql_json_scan *s, int depth)
{
    const int c = ql_json_scan_peek(s);

    if (c == '"') {
        return skip_string(s);
    }
    return c == '{' || c == '[' ? skip_list(s, depth) : skip_word(s);
}

static ql_status skip_list(ql_json_scan *s, int depth)
{
    const bool object = *s->p++ == '{';
    const char close = object ? '}' : ']';

    if (depth == MAX_DEPTH) {
        return ql_json_scan_wrong(s, "nested too deep");
    }
    if (ql_json_scan_take(s, close)) {
        return QL_OK;
    }
    do {
        if (object) {
            ql_json_scan_peek(s);
            QL_TRY(skip_string(s));
            QL_TRY(ql_json_scan_expect(s, ':'));
        }
        QL_TRY(skip_value(s, depth + 1));
    } while (ql_json_scan_take(s, ','));
    return ql_json_scan_expect(s, close);
}

ql_status ql_json_scan_skip(ql_json_scan *s)
{
    return skip_value(s, 0);
}
