#include "src/text/strings.h"

#include <string.h>

#include "src/base/fail.h"

#define STRINGS_BYTES ((size_t)1 << 32)

void ql_strings_init(ql_strings *s)
{
    ql_buf_init(&s->text, QL_TAG_TEXT, STRINGS_BYTES);
    ql_buf_init(&s->ends, QL_TAG_TEXT, STRINGS_BYTES * sizeof(size_t));
}

void ql_strings_free(ql_strings *s)
{
    ql_buf_free(&s->text);
    ql_buf_free(&s->ends);
}

void ql_strings_clear(ql_strings *s)
{
    ql_buf_clear(&s->text);
    ql_buf_clear(&s->ends);
}

size_t ql_strings_size(const ql_strings *s)
{
    return s->ends.len / sizeof(size_t);
}

ql_string ql_strings_at(const ql_strings *s, size_t i)
{
    const size_t *ends = (const void *)s->ends.data;
    const size_t from = i > 0 ? ends[i - 1] : 0;

    return (ql_string){s->text.data + from, ends[i] - from};
}

ql_status ql_strings_end(ql_strings *s)
{
    const size_t n = s->text.len;

    QL_TRY(ql_buf_append(&s->text, "", 0));
    return ql_buf_append(&s->ends, &n, sizeof(n));
}

ql_status ql_strings_push(ql_strings *s, const char *text, size_t n)
{
    QL_TRY(ql_buf_append(&s->text, text, n));
    return ql_strings_end(s);
}

ql_status ql_string_replace(ql_string t, const char *from, const char *to,
                            ql_buf *out)
{
    const size_t n = strlen(from);
    const size_t to_len = strlen(to);

    while (t.n > 0) {
        const bool hit = t.n >= n && memcmp(t.s, from, n) == 0;
        const size_t used = hit ? n : 1;

        QL_TRY(ql_buf_append(out, hit ? to : t.s, hit ? to_len : 1));
        t = (ql_string){t.s + used, t.n - used};
    }
    return QL_OK;
}
