/* Decoding is utf8proc's; the two classes follow Unicode Technical Standard
 * 18, annex C, which the reference's patterns obey. */
#include "src/text/utf8.h"

#include <utf8proc.h>

static utf8proc_ssize_t get(const char *s, size_t n, int32_t *c)
{
    const utf8proc_ssize_t most = n < 4 ? (utf8proc_ssize_t)n : 4;

    return utf8proc_iterate((const utf8proc_uint8_t *)s, most, c);
}

size_t ql_utf8_broken(const char *s, size_t n)
{
    /* The second byte has fewer values after some first bytes. */
    static const struct {
        uint8_t first, last; /* first bytes, */
        uint8_t low, high;   /* second bytes */
        uint8_t len;         /* of the whole character */
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const uint8_t *b = (const uint8_t *)s;
    size_t i = 1;

    for (size_t k = 0; k < sizeof(forms) / sizeof(*forms); k++) {
        if (b[0] < forms[k].first || b[0] > forms[k].last) {
            continue;
        }
        while (i < n && i < forms[k].len &&
               b[i] >= (i == 1 ? forms[k].low : 0x80) &&
               b[i] <= (i == 1 ? forms[k].high : 0xbf)) {
            i++;
        }
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

size_t ql_utf8_put(int32_t c, char out[4])
{
    return (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)out);
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

static bool within(int32_t c, utf8proc_category_t first,
                   utf8proc_category_t last)
{
    const utf8proc_category_t category = utf8proc_category(c);

    return category >= first && category <= last;
}

bool ql_utf8_is_number(int32_t c)
{
    return within(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool ql_utf8_is_mark(int32_t c)
{
    return within(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}

bool ql_utf8_is_nonspacing(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

bool ql_utf8_is_punctuation(int32_t c)
{
    if (c < 0x80) {
        return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') &&
               !((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    }
    return within(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}
