#include "src/base/json_escape.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits; QL_ESCAPE_NUMBER if there are not. */
static int32_t hex4(const char **p, const char *end)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        const int digit = *p < end ? hex_digit(**p) : -1;

        if (digit < 0) {
            return QL_ESCAPE_NUMBER;
        }
        value = value * 16 + digit;
        ++*p;
    }
    return value;
}

/* What follows \u: a number by itself, or two, which are a pair. */
static int32_t code_point(const char **p, const char *end)
{
    const int32_t high = hex4(p, end);
    int32_t low;

    if (high < 0xd800 || high > 0xdfff) {
        return high;
    }
    if (high > 0xdbff || end - *p < 2 || (*p)[0] != '\\' || (*p)[1] != 'u') {
        return QL_ESCAPE_NUMBER;
    }
    *p += 2;
    low = hex4(p, end);
    if (low < 0xdc00 || low > 0xdfff) {
        return QL_ESCAPE_NUMBER;
    }
    return 0x10000 + (high - 0xd800) * 0x400 + (low - 0xdc00);
}

int32_t ql_json_escape(const char **p, const char *end)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char c = *p < end ? **p : '\0';
    const char *name = c ? strchr(names, c) : NULL;

    if (!name && c != 'u') {
        return QL_ESCAPE_UNKNOWN;
    }
    ++*p;
    return name ? values[name - names] : code_point(p, end);
}
