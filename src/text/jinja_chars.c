/* Case mapping is utf8proc's, which knows one character for one; the others
 * are listed here, from Unicode's SpecialCasing.txt. */
#include "src/text/jinja_chars.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

bool ql_jchar_is_space(int32_t c)
{
    return (c >= 0x1c && c <= 0x1f) || ql_utf8_is_space(c);
}

bool ql_jchar_is_upper(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LU;
}

bool ql_jchar_is_lower(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LL;
}

static bool is_cased(int32_t c)
{
    return ql_jchar_is_upper(c) || ql_jchar_is_lower(c) ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
}

bool ql_jchar_is_alpha(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);

    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool ql_jchar_is_decimal(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

bool ql_jchar_is_digit(int32_t c)
{
    return ql_jchar_is_decimal(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 ||
           c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
           (c >= 0x2080 && c <= 0x2089);
}

bool ql_jchar_is_alnum(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);

    return ql_jchar_is_alpha(c) || k == UTF8PROC_CATEGORY_ND ||
           k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool ql_jchar_is_printable(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

bool ql_jchars_all_case(const char *s, size_t n, bool upper)
{
    bool any = false;

    for (size_t i = 0; i < n; i += ql_utf8_len(s + i, n - i)) {
        const int32_t c = ql_utf8_get(s + i, n - i);

        if (is_cased(c) && ql_jchar_is_upper(c) != upper) {
            return false;
        }
        any = any || is_cased(c);
    }
    return any;
}

bool ql_jchars_is_title(const char *s, size_t n)
{
    bool inside = false;
    bool any = false;

    for (size_t i = 0; i < n; i += ql_utf8_len(s + i, n - i)) {
        const int32_t c = ql_utf8_get(s + i, n - i);

        if (is_cased(c) && ql_jchar_is_lower(c) != inside) {
            return false;
        }
        inside = is_cased(c);
        any = any || inside;
    }
    return any;
}

size_t ql_jchars_offset(const char *s, size_t n, size_t i)
{
    size_t at = 0;

    while (i > 0 && at < n) {
        at += ql_utf8_len(s + at, n - at);
        i--;
    }
    return at;
}

size_t ql_jchars_rstrip(const char *s, size_t n)
{
    while (n > 0) {
        const size_t at = ql_utf8_back(s, n);

        if (!ql_jchar_is_space(ql_utf8_get(s + at, n - at))) {
            break;
        }
        n = at;
    }
    return n;
}

size_t ql_jchars_blanks(const char *s, size_t n)
{
    size_t at = 0;

    while (at < n && ql_jchar_is_space(ql_utf8_get(s + at, n - at))) {
        at += ql_utf8_len(s + at, n - at);
    }
    return at;
}

ql_status ql_jchar_put(ql_buf *b, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);

    return ql_buf_append(b, bytes, (size_t)n);
}

/* Characters whose upper case is several. */
static const struct {
    uint16_t c;
    uint16_t upper[3];
} specials[] = {
    /* clang-format off */
    {0x00df, {0x053, 0x053}}, {0x0149, {0x2bc, 0x04e}},
    {0x01f0, {0x04a, 0x30c}}, {0x0390, {0x399, 0x308, 0x301}},
    {0x03b0, {0x3a5, 0x308, 0x301}}, {0x0587, {0x535, 0x552}},
    {0x1e96, {0x048, 0x331}}, {0x1e97, {0x054, 0x308}},
    {0x1e98, {0x057, 0x30a}}, {0x1e99, {0x059, 0x30a}},
    {0x1e9a, {0x041, 0x2be}}, {0x1f50, {0x3a5, 0x313}},
    {0x1f52, {0x3a5, 0x313, 0x300}}, {0x1f54, {0x3a5, 0x313, 0x301}},
    {0x1f56, {0x3a5, 0x313, 0x342}}, {0x1f80, {0x1f08, 0x399}},
    {0x1f81, {0x1f09, 0x399}}, {0x1f82, {0x1f0a, 0x399}},
    {0x1f83, {0x1f0b, 0x399}}, {0x1f84, {0x1f0c, 0x399}},
    {0x1f85, {0x1f0d, 0x399}}, {0x1f86, {0x1f0e, 0x399}},
    {0x1f87, {0x1f0f, 0x399}}, {0x1f88, {0x1f08, 0x399}},
    {0x1f89, {0x1f09, 0x399}}, {0x1f8a, {0x1f0a, 0x399}},
    {0x1f8b, {0x1f0b, 0x399}}, {0x1f8c, {0x1f0c, 0x399}},
    {0x1f8d, {0x1f0d, 0x399}}, {0x1f8e, {0x1f0e, 0x399}},
    {0x1f8f, {0x1f0f, 0x399}}, {0x1f90, {0x1f28, 0x399}},
    {0x1f91, {0x1f29, 0x399}}, {0x1f92, {0x1f2a, 0x399}},
    {0x1f93, {0x1f2b, 0x399}}, {0x1f94, {0x1f2c, 0x399}},
    {0x1f95, {0x1f2d, 0x399}}, {0x1f96, {0x1f2e, 0x399}},
    {0x1f97, {0x1f2f, 0x399}}, {0x1f98, {0x1f28, 0x399}},
    {0x1f99, {0x1f29, 0x399}}, {0x1f9a, {0x1f2a, 0x399}},
    {0x1f9b, {0x1f2b, 0x399}}, {0x1f9c, {0x1f2c, 0x399}},
    {0x1f9d, {0x1f2d, 0x399}}, {0x1f9e, {0x1f2e, 0x399}},
    {0x1f9f, {0x1f2f, 0x399}}, {0x1fa0, {0x1f68, 0x399}},
    {0x1fa1, {0x1f69, 0x399}}, {0x1fa2, {0x1f6a, 0x399}},
    {0x1fa3, {0x1f6b, 0x399}}, {0x1fa4, {0x1f6c, 0x399}},
    {0x1fa5, {0x1f6d, 0x399}}, {0x1fa6, {0x1f6e, 0x399}},
    {0x1fa7, {0x1f6f, 0x399}}, {0x1fa8, {0x1f68, 0x399}},
    {0x1fa9, {0x1f69, 0x399}}, {0x1faa, {0x1f6a, 0x399}},
    {0x1fab, {0x1f6b, 0x399}}, {0x1fac, {0x1f6c, 0x399}},
    {0x1fad, {0x1f6d, 0x399}}, {0x1fae, {0x1f6e, 0x399}},
    {0x1faf, {0x1f6f, 0x399}}, {0x1fb2, {0x1fba, 0x399}},
    {0x1fb3, {0x391, 0x399}}, {0x1fb4, {0x386, 0x399}},
    {0x1fb6, {0x391, 0x342}}, {0x1fb7, {0x391, 0x342, 0x399}},
    {0x1fbc, {0x391, 0x399}}, {0x1fc2, {0x1fca, 0x399}},
    {0x1fc3, {0x397, 0x399}}, {0x1fc4, {0x389, 0x399}},
    {0x1fc6, {0x397, 0x342}}, {0x1fc7, {0x397, 0x342, 0x399}},
    {0x1fcc, {0x397, 0x399}}, {0x1fd2, {0x399, 0x308, 0x300}},
    {0x1fd3, {0x399, 0x308, 0x301}}, {0x1fd6, {0x399, 0x342}},
    {0x1fd7, {0x399, 0x308, 0x342}}, {0x1fe2, {0x3a5, 0x308, 0x300}},
    {0x1fe3, {0x3a5, 0x308, 0x301}}, {0x1fe4, {0x3a1, 0x313}},
    {0x1fe6, {0x3a5, 0x342}}, {0x1fe7, {0x3a5, 0x308, 0x342}},
    {0x1ff2, {0x1ffa, 0x399}}, {0x1ff3, {0x3a9, 0x399}},
    {0x1ff4, {0x38f, 0x399}}, {0x1ff6, {0x3a9, 0x342}},
    {0x1ff7, {0x3a9, 0x342, 0x399}}, {0x1ffc, {0x3a9, 0x399}},
    {0xfb00, {0x046, 0x046}}, {0xfb01, {0x046, 0x049}},
    {0xfb02, {0x046, 0x04c}}, {0xfb03, {0x046, 0x046, 0x049}},
    {0xfb04, {0x046, 0x046, 0x04c}}, {0xfb05, {0x053, 0x054}},
    {0xfb06, {0x053, 0x054}}, {0xfb13, {0x544, 0x546}},
    {0xfb14, {0x544, 0x535}}, {0xfb15, {0x544, 0x53b}},
    {0xfb16, {0x54e, 0x546}}, {0xfb17, {0x544, 0x53d}},
    /* clang-format on */
};

static const uint16_t *special(int32_t c)
{
    size_t from = 0;
    size_t to = sizeof(specials) / sizeof(*specials);

    while (from < to) {
        const size_t mid = (from + to) / 2;

        if (specials[mid].c == c) {
            return specials[mid].upper;
        }
        if (specials[mid].c < c) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return NULL;
}

/* Upper case; title: of the first character of the result only. */
static ql_status put_upper(ql_buf *b, int32_t c, bool title)
{
    const int32_t one = title ? utf8proc_totitle(c) : utf8proc_toupper(c);
    const uint16_t *several = c < 0x80 ? NULL : special(c);

    if (!several || (title && one != c && c != 0xdf)) {
        return ql_jchar_put(b, one);
    }
    for (size_t i = 0; i < 3 && several[i]; i++) {
        const int32_t u = several[i];

        QL_TRY(ql_jchar_put(b, title && i > 0 ? utf8proc_tolower(u) : u));
    }
    return QL_OK;
}

static bool letter_before(const char *s, size_t at)
{
    const size_t from = at > 0 ? ql_utf8_back(s, at) : 0;

    return at > 0 && ql_jchar_is_alpha(ql_utf8_get(s + from, at - from));
}

static bool letter_at(const char *s, size_t n, size_t at)
{
    return at < n && ql_jchar_is_alpha(ql_utf8_get(s + at, n - at));
}

/* The character at s[at]. Two are not one for one: the dotted capital I, and
 * sigma, which has a form of its own at the end of a word. */
static ql_status put_lower(ql_buf *b, const char *s, size_t n, size_t at)
{
    const int32_t c = ql_utf8_get(s + at, n - at);

    if (c == 0x130) {
        return ql_buf_puts(b, "i\xcc\x87");
    }
    if (c == 0x3a3) {
        const bool last = letter_before(s, at) && !letter_at(s, n, at + 2);

        return ql_jchar_put(b, last ? 0x3c2 : 0x3c3);
    }
    return ql_jchar_put(b, utf8proc_tolower(c));
}

ql_status ql_jchars_put_case(ql_buf *b, const char *s, size_t n, ql_jcase how)
{
    bool inside = false; /* of a word; for a capital, of the text */

    for (size_t at = 0; at < n; at += ql_utf8_len(s + at, n - at)) {
        const int32_t c = ql_utf8_get(s + at, n - at);
        const bool raise = how == QL_J_UPPER ||
                           (how == QL_J_SWAPCASE && !ql_jchar_is_upper(c));

        if (raise) {
            QL_TRY(put_upper(b, c, false));
        } else if (how == QL_J_LOWER || how == QL_J_SWAPCASE || inside) {
            QL_TRY(put_lower(b, s, n, at));
        } else {
            QL_TRY(put_upper(b, c, true));
        }
        inside = how == QL_J_CAPITALIZE || is_cased(c);
    }
    return QL_OK;
}

ql_status ql_jchars_put_html(ql_buf *b, const char *s, size_t n)
{
    static const struct {
        char c;
        const char *html;
    } names[] = {{'&', "&amp;"},
                 {'<', "&lt;"},
                 {'>', "&gt;"},
                 {'\'', "&#39;"},
                 {'"', "&#34;"}};

    for (size_t i = 0; i < n; i++) {
        size_t k = 0;

        while (k < 5 && names[k].c != s[i]) {
            k++;
        }
        QL_TRY(k < 5 ? ql_buf_puts(b, names[k].html) : ql_buf_putc(b, s[i]));
    }
    return QL_OK;
}

size_t ql_jchars_find(const char *s, size_t n, const char *what, size_t m)
{
    const char *p = s;

    if (m == 0) {
        return 0;
    }
    while (n - (size_t)(p - s) >= m) {
        p = memchr(p, what[0], n - (size_t)(p - s) - m + 1);
        if (!p) {
            break;
        }
        if (memcmp(p, what, m) == 0) {
            return (size_t)(p - s);
        }
        p++;
    }
    return SIZE_MAX;
}

size_t ql_jchars_rfind(const char *s, size_t n, const char *what, size_t m)
{
    for (size_t i = n; i >= m; i--) {
        if (memcmp(s + i - m, what, m) == 0) {
            return i - m;
        }
    }
    return SIZE_MAX;
}
