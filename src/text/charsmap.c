#include "src/text/charsmap.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

enum {
    MAP_BYTES = 1 << 26,
    HEAD = 4,          /* bytes that say how long the trie is */
    GRAPHEME_BYTES = 6 /* from here on one is looked up by its characters */
};

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;

    return found ? (int)(found - digits) : -1;
}

/* Base 64, with or without "=" at its end. */
static ql_status decode(const char *s, size_t n, const ql_part *part,
                        ql_buf *out)
{
    unsigned bits = 0;
    int held = 0;

    while (n > 0 && s[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        const int digit = digit_of(s[i]);

        if (digit < 0) {
            QL_FAIL(QL_EFORMAT,
                    "%s: %s: \"precompiled_charsmap\" must be in "
                    "base 64",
                    part->where, part->kind);
        }
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            QL_TRY(ql_buf_putc(out, (char)(bits >> held & 0xff)));
        }
    }
    return QL_OK;
}

static uint32_t word_at(const ql_charsmap *m, size_t i)
{
    const uint8_t *b = (const uint8_t *)m->bytes.data + 4 * i;

    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
}

ql_status ql_charsmap_init(ql_charsmap *m, const ql_part *part)
{
    const json_t *v = json_object_get(part->json, "precompiled_charsmap");
    size_t strings;

    *m = (ql_charsmap){0};
    ql_buf_init(&m->bytes, QL_TAG_TEXT, MAP_BYTES);
    if (json_is_string(v)) {
        QL_TRY(decode(json_string_value(v), json_string_length(v), part,
                      &m->bytes));
    }
    m->units = m->bytes.len >= HEAD ? word_at(m, 0) / 4 : 0;
    if (m->units == 0 || m->units > (m->bytes.len - HEAD) / 4) {
        QL_FAIL(QL_EFORMAT,
                "%s: %s: \"precompiled_charsmap\" does not hold a trie",
                part->where, part->kind);
    }
    strings = HEAD + 4 * m->units;
    if (ql_utf8_check(m->bytes.data + strings, m->bytes.len - strings) !=
        m->bytes.len - strings) {
        QL_FAIL(QL_EFORMAT,
                "%s: %s: \"precompiled_charsmap\" holds what is not UTF-8",
                part->where, part->kind);
    }
    return QL_OK;
}

void ql_charsmap_free(ql_charsmap *m)
{
    ql_buf_free(&m->bytes);
    *m = (ql_charsmap){0};
}

/* A unit of the trie: its low byte is the label of the edge that leads to it,
 * bit 8 tells that a key ends here, the rest is the distance to its children.
 * A unit with bit 31 set holds the value of a key. */
static uint32_t distance(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* What the shortest beginning of s[n] that is a key becomes, NULL if none is:
 * the reference takes no other. */
static const char *find(const ql_charsmap *m, const char *s, size_t n)
{
    const size_t strings = HEAD + 4 * m->units;
    size_t pos = distance(word_at(m, 1));

    for (size_t i = 0; i < n && s[i]; i++) {
        uint32_t unit;

        pos ^= (uint8_t)s[i];
        if (pos >= m->units) {
            return NULL;
        }
        unit = word_at(m, 1 + pos);
        if ((unit & (1u << 31 | 0xff)) != (uint8_t)s[i]) {
            return NULL;
        }
        pos ^= distance(unit);
        if (unit >> 8 & 1) {
            const size_t at =
                pos < m->units ? word_at(m, 1 + pos) & ~(1u << 31) : SIZE_MAX;

            return at < m->bytes.len - strings ? m->bytes.data + strings + at
                                               : NULL;
        }
    }
    return NULL;
}

static ql_status put(ql_draft *out, ql_view v, const char *becomes)
{
    return becomes
               ? ql_draft_put(out, becomes, strlen(becomes), ql_view_at(v, 0))
               : ql_draft_copy(out, v);
}

/* Bytes of what a reader takes for the first character of v. */
static size_t grapheme(ql_view v)
{
    size_t i = ql_utf8_len(v.s, v.n);
    int32_t before = ql_utf8_get(v.s, v.n);
    utf8proc_int32_t state = 0;

    while (i < v.n) {
        const int32_t c = ql_utf8_get(v.s + i, v.n - i);

        if (utf8proc_grapheme_break_stateful(before, c, &state)) {
            break;
        }
        before = c;
        i += ql_utf8_len(v.s + i, v.n - i);
    }
    return i;
}

ql_status ql_charsmap_run(const ql_charsmap *m, ql_view v, ql_draft *out)
{
    size_t n;

    for (size_t i = 0; i < v.n; i += n) {
        const ql_view rest = ql_view_cut(v, i, v.n);
        const char *becomes;

        n = grapheme(rest);
        becomes = n < GRAPHEME_BYTES ? find(m, rest.s, n) : NULL;
        if (becomes) {
            QL_TRY(put(out, ql_view_cut(rest, 0, n), becomes));
            continue;
        }
        for (size_t k = 0, len; k < n; k += len) {
            len = ql_utf8_len(rest.s + k, n - k);
            QL_TRY(put(out, ql_view_cut(rest, k, k + len),
                       find(m, rest.s + k, len)));
        }
    }
    return QL_OK;
}
