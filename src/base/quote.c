#include "src/base/quote.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/fail.h"

/* The character after the backslash of a short escape, 0 if there is none. */
static char short_escape(utf8proc_int32_t c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static ql_status put_hex(ql_buf *b, utf8proc_int32_t c)
{
    if (c >= 0x10000) {
        const unsigned pair = (unsigned)c - 0x10000;

        return ql_buf_printf(b, "\\u%04x\\u%04x", 0xd800 | pair >> 10,
                             0xdc00 | (pair & 0x3ff));
    }
    return ql_buf_printf(b, "\\u%04x", (unsigned)c);
}

/* Characters from highest on are written by number. */
static ql_status quote(ql_buf *b, const char *s, size_t len,
                       utf8proc_int32_t highest)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    const utf8proc_uint8_t *end = p + len;

    QL_TRY(ql_buf_putc(b, '"'));
    while (p < end) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(p, end - p, &c);

        if (short_escape(c)) {
            QL_TRY(ql_buf_putc(b, '\\'));
            QL_TRY(ql_buf_putc(b, short_escape(c)));
        } else if (c < 0x20 || c >= highest) {
            QL_TRY(put_hex(b, c));
        } else {
            QL_TRY(ql_buf_append(b, p, (size_t)n));
        }
        p += n;
    }
    return ql_buf_putc(b, '"');
}

ql_status ql_quote_utf8(ql_buf *b, const char *s)
{
    return quote(b, s, strlen(s), 0x110000);
}

ql_status ql_quote_utf8_n(ql_buf *b, const char *s, size_t n)
{
    return quote(b, s, n, 0x110000);
}

ql_status ql_quote_ascii(ql_buf *b, const char *s, size_t n)
{
    return quote(b, s, n, 0x7f); /* json.dumps escapes DEL as well */
}
