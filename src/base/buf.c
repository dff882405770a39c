#include "src/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"

void ql_buf_init(ql_buf *b, ql_tag tag, size_t max)
{
    *b = (ql_buf){.max = max, .tag = tag};
}

void ql_buf_free(ql_buf *b)
{
    ql_free(b->data);
    *b = (ql_buf){.max = b->max, .tag = b->tag};
}

void ql_buf_clear(ql_buf *b)
{
    b->len = 0;
    if (b->data) {
        b->data[0] = '\0';
    }
}

/* Makes room for n more bytes and the NUL, of cap bytes in all if there is too
 * little. n is checked first. */
static ql_status make_room(ql_buf *b, size_t n, size_t cap)
{
    char *data;

    if (n > b->max - b->len) {
        QL_FAIL(QL_EFORMAT, "text is longer than the limit of %zu bytes",
                b->max);
    }
    if (b->data && n < b->cap - b->len) {
        return QL_OK;
    }
    data = ql_realloc(b->tag, b->data, cap, 1);
    if (!data) {
        return QL_ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return QL_OK;
}

/* The same in doubling steps. */
static ql_status reserve(ql_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 64;

    while (n <= b->max - b->len && cap - b->len <= n) {
        cap *= 2;
    }
    return make_room(b, n, cap);
}

ql_status ql_buf_reserve(ql_buf *b, size_t n)
{
    return make_room(b, n, b->len + n + 1);
}

ql_status ql_buf_append(ql_buf *b, const void *data, size_t n)
{
    QL_TRY(reserve(b, n));
    if (n > 0) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
    b->data[b->len] = '\0';
    return QL_OK;
}

ql_status ql_buf_puts(ql_buf *b, const char *s)
{
    return ql_buf_append(b, s, strlen(s));
}

ql_status ql_buf_putc(ql_buf *b, char c)
{
    return ql_buf_append(b, &c, 1);
}

ql_status ql_buf_printf(ql_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        QL_FAIL(QL_EINVAL, "text cannot be formatted");
    }
    QL_TRY(reserve(b, (size_t)n));
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return QL_OK;
}

bool ql_buf_begins(const ql_buf *b, const char *head, size_t n)
{
    return n <= b->len && (n == 0 || memcmp(b->data, head, n) == 0);
}

bool ql_buf_ends(const ql_buf *b, size_t len, const char *tail)
{
    const size_t n = strlen(tail);

    return n <= len && memcmp(b->data + len - n, tail, n) == 0;
}

char *ql_buf_take(ql_buf *b, size_t *len)
{
    char *data;

    if (ql_buf_append(b, "", 0) != QL_OK) {
        return NULL;
    }
    data = b->data;
    if (len) {
        *len = b->len;
    }
    *b = (ql_buf){.max = b->max, .tag = b->tag};
    return data;
}
