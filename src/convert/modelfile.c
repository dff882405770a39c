#include "src/convert/modelfile.h"

#include <string.h>

#include <utf8proc.h>

#include "src/base/blank.h"
#include "src/base/fail.h"
#include "src/text/utf8.h"

static const char triple[] = "\"\"\"";

/* Letters, marks, numbers, punctuation and symbols, as Go's strconv.IsPrint has
 * them, and the white space that the parser keeps. */
static bool kept(int32_t c)
{
    const utf8proc_category_t kind = utf8proc_category(c);

    return ql_is_blank(c) || (c != 0xFFFD && kind >= UTF8PROC_CATEGORY_LU &&
                              kind <= UTF8PROC_CATEGORY_SO);
}

/* A line of the text ends with three quotes, blanks behind them or not. */
static bool ends_early(const char *text)
{
    for (const char *at = text; (at = strstr(at, triple)); at++) {
        const char *rest = at + strlen(triple);

        rest += strspn(rest, " \t");
        if (*rest == '\n' || *rest == '\r') {
            return true;
        }
    }
    return false;
}

bool ql_modelfile_can(const char *text)
{
    const size_t n = strlen(text);

    if (ql_utf8_check(text, n) < n || ends_early(text)) {
        return false;
    }
    for (size_t i = 0; i < n; i += ql_utf8_len(text + i, n - i)) {
        if (!kept(ql_utf8_get(text + i, n - i))) {
            return false;
        }
    }
    return true;
}

ql_status ql_modelfile_quote(ql_buf *out, const char *text)
{
    const char *quotes = strpbrk(text, "\"\r\n") ? triple : "\"";

    QL_TRY(ql_buf_puts(out, quotes));
    QL_TRY(ql_buf_puts(out, text));
    return ql_buf_puts(out, quotes);
}
