/* Decoding is utf8proc's; the two classes follow Unicode Technical Standard
 * 18, annex C, which the reference's patterns obey. */
#include "src/text/utf8.h"

#include <utf8proc.h>

static utf8proc_ssize_t get(const char *s, size_t n, int32_t *c)
{
    const utf8proc_ssize_t most = n < 4 ? (utf8proc_ssize_t)n : 4;

    return utf8proc_iterate((const utf8proc_uint8_t *)s, most, c);
}

size_t ql_utf8_check(const char *s, size_t n)
{
    size_t i = 0;
    int32_t c;

    while (i < n) {
        const utf8proc_ssize_t len =
            (unsigned char)s[i] < 0x80 ? 1 : get(s + i, n - i, &c);

        if (len <= 0) {
            break;
        }
        i += (size_t)len;
    }
    return i;
}

size_t ql_utf8_len(const char *s, size_t n)
{
    const unsigned char c = (unsigned char)s[0];
    const size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return len < n ? len : n;
}

int32_t ql_utf8_get(const char *s, size_t n)
{
    int32_t c = -1;

    get(s, n, &c);
    return c;
}

size_t ql_utf8_back(const char *s, size_t n)
{
    do {
        n--;
    } while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80);
    return n;
}

bool ql_utf8_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Circled and squared letters: symbols by category, alphabetic by property. */
static bool is_letter_symbol(int32_t c)
{
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool ql_utf8_is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200c || c == 0x200d || is_letter_symbol(c);
    }
}
