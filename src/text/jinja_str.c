#include "src/text/jinja_str.h"

#include <string.h>

#include "src/text/jinja_ops.h"
#include "src/text/utf8.h"

/* A part of a string. */
static ql_jval cut(ql_jval s, size_t from, size_t to)
{
    ql_jval part = ql_jval_str(s.s + from, to - from);

    part.markup = s.markup;
    return part;
}

ql_status ql_jstr_case(ql_jinja *j, ql_jval s, ql_jcase how, ql_jval *out)
{
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    QL_TRY(ql_jchars_put_case(ql_jinja_scratch(j), s.s, s.n, how));
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = s.markup;
    return QL_OK;
}

/* True when the character s[n] is to be stripped. */
static bool strips(const char *s, size_t n, ql_jval chars)
{
    if (chars.kind == QL_J_ABSENT) {
        return ql_jchar_is_space(ql_utf8_get(s, n));
    }
    return ql_jchars_find(chars.s, chars.n, s, n) != SIZE_MAX;
}

ql_status ql_jstr_strip(ql_jinja *j, ql_jval s, ql_jval chars, int sides,
                        ql_jval *out)
{
    size_t from = 0;
    size_t to = s.n;

    if (chars.kind != QL_J_ABSENT && !ql_jval_is_str(chars)) {
        QL_RAISE(j, "TypeError", "strip arg must be None or str");
    }
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    while (sides & QL_J_LEFT && from < to) {
        const size_t n = ql_utf8_len(s.s + from, to - from);

        if (!strips(s.s + from, n, chars)) {
            break;
        }
        from += n;
    }
    while (sides & QL_J_RIGHT && from < to) {
        const size_t at = from + ql_utf8_back(s.s + from, to - from);

        if (!strips(s.s + at, to - at, chars)) {
            break;
        }
        to = at;
    }
    *out = cut(s, from, to);
    return QL_OK;
}

/* Nothing is found before each character, and at the end. */
static ql_status put_between(ql_buf *b, ql_jval s, ql_jval fresh,
                             uint64_t count)
{
    size_t i = 0;

    for (; count > 0 && i <= s.n; count--) {
        const size_t n = i < s.n ? ql_utf8_len(s.s + i, s.n - i) : 1;

        QL_TRY(ql_buf_append(b, fresh.s, fresh.n));
        if (i == s.n) {
            return QL_OK;
        }
        QL_TRY(ql_buf_append(b, s.s + i, n));
        i += n;
    }
    return ql_buf_append(b, s.s + i, s.n - i);
}

static ql_status put_replaced(ql_jinja *j, ql_buf *b, ql_jval s, ql_jval old,
                              ql_jval fresh, uint64_t count)
{
    size_t i = 0;

    for (; count > 0; count--) {
        const size_t at = ql_jchars_find(s.s + i, s.n - i, old.s, old.n);

        if (at == SIZE_MAX) {
            break;
        }
        QL_TRY(ql_jinja_spend(j, 1));
        QL_TRY(ql_buf_append(b, s.s + i, at));
        QL_TRY(ql_buf_append(b, fresh.s, fresh.n));
        i += at + old.n;
    }
    return ql_buf_append(b, s.s + i, s.n - i);
}

ql_status ql_jstr_replace(ql_jinja *j, ql_jval s, ql_jval old, ql_jval fresh,
                          int64_t count, ql_jval *out)
{
    const uint64_t most = count < 0 ? UINT64_MAX : (uint64_t)count;
    ql_buf *b = ql_jinja_scratch(j);
    size_t at;

    QL_TRY(ql_jinja_find(j, s, old, &at)); /* counts the steps */
    QL_TRY(old.n == 0 ? put_between(b, s, fresh, most)
                      : put_replaced(j, b, s, old, fresh, most));
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = s.markup;
    return QL_OK;
}

ql_status ql_jstr_pad(ql_jinja *j, ql_jval s, int64_t width, ql_jval fill,
                      int sides, ql_jval *out)
{
    const int64_t pad = width - ql_jval_len(s);
    const int64_t left = sides == (QL_J_LEFT | QL_J_RIGHT)
                             ? pad / 2 + (pad & width & 1)
                         : sides == QL_J_LEFT ? pad
                                              : 0;
    ql_jval before;
    ql_jval after;
    ql_buf *b;

    if (ql_jval_len(fill) != 1) {
        QL_RAISE(j, "TypeError",
                 "The fill character must be exactly one character long");
    }
    *out = s;
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    if (width <= ql_jval_len(s)) {
        return QL_OK;
    }
    QL_TRY(ql_jinja_repeat(j, fill, left, &before));
    QL_TRY(ql_jinja_repeat(j, fill, pad - left, &after));
    b = ql_jinja_scratch(j);
    QL_TRY(ql_buf_append(b, before.s, before.n));
    QL_TRY(ql_buf_append(b, s.s, s.n));
    QL_TRY(ql_buf_append(b, after.s, after.n));
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = s.markup;
    return QL_OK;
}

static ql_status split_blanks(ql_jinja *j, ql_jval s, uint64_t count,
                              ql_jlist *out)
{
    size_t i = ql_jchars_blanks(s.s, s.n);

    while (i < s.n) {
        size_t end = i;

        while (end < s.n &&
               !ql_jchar_is_space(ql_utf8_get(s.s + end, s.n - end))) {
            end += ql_utf8_len(s.s + end, s.n - end);
        }
        if (out->n == count) {
            return ql_jinja_push(j, out, cut(s, i, s.n));
        }
        QL_TRY(ql_jinja_push(j, out, cut(s, i, end)));
        i = end + ql_jchars_blanks(s.s + end, s.n - end);
    }
    return QL_OK;
}

/* As above, but the cuts are counted from the end; pieces come last first. */
static ql_status rsplit_blanks(ql_jinja *j, ql_jval s, uint64_t count,
                               ql_jlist *out)
{
    size_t to = ql_jchars_rstrip(s.s, s.n);

    while (to > 0) {
        size_t from = to;

        while (from > 0) {
            const size_t at = ql_utf8_back(s.s, from);

            if (ql_jchar_is_space(ql_utf8_get(s.s + at, from - at))) {
                break;
            }
            from = at;
        }
        if (out->n == count) {
            return ql_jinja_push(j, out, cut(s, 0, to));
        }
        QL_TRY(ql_jinja_push(j, out, cut(s, from, to)));
        to = ql_jchars_rstrip(s.s, from);
    }
    return QL_OK;
}

static ql_status split_at(ql_jinja *j, ql_jval s, ql_jval separator,
                          uint64_t count, ql_jlist *out)
{
    size_t i = 0;

    while (out->n < count) {
        const size_t at =
            ql_jchars_find(s.s + i, s.n - i, separator.s, separator.n);

        if (at == SIZE_MAX) {
            break;
        }
        QL_TRY(ql_jinja_push(j, out, cut(s, i, i + at)));
        i += at + separator.n;
    }
    return ql_jinja_push(j, out, cut(s, i, s.n));
}

static ql_status rsplit_at(ql_jinja *j, ql_jval s, ql_jval separator,
                           uint64_t count, ql_jlist *out)
{
    size_t to = s.n;

    while (out->n < count) {
        const size_t at = ql_jchars_rfind(s.s, to, separator.s, separator.n);

        if (at == SIZE_MAX) {
            break;
        }
        QL_TRY(ql_jinja_push(j, out, cut(s, at + separator.n, to)));
        to = at;
    }
    return ql_jinja_push(j, out, cut(s, 0, to));
}

static void turn(ql_jlist *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        const ql_jval v = list->v[i];

        list->v[i] = list->v[list->n - 1 - i];
        list->v[list->n - 1 - i] = v;
    }
}

ql_status ql_jstr_split(ql_jinja *j, ql_jval s, ql_jval separator,
                        int64_t count, bool from_end, ql_jlist **out)
{
    const uint64_t most = count < 0 ? UINT64_MAX : (uint64_t)count;
    const bool blanks =
        separator.kind == QL_J_ABSENT || separator.kind == QL_J_NONE;
    size_t at;

    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    QL_TRY(ql_jinja_list(j, 0, out));
    if (blanks) {
        QL_TRY(from_end ? rsplit_blanks(j, s, most, *out)
                        : split_blanks(j, s, most, *out));
    } else if (!ql_jval_is_str(separator)) {
        QL_RAISE(j, "TypeError", "must be str or None, not %s",
                 ql_jval_type(separator));
    } else if (separator.n == 0) {
        QL_RAISE(j, "ValueError", "empty separator");
    } else {
        QL_TRY(ql_jinja_find(j, s, separator, &at)); /* counts the steps */
        QL_TRY(from_end ? rsplit_at(j, s, separator, most, *out)
                        : split_at(j, s, separator, most, *out));
    }
    if (from_end) {
        turn(*out);
    }
    return ql_jinja_spend(j, (*out)->n);
}

static bool ends_line(int32_t c)
{
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 ||
           c == 0x2028 || c == 0x2029;
}

size_t ql_jstr_line(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && !ends_line(ql_utf8_get(s + i, n - i))) {
        i += ql_utf8_len(s + i, n - i);
    }
    return i;
}

size_t ql_jstr_line_end(const char *s, size_t n)
{
    if (n == 0 || !ends_line(ql_utf8_get(s, n))) {
        return 0;
    }
    return n > 1 && s[0] == '\r' && s[1] == '\n' ? 2 : ql_utf8_len(s, n);
}
