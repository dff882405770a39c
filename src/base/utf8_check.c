#include "src/base/utf8_check.h"

#include <utf8proc.h>

size_t ql_utf8_check(const char *s, size_t n)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    size_t i = 0;

    while (i < n) {
        const size_t most = n - i < 4 ? n - i : 4; /* n may be beyond ssize_t */
        utf8proc_int32_t c;
        const utf8proc_ssize_t len =
            p[i] < 0x80 ? 1
                        : utf8proc_iterate(p + i, (utf8proc_ssize_t)most, &c);

        if (len <= 0) {
            break;
        }
        i += (size_t)len;
    }
    return i;
}
