#include "src/text/normal_chars.h"

#include <utf8proc.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

typedef struct range {
    int32_t from;
    int32_t to;
} range;

static bool within(const range *ranges, size_t n, int32_t c)
{
    for (size_t i = 0; i < n; i++) {
        if (c >= ranges[i].from && c <= ranges[i].to) {
            return true;
        }
    }
    return false;
}

#define WITHIN(ranges, c) within(ranges, sizeof(ranges) / sizeof(*ranges), c)

size_t ql_normal_lowercase(int32_t c, int32_t out[3])
{
    out[0] = utf8proc_tolower(c);
    if (c != 0x130) {
        return 1;
    }
    /* the one character that becomes two: capital I with a dot */
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
}

size_t ql_normal_without_marks(int32_t c, int32_t out[3])
{
    out[0] = c;
    return !ql_utf8_is_mark(c);
}

size_t ql_normal_without_nonspacing(int32_t c, int32_t out[3])
{
    out[0] = c;
    return !ql_utf8_is_nonspacing(c);
}

size_t ql_normal_clean(int32_t c, int32_t out[3])
{
    const utf8proc_category_t category = utf8proc_category(c);

    out[0] = ql_utf8_is_space(c) ? ' ' : c;
    if (c == '\t' || c == '\n' || c == '\r') {
        return 1;
    }
    return c != 0 && c != 0xfffd && category != UTF8PROC_CATEGORY_CC &&
           category != UTF8PROC_CATEGORY_CF && category != UTF8PROC_CATEGORY_CO;
}

size_t ql_normal_chinese(int32_t c, int32_t out[3])
{
    static const range chinese[] = {
        {0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
        {0xf900, 0xfaff},   {0x2f800, 0x2fa1f},
    };

    if (c < 0x3400 || !WITHIN(chinese, c)) {
        out[0] = c;
        return 1;
    }
    out[0] = ' ';
    out[1] = c;
    out[2] = ' ';
    return 3;
}

size_t ql_normal_nmt(int32_t c, int32_t out[3])
{
    static const range gone[] = {{0x01, 0x08}, {0x0b, 0x0b}, {0x0e, 0x1f},
                                 {0x7f, 0x7f}, {0x8f, 0x8f}, {0x9f, 0x9f}};
    static const range space[] = {
        {0x09, 0x0a},     {0x0c, 0x0d},     {0x1680, 0x1680}, {0x200b, 0x200f},
        {0x2028, 0x2029}, {0x2581, 0x2581}, {0xfeff, 0xfeff}, {0xfffd, 0xfffd}};

    out[0] = WITHIN(space, c) ? ' ' : c;
    return !WITHIN(gone, c);
}

ql_status ql_normal_chars_run(ql_normal_char_fn *fn, ql_view v, ql_draft *out)
{
    size_t len;

    for (size_t i = 0; i < v.n; i += len) {
        int32_t points[3];
        int32_t c;
        size_t n;

        len = ql_utf8_len(v.s + i, v.n - i);
        c = ql_utf8_get(v.s + i, v.n - i);
        n = fn(c, points);
        if (n == 1 && points[0] == c) {
            QL_TRY(ql_draft_copy(out, ql_view_cut(v, i, i + len)));
            continue;
        }
        for (size_t k = 0; k < n; k++) {
            QL_TRY(ql_draft_put_point(out, points[k], ql_view_at(v, i)));
        }
    }
    return QL_OK;
}
