/* A growing byte buffer that is born with a ceiling, so that no input can
 * make it grow without end. Content is always followed by a NUL that does not
 * count. */
#ifndef QL_BASE_BUF_H
#define QL_BASE_BUF_H

#include <stdbool.h>

#include "qlora/status.h"
#include "src/base/alloc.h"

typedef struct ql_buf {
    char *data; /* never NULL after the first append; NUL-terminated */
    size_t len;
    size_t cap;
    size_t max; /* ceiling of len, in bytes */
    ql_tag tag;
} ql_buf;

void ql_buf_init(ql_buf *b, ql_tag tag, size_t max);
void ql_buf_free(ql_buf *b);

/* Empties it and keeps the memory. */
void ql_buf_clear(ql_buf *b);

/* Makes room for n more bytes at once. Errors: as below. */
ql_status ql_buf_reserve(ql_buf *b, size_t n);

/* Errors of all appends: QL_ENOMEM; QL_EFORMAT when the ceiling is met. The
 * content is then unchanged. */
ql_status ql_buf_append(ql_buf *b, const void *data, size_t n);
ql_status ql_buf_puts(ql_buf *b, const char *s);
ql_status ql_buf_putc(ql_buf *b, char c);
ql_status ql_buf_printf(ql_buf *b, const char *fmt, ...) QL_PRINTF(2, 3);

/* True if the text begins with n bytes. */
bool ql_buf_begins(const ql_buf *b, const char *head, size_t n);

/* True if the first len bytes, all or fewer, end with a string. */
bool ql_buf_ends(const ql_buf *b, size_t len, const char *tail);

/* Hands the content over; the buffer is empty afterwards. NULL only when out
 * of memory. Owned: ql_free. */
char *ql_buf_take(ql_buf *b, size_t *len);

#endif
