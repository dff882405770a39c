#include "src/text/jinja_number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/jinja_chars.h"
#include "src/text/jinja_tables.h"

/* The text without blanks around it and low lines between digits, ended by a
 * NUL; *good is false when a low line stands elsewhere. */
static ql_status plain(ql_jinja *j, ql_jval s, bool *good, char **out)
{
    const size_t from = ql_jchars_blanks(s.s, s.n);
    const size_t to = from + ql_jchars_rstrip(s.s + from, s.n - from);
    char *p = ql_jinja_take(&j->mem, to - from + 1, 1);

    if (!p) {
        return QL_ENOMEM;
    }
    *out = p;
    *good = to > from && !memchr(s.s + from, '\0', to - from);
    for (size_t i = from; i < to; i++) {
        if (s.s[i] != '_') {
            *p++ = s.s[i];
        } else if (i == from || i + 1 == to || s.s[i - 1] == '_' ||
                   !strchr("0123456789abcdefABCDEF", s.s[i - 1])) {
            *good = false;
        }
    }
    return QL_OK;
}

/* What a prefix such as 0x stands for, if the base allows it. */
static int prefix_base(const char *digits, int base)
{
    static const char letters[] = "xXoObB";
    static const int bases[] = {16, 16, 8, 8, 2, 2};
    const char *p =
        digits[0] == '0' && digits[1] ? strchr(letters, digits[1]) : NULL;
    const int said = p ? bases[p - letters] : 0;

    return said > 0 && (base == 0 || base == said) ? said : 0;
}

ql_status ql_jinja_parse_int(ql_jinja *j, ql_jval s, int base, bool *good,
                             int64_t *out)
{
    char *text;
    char *digits;
    char *end;
    int prefix;
    bool negative;

    QL_TRY(plain(j, s, good, &text));
    negative = text[0] == '-';
    digits = text + (text[0] == '-' || text[0] == '+');
    prefix = prefix_base(digits, base);
    if (prefix > 0) {
        base = prefix;
        digits += 2;
    }
    *good = *good && *digits && !strchr("+- \t\n\v\f\r", *digits);
    if (!*good) {
        return QL_OK;
    }
    if (digits > text) {
        digits[-1] = negative ? '-' : '+';
        digits--;
    }
    errno = 0;
    *out = strtoll(digits, &end, base == 0 ? 10 : base);
    *good = *end == '\0' && end > digits;
    if (*good && errno == ERANGE) {
        QL_RAISE(j, "OverflowError", "a whole number is beyond 64 bits");
    }
    return QL_OK;
}

ql_status ql_jinja_parse_float(ql_jinja *j, ql_jval s, bool *good, double *out)
{
    const char *word;
    char *text;
    char *end;

    QL_TRY(plain(j, s, good, &text));
    word = text + (text[0] == '-' || text[0] == '+');
    /* strtod reads hexadecimal and nan(...), Python does not */
    if (!*good || strpbrk(word, "xX(pP") || strchr("+- \t\n\v\f\r", *word)) {
        *good = false;
        return QL_OK;
    }
    *out = strtod(text, &end);
    *good = *end == '\0' && end > text;
    return QL_OK;
}

ql_status ql_jinja_truncate(ql_jinja *j, double f, int64_t *out)
{
    if (isnan(f)) {
        QL_RAISE(j, "ValueError", "cannot convert float NaN to integer");
    }
    if (isinf(f)) {
        QL_RAISE(j, "OverflowError",
                 "cannot convert float infinity to integer");
    }
    f = trunc(f);
    if (f < -0x1p63 || f >= 0x1p63) {
        QL_RAISE(j, "OverflowError", "a whole number is beyond 64 bits");
    }
    *out = (int64_t)f;
    return QL_OK;
}
