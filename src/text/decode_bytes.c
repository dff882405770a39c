/* Decoding of tokens that stand for bytes. */
#include <string.h>

#include "src/base/fail.h"
#include "src/text/byte_level.h"
#include "src/text/decoder.h"
#include "src/text/utf8.h"

static const char replacement_character[] = "\xef\xbf\xbd";

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "<0xHH>" stands for, -1 for any other string. */
static int byte_of(ql_string t)
{
    if (t.n != 6 || memcmp(t.s, "<0x", 3) != 0 || t.s[5] != '>' ||
        hex(t.s[3]) < 0 || hex(t.s[4]) < 0) {
        return -1;
    }
    return hex(t.s[3]) << 4 | hex(t.s[4]);
}

/* A run of bytes as text; when it is not UTF-8, a replacement character for
 * each byte. Empties the run. */
static ql_status end_bytes(ql_buf *run, ql_strings *out)
{
    const size_t n = run->len;

    run->len = 0;
    if (n == 0) {
        return QL_OK;
    }
    if (ql_utf8_check(run->data, n) == n) {
        return ql_strings_push(out, run->data, n);
    }
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_strings_push(out, replacement_character, 3));
    }
    return QL_OK;
}

ql_status ql_decode_byte_fallback(const ql_decoder_step *step, ql_regex_work *w,
                                  const ql_strings *in, ql_strings *out)
{
    ql_status st = QL_OK;
    ql_buf run;

    (void)step;
    (void)w;
    ql_buf_init(&run, QL_TAG_TEXT, SIZE_MAX / 4);
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        const ql_string t = ql_strings_at(in, i);
        const int byte = byte_of(t);

        if (byte >= 0) {
            QL_TRY_DONE(ql_buf_putc(&run, (char)byte));
            continue;
        }
        QL_TRY_DONE(end_bytes(&run, out));
        QL_TRY_DONE(ql_strings_push(out, t.s, t.n));
    }
    st = end_bytes(&run, out);
done:
    ql_buf_free(&run);
    return st;
}

/* Appends the bytes that the characters of a token stand for. One that holds
 * any other character stands for itself. */
static ql_status put_bytes(ql_string t, ql_buf *out)
{
    const size_t before = out->len;

    for (size_t i = 0; i < t.n; i += ql_utf8_len(t.s + i, t.n - i)) {
        const int byte = ql_byte_level_get(ql_utf8_get(t.s + i, t.n - i));

        if (byte < 0) {
            out->len = before;
            return ql_buf_append(out, t.s, t.n);
        }
        QL_TRY(ql_buf_putc(out, (char)byte));
    }
    return QL_OK;
}

/* Bytes as text: a replacement character for each sequence of them that has
 * begun as a character and is none. */
static ql_status put_text(const ql_buf *bytes, ql_buf *out)
{
    const char *s = bytes->data;
    size_t n = bytes->len;

    while (n > 0) {
        size_t used = ql_utf8_check(s, n);

        QL_TRY(ql_buf_append(out, s, used));
        if (used < n) {
            QL_TRY(ql_buf_append(out, replacement_character, 3));
            used += ql_utf8_broken(s + used, n - used);
        }
        s += used;
        n -= used;
    }
    return QL_OK;
}

ql_status ql_decode_byte_level(const ql_decoder_step *step, ql_regex_work *w,
                               const ql_strings *in, ql_strings *out)
{
    ql_status st = QL_OK;
    ql_buf bytes;

    (void)step;
    (void)w;
    ql_buf_init(&bytes, QL_TAG_TEXT, SIZE_MAX / 4);
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        QL_TRY_DONE(put_bytes(ql_strings_at(in, i), &bytes));
    }
    QL_TRY_DONE(put_text(&bytes, &out->text));
    st = ql_strings_end(out);
done:
    ql_buf_free(&bytes);
    return st;
}
