#include "src/text/ending.h"

#include <string.h>

#include "src/base/blank.h"
#include "src/text/tokenizer_handle.h"

enum {
    SPECIAL_BYTES = 128 /* a special token at an end is looked for so far */
};

size_t ql_ending_common(const char *a, size_t n, const char *b, size_t m)
{
    size_t i = 0;

    while (i < n && i < m && a[i] == b[i]) {
        i++;
    }
    return i;
}

size_t ql_ending_word(const char *text, size_t n, const char *word, size_t m)
{
    const char *p = text;

    while (p && m > 0 && n - (size_t)(p - text) >= m) {
        if (memcmp(p, word, m) == 0) {
            return (size_t)(p - text);
        }
        p = memchr(p + 1, word[0], n - (size_t)(p + 1 - text));
    }
    return m > 0 ? SIZE_MAX : 0;
}

static size_t common_end(const char *a, size_t n, const char *b, size_t m)
{
    size_t i = 0;

    while (i < n && i < m && a[n - 1 - i] == b[m - 1 - i]) {
        i++;
    }
    return i;
}

size_t ql_ending_pass(const ql_tokenizer *tok, const char *text, size_t at,
                      size_t len)
{
    return at + ql_added_special_at(&tok->added, text + at, len - at);
}

/* The turn ends in what both have in common. Of that, what also ends the
 * longer text may be the end of any turn: with it begins, at the latest, what
 * is behind the last turn. So the turn ends with the first special token that
 * does not end before there. */
size_t ql_ending_find(const ql_tokenizer *tok, const char *tail, size_t n,
                      const char *longer, size_t m)
{
    const size_t most = ql_ending_common(tail, n, longer, m);
    const size_t least = n - common_end(tail, n, longer, m);
    const char *newline;
    size_t i = 0;

    if (most == n) {
        return n;
    }
    while (i < most) {
        const size_t end = ql_ending_pass(tok, tail, i, most);

        if (end > i && end > least) {
            return end;
        }
        i = end > i ? end : i + 1;
    }
    newline = memchr(tail, '\n', most);
    return newline ? (size_t)(newline - tail) + 1 : most;
}

static bool ends_in_special(const ql_tokenizer *tok, const char *text,
                            size_t from, size_t to)
{
    for (size_t i = to; i > from && to - i < SPECIAL_BYTES; i--) {
        if (ql_ending_pass(tok, text, i - 1, to) == to) {
            return true;
        }
    }
    return false;
}

size_t ql_ending_trim(const ql_tokenizer *tok, const char *text, size_t from,
                      size_t to)
{
    size_t end = to;

    while (end > from && ql_is_blank(text[end - 1])) {
        end--;
    }
    return ends_in_special(tok, text, from, end) ? end : to;
}
