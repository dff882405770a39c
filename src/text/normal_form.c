/* The text is cut before each character that neither composes with what is
 * before it nor changes place with it. Most pieces are one character without
 * a decomposition, which no form changes; the others are decomposed, put in
 * order and composed by the tables of utf8proc. */
#include "src/text/normal_form.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

enum {
    MOST = 32,         /* code points that one becomes; 18 in fact */
    FIRST_MARK = 0x300 /* characters before it begin a piece */
};

static const utf8proc_option_t options[] = {
    [QL_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
    [QL_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
    [QL_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
    [QL_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
};

/* First bytes of characters below this one are left alone by the form where
 * no mark follows, and first bytes of marks are not below it. */
static const uint8_t calm[] = {
    [QL_NFC] = 0xcc, [QL_NFD] = 0xc2, [QL_NFKC] = 0xc2, [QL_NFKD] = 0xc2};

bool ql_normal_form_idle(ql_normal_form form, ql_view v)
{
    const uint8_t limit = calm[form];

    for (size_t i = 0; i < v.n; i++) {
        const uint8_t byte = (uint8_t)v.s[i];

        if (byte >= limit) {
            return false;
        }
    }
    return true;
}

static size_t decompose(ql_normal_form form, int32_t c, int32_t out[MOST])
{
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(c, out, MOST, options[form], &boundary);

    return n > 0 && n <= MOST ? (size_t)n : 0;
}

/* The vowels and finals that follow the consonant of a Hangul syllable. */
static bool is_jamo_tail(int32_t c)
{
    return c >= 0x1160 && c <= 0x11ff;
}

/* The character at byte i begins a piece. */
static bool begins(ql_normal_form form, ql_view v, size_t i)
{
    const int32_t c = ql_utf8_get(v.s + i, v.n - i);
    int32_t points[MOST];

    return c < FIRST_MARK ||
           (decompose(form, c, points) > 0 && !ql_utf8_is_mark(points[0]) &&
            !is_jamo_tail(points[0]));
}

/* Combining class, place and code point in one number: sorting puts marks in
 * canonical order and keeps the order of those of one class. */
typedef struct mark {
    uint64_t key;
    int32_t point;
} mark;

static int by_key(const void *x, const void *y)
{
    const mark *a = x;
    const mark *b = y;

    return (a->key > b->key) - (a->key < b->key);
}

static int combining_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

static ql_status sort(int32_t *points, size_t n)
{
    mark *marks = ql_alloc(QL_TAG_TEXT, n, sizeof(*marks));

    if (!marks) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t class = (uint64_t)combining_class(points[i]);

        marks[i] = (mark){class << 32 | i, points[i]};
    }
    qsort(marks, n, sizeof(*marks), by_key);
    for (size_t i = 0; i < n; i++) {
        points[i] = marks[i].point;
    }
    ql_free(marks);
    return QL_OK;
}

/* Puts each run of marks in canonical order. */
static ql_status reorder(int32_t *points, size_t n)
{
    size_t end;

    for (size_t i = 0; i < n; i = end) {
        bool sorted = true;

        end = i + 1;
        if (combining_class(points[i]) == 0) {
            continue;
        }
        while (end < n && combining_class(points[end]) > 0) {
            sorted &= combining_class(points[end - 1]) <=
                      combining_class(points[end]);
            end++;
        }
        if (!sorted) {
            QL_TRY(sort(points + i, end - i));
        }
    }
    return QL_OK;
}

/* The code points of a piece, decomposed. */
static ql_status read_piece(ql_normal_form form, ql_view v, ql_buf *points)
{
    int32_t one[MOST];

    ql_buf_clear(points);
    for (size_t i = 0; i < v.n; i += ql_utf8_len(v.s + i, v.n - i)) {
        const size_t n = decompose(form, ql_utf8_get(v.s + i, v.n - i), one);

        QL_TRY(ql_buf_append(points, one, n * sizeof(*one)));
    }
    return QL_OK;
}

static ql_status write_piece(ql_view v, const int32_t *points, size_t n,
                             ql_draft *out)
{
    const size_t start = out->n;

    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_draft_put_point(out, points[i], ql_view_at(v, 0)));
    }
    if (out->n - start == v.n && memcmp(out->s + start, v.s, v.n) == 0) {
        out->n = start;
        return ql_draft_copy(out, v);
    }
    return QL_OK;
}

/* One piece, which is not empty. */
static ql_status run_piece(ql_normal_form form, ql_view v, ql_buf *points,
                           ql_draft *out)
{
    const bool compose = form == QL_NFC || form == QL_NFKC;
    int32_t *p;
    size_t n;

    QL_TRY(read_piece(form, v, points));
    p = (void *)points->data;
    n = points->len / sizeof(*p);
    QL_TRY(reorder(p, n));
    if (compose) {
        n = (size_t)utf8proc_normalize_utf32(p, (utf8proc_ssize_t)n,
                                             options[form]);
    }
    return write_piece(v, p, n, out);
}

ql_status ql_normal_form_run(ql_normal_form form, ql_view v, ql_buf *points,
                             ql_draft *out)
{
    size_t end;

    for (size_t i = 0; i < v.n; i = end) {
        end = i;
        while (end < v.n && (uint8_t)v.s[end] < 0x80) {
            end++;
        }
        /* the last one may be what marks belong to */
        if (end > i + (end < v.n)) {
            end -= end < v.n;
            QL_TRY(ql_draft_copy(out, ql_view_cut(v, i, end)));
            continue;
        }
        end = i + ql_utf8_len(v.s + i, v.n - i);
        while (end < v.n && !begins(form, v, end)) {
            end += ql_utf8_len(v.s + end, v.n - end);
        }
        QL_TRY(run_piece(form, ql_view_cut(v, i, end), points, out));
    }
    return QL_OK;
}
