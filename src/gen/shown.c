#include "src/gen/shown.h"

#include <string.h>

#include "src/base/fail.h"

enum {
    MAX_TEXT = 1 << 28,
    STEP = 16 /* ids between places from which text is clear */
};

static const char partial[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Text of ids [from, to). Owned. */
static ql_status decode(const ql_shown *s, const int32_t *ids, size_t from,
                        size_t to, char **text, size_t *len)
{
    return ql_tokenizer_decode(s->tok, ids + from, to - from, true, text, len);
}

static ql_status set_known(ql_shown *s, const int32_t *ids, size_t from,
                           size_t to)
{
    char *known = NULL;
    size_t len;

    QL_TRY(decode(s, ids, from, to, &known, &len));
    ql_free(s->known);
    s->known = known;
    s->from = from;
    s->clear = to;
    s->taken = 0;
    return QL_OK;
}

ql_status ql_shown_init(ql_shown *s, const ql_tokenizer *tok,
                        const ql_generate_options *opt, const int32_t *ids,
                        size_t n)
{
    *s = (ql_shown){.tok = tok, .stop = opt->stop, .n_stop = opt->n_stop};
    ql_buf_init(&s->text, QL_TAG_TEXT, MAX_TEXT);
    QL_TRY(ql_buf_puts(&s->text, "")); /* there is data, if no bytes */
    return set_known(s, ids, n > 2 * STEP ? n - 2 * STEP : 0, n);
}

void ql_shown_free(ql_shown *s)
{
    ql_buf_free(&s->text);
    ql_free(s->known);
    s->known = NULL;
}

/* True for "<0x0A>" and the like. */
static bool is_byte(const char *token)
{
    return strlen(token) == 6 && memcmp(token, "<0x", 3) == 0;
}

/* Tokens whose text no further token can change: a run of bytes at the end,
 * across tokens that have no text, is a character or not as it goes on. *whole
 * if the last of them is so by itself. */
static ql_status settled(const ql_shown *s, const int32_t *ids, size_t *n,
                         bool *whole)
{
    *whole = false;
    while (*n > s->clear) {
        const char *token = ql_tokenizer_token(s->tok, ids[*n - 1]);
        char *text;
        size_t len;

        QL_TRY(decode(s, ids, *n - 1, *n, &text, &len));
        *whole = !strstr(text, partial);
        ql_free(text);
        if (len > 0 && !(token && is_byte(token))) {
            break;
        }
        (*n)--;
    }
    return QL_OK;
}

/* Length of text without a character that is not complete yet. */
static size_t complete(const char *text, size_t len)
{
    while (len >= 3 && memcmp(text + len - 3, partial, 3) == 0) {
        len -= 3;
    }
    return len;
}

/* Bytes of whole characters at the start that two texts share. */
static size_t shared(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] && a[n] == b[n]) {
        n++;
    }
    while (n > 0 && ((unsigned char)b[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

/* Adds what is new to s->text. */
static ql_status add_new(ql_shown *s, const int32_t *ids, size_t n, bool last)
{
    ql_status st = QL_OK;
    char *all = NULL;
    bool whole = false;
    size_t len;
    size_t end;
    size_t skip;

    if (!last) {
        QL_TRY(settled(s, ids, &n, &whole));
    }
    QL_TRY(decode(s, ids, s->from, n, &all, &len));
    end = last ? len : complete(all, len);
    skip = shared(s->known, all) + s->taken;
    if (end > skip) {
        QL_TRY_DONE(ql_buf_append(&s->text, all + skip, end - skip));
        s->taken += end - skip;
    }
    if (whole && end == len && n >= s->clear + STEP) {
        QL_TRY_DONE(set_known(s, ids, s->clear, n));
    }
done:
    ql_free(all);
    return st;
}

/* Where a stop text begins in text[len] from at on; len: there is none. */
static size_t find(const char *text, size_t at, size_t len, const char *stop)
{
    const size_t n = strlen(stop);

    for (; at + n <= len; at++) {
        if (memcmp(text + at, stop, n) == 0) {
            return at;
        }
    }
    return len;
}

/* Bytes at the end of text[len] that a stop text begins with. */
static size_t begun(const char *text, size_t len, const char *stop)
{
    size_t n = strlen(stop) - 1;

    n = n < len ? n : len;
    while (n > 0 && memcmp(text + len - n, stop, n) != 0) {
        n--;
    }
    return n;
}

ql_status ql_shown_take(ql_shown *s, const int32_t *ids, size_t n, bool last,
                        const char **piece, size_t *len)
{
    size_t hold = 0;

    *piece = "";
    *len = 0;
    QL_TRY(add_new(s, ids, n, last));
    if (s->text.len == s->given) {
        return QL_OK;
    }
    for (size_t i = 0; i < s->n_stop; i++) {
        const size_t at = find(s->text.data, s->given, s->text.len, s->stop[i]);

        s->stopped |= at < s->text.len;
        s->text.len = at;
    }
    for (size_t i = 0; !last && !s->stopped && i < s->n_stop; i++) {
        const size_t b =
            begun(s->text.data + s->given, s->text.len - s->given, s->stop[i]);

        hold = b > hold ? b : hold;
    }
    *piece = s->text.data + s->given;
    *len = s->text.len - hold - s->given;
    s->given += *len;
    return QL_OK;
}
