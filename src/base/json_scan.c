#include "src/base/json_scan.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/base/blank.h"
#include "src/base/fail.h"
#include "src/base/json_escape.h"

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
    while (s->p < s->end && ql_is_blank(*s->p)) {
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

/* What follows a backslash. */
static ql_status put_escape(ql_json_scan *s, ql_buf *out)
{
    const int32_t c = ql_json_escape(&s->p, s->end);
    utf8proc_uint8_t utf8[4];

    if (c < 0) {
        return ql_json_scan_wrong(s, c == QL_ESCAPE_UNKNOWN
                                         ? "an unknown escape"
                                         : "\\u names no character");
    }
    return ql_buf_append(out, utf8, (size_t)utf8proc_encode_char(c, utf8));
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
