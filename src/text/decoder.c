#include "src/text/decoder.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

#define STRINGS_BYTES ((size_t)1 << 32)

static const char replacement_character[] = "\xef\xbf\xbd";

/* One string of a list, borrowed from it. */
typedef struct string {
    const char *s;
    size_t n;
} string;

void ql_strings_init(ql_strings *s)
{
    ql_buf_init(&s->text, QL_TAG_TEXT, STRINGS_BYTES);
    ql_buf_init(&s->ends, QL_TAG_TEXT, STRINGS_BYTES * sizeof(size_t));
}

void ql_strings_free(ql_strings *s)
{
    ql_buf_free(&s->text);
    ql_buf_free(&s->ends);
}

static size_t size_of(const ql_strings *s)
{
    return s->ends.len / sizeof(size_t);
}

static string at(const ql_strings *s, size_t i)
{
    const size_t *ends = (const void *)s->ends.data;
    const size_t from = i > 0 ? ends[i - 1] : 0;

    return (string){s->text.data + from, ends[i] - from};
}

/* Ends the string that was written to text. */
static ql_status end(ql_strings *s)
{
    const size_t n = s->text.len;

    QL_TRY(ql_buf_append(&s->text, "", 0));
    return ql_buf_append(&s->ends, &n, sizeof(n));
}

ql_status ql_strings_push(ql_strings *s, const char *text, size_t n)
{
    QL_TRY(ql_buf_append(&s->text, text, n));
    return end(s);
}

static ql_status replace(const ql_decoder_step *step, const ql_strings *in,
                         ql_strings *out)
{
    const size_t n = strlen(step->from);

    for (size_t i = 0; i < size_of(in); i++) {
        string t = at(in, i);

        while (t.n > 0) {
            const bool hit = t.n >= n && memcmp(t.s, step->from, n) == 0;
            const size_t used = hit ? n : 1;

            QL_TRY(ql_buf_append(&out->text, hit ? step->to : t.s,
                                 hit ? strlen(step->to) : 1));
            t = (string){t.s + used, t.n - used};
        }
        QL_TRY(end(out));
    }
    return QL_OK;
}

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
static int byte_of(string t)
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

static ql_status byte_fallback(const ql_decoder_step *step,
                               const ql_strings *in, ql_strings *out)
{
    ql_status st = QL_OK;
    ql_buf run;

    (void)step;
    ql_buf_init(&run, QL_TAG_TEXT, STRINGS_BYTES);
    for (size_t i = 0; i < size_of(in); i++) {
        const string t = at(in, i);
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

static ql_status fuse(const ql_decoder_step *step, const ql_strings *in,
                      ql_strings *out)
{
    (void)step;
    return ql_strings_push(out, in->text.data ? in->text.data : "",
                           in->text.len);
}

static bool begins(string t, const char *what, size_t n)
{
    return t.n >= n && memcmp(t.s, what, n) == 0;
}

static ql_status strip(const ql_decoder_step *step, const ql_strings *in,
                       ql_strings *out)
{
    const size_t n = strlen(step->from);

    for (size_t i = 0; i < size_of(in); i++) {
        string t = at(in, i);

        for (size_t k = 0; k < step->cut_front && begins(t, step->from, n);
             k++) {
            t = (string){t.s + n, t.n - n};
        }
        for (size_t k = 0; k < step->cut_back && t.n >= n; k++) {
            if (memcmp(t.s + t.n - n, step->from, n) != 0) {
                break;
            }
            t.n -= n;
        }
        QL_TRY(ql_strings_push(out, t.s, t.n));
    }
    return QL_OK;
}

/* Marks become spaces; those of the first token go, as they were put in. */
static ql_status metaspace(const ql_decoder_step *step, const ql_strings *in,
                           ql_strings *out)
{
    const char *mark = step->metaspace.mark;
    const bool drop = step->metaspace.prepend != QL_PREPEND_NEVER;

    for (size_t i = 0; i < size_of(in); i++) {
        const string t = at(in, i);

        for (size_t k = 0, n; k < t.n; k += n) {
            n = ql_utf8_len(t.s + k, t.n - k);
            if (strlen(mark) != n || memcmp(t.s + k, mark, n) != 0) {
                QL_TRY(ql_buf_append(&out->text, t.s + k, n));
            } else if (i > 0 || !drop) {
                QL_TRY(ql_buf_putc(&out->text, ' '));
            }
        }
        QL_TRY(end(out));
    }
    return QL_OK;
}

static ql_status init_replace(ql_decoder_step *step, const ql_part *p)
{
    QL_TRY(ql_part_pattern(p, &step->from));
    return ql_part_string(p, "content", &step->to);
}

static ql_status init_strip(ql_decoder_step *step, const ql_part *p)
{
    QL_TRY(ql_json_size(p->json, "start", p->where, &step->cut_front));
    QL_TRY(ql_json_size(p->json, "stop", p->where, &step->cut_back));
    QL_TRY(ql_part_string(p, "content", &step->from));
    if (!*step->from) {
        QL_FAIL(QL_EFORMAT, "%s: %s: Strip needs a character", p->where,
                p->kind);
    }
    return QL_OK;
}

static ql_status init_metaspace(ql_decoder_step *step, const ql_part *p)
{
    return ql_metaspace_init(&step->metaspace, p);
}

static const struct {
    const char *type;
    ql_decoder_fn *run;
    ql_status (*init)(ql_decoder_step *step, const ql_part *p);
} kinds[] = {
    {"Replace", replace, init_replace},
    {"ByteFallback", byte_fallback, NULL},
    {"Fuse", fuse, NULL},
    {"Strip", strip, init_strip},
    {"Metaspace", metaspace, init_metaspace},
};

static ql_status add_step(void *ctx, const ql_part *p, const char *type)
{
    ql_decoder *d = ctx;
    ql_decoder_step *steps;

    steps = ql_realloc(QL_TAG_TEXT, d->steps, d->n + 1, sizeof(*steps));
    if (!steps) {
        return QL_ENOMEM;
    }
    d->steps = steps;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            ql_decoder_step *step = &steps[d->n++];

            *step = (ql_decoder_step){.run = kinds[i].run};
            return kinds[i].init ? kinds[i].init(step, p) : QL_OK;
        }
    }
    return ql_part_unsupported(p, type);
}

ql_status ql_decoder_init(ql_decoder *d, const json_t *json, const char *where)
{
    const ql_part p = {json, where, "decoder"};

    *d = (ql_decoder){0};
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    d->given = true;
    return ql_part_each(&p, "decoders", add_step, d);
}

void ql_decoder_free(ql_decoder *d)
{
    for (size_t i = 0; i < d->n; i++) {
        ql_free(d->steps[i].from);
        ql_free(d->steps[i].to);
    }
    ql_free(d->steps);
    *d = (ql_decoder){0};
}

static ql_status run_steps(const ql_decoder *d, ql_strings *tokens)
{
    ql_strings next;
    ql_strings old;
    ql_status st = QL_OK;

    ql_strings_init(&next);
    for (size_t i = 0; i < d->n; i++) {
        ql_buf_clear(&next.text);
        ql_buf_clear(&next.ends);
        QL_TRY_DONE(d->steps[i].run(&d->steps[i], tokens, &next));
        old = *tokens;
        *tokens = next;
        next = old;
    }
done:
    ql_strings_free(&next);
    return st;
}

ql_status ql_decoder_run(const ql_decoder *d, ql_strings *tokens, ql_buf *out)
{
    QL_TRY(run_steps(d, tokens));
    for (size_t i = 0; i < size_of(tokens); i++) {
        const string t = at(tokens, i);

        if (!d->given && i > 0) {
            QL_TRY(ql_buf_putc(out, ' '));
        }
        QL_TRY(ql_buf_append(out, t.s, t.n));
    }
    return QL_OK;
}
