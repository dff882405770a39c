#include "src/text/decoder.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

static ql_status replace(const ql_decoder_step *step, ql_regex_work *w,
                         const ql_strings *in, ql_strings *out)
{
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        const ql_string t = ql_strings_at(in, i);
        ql_search search = {0};
        size_t done = 0;
        bool found;

        for (;;) {
            QL_TRY(
                ql_pattern_next(&step->pattern, w, t.s, t.n, &search, &found));
            if (!found) {
                break;
            }
            QL_TRY(ql_buf_append(&out->text, t.s + done, search.from - done));
            QL_TRY(ql_buf_puts(&out->text, step->to));
            done = search.to;
        }
        QL_TRY(ql_buf_append(&out->text, t.s + done, t.n - done));
        QL_TRY(ql_strings_end(out));
    }
    return QL_OK;
}

static ql_status fuse(const ql_decoder_step *step, ql_regex_work *w,
                      const ql_strings *in, ql_strings *out)
{
    (void)step;
    (void)w;
    return ql_strings_push(out, in->text.data ? in->text.data : "",
                           in->text.len);
}

static bool begins(ql_string t, const char *what, size_t n)
{
    return t.n >= n && memcmp(t.s, what, n) == 0;
}

static ql_status strip(const ql_decoder_step *step, ql_regex_work *w,
                       const ql_strings *in, ql_strings *out)
{
    const size_t n = strlen(step->from);

    (void)w;
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        ql_string t = ql_strings_at(in, i);

        for (size_t k = 0; k < step->cut_front && begins(t, step->from, n);
             k++) {
            t = (ql_string){t.s + n, t.n - n};
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
static ql_status metaspace(const ql_decoder_step *step, ql_regex_work *w,
                           const ql_strings *in, ql_strings *out)
{
    const char *mark = step->metaspace.mark;
    const bool drop = step->metaspace.prepend != QL_PREPEND_NEVER;

    (void)w;
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        const char *space = i == 0 && drop ? "" : " ";

        QL_TRY(
            ql_string_replace(ql_strings_at(in, i), mark, space, &out->text));
        QL_TRY(ql_strings_end(out));
    }
    return QL_OK;
}

/* Reading. */

static ql_status read_replace(ql_decoder_step *step, const ql_part *p)
{
    QL_TRY(ql_pattern_init(&step->pattern, p));
    return ql_part_string(p, "content", &step->to);
}

static ql_status read_strip(ql_decoder_step *step, const ql_part *p)
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

static ql_status read_metaspace(ql_decoder_step *step, const ql_part *p)
{
    return ql_metaspace_init(&step->metaspace, p);
}

static ql_status read_wordpiece(ql_decoder_step *step, const ql_part *p)
{
    step->cleanup = true;
    QL_TRY(ql_json_bool(p->json, "cleanup", p->where, &step->cleanup));
    return ql_part_string(p, "prefix", &step->from);
}

static ql_status read_suffix(ql_decoder_step *step, const ql_part *p)
{
    QL_TRY(ql_part_string(p, "suffix", &step->from));
    if (!*step->from) {
        QL_FAIL(QL_EFORMAT, "%s: %s: BPEDecoder needs a suffix", p->where,
                p->kind);
    }
    return QL_OK;
}

static ql_status read_ctc(ql_decoder_step *step, const ql_part *p)
{
    step->cleanup = true;
    QL_TRY(ql_json_bool(p->json, "cleanup", p->where, &step->cleanup));
    QL_TRY(ql_part_string(p, "pad_token", &step->from));
    return ql_part_string(p, "word_delimiter_token", &step->delimiter);
}

static const struct {
    const char *type;
    ql_decoder_fn *run;
    ql_status (*read)(ql_decoder_step *step, const ql_part *p);
} kinds[] = {
    {"BPEDecoder", ql_decode_suffix, read_suffix},
    {"ByteFallback", ql_decode_byte_fallback, NULL},
    {"ByteLevel", ql_decode_byte_level, NULL},
    {"CTC", ql_decode_ctc, read_ctc},
    {"Fuse", fuse, NULL},
    {"Metaspace", metaspace, read_metaspace},
    {"Replace", replace, read_replace},
    {"Strip", strip, read_strip},
    {"WordPiece", ql_decode_wordpiece, read_wordpiece},
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
            return kinds[i].read ? kinds[i].read(step, p) : QL_OK;
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
        ql_pattern_free(&d->steps[i].pattern);
        ql_free(d->steps[i].from);
        ql_free(d->steps[i].to);
        ql_free(d->steps[i].delimiter);
    }
    ql_free(d->steps);
    *d = (ql_decoder){0};
}

static ql_status run_steps(const ql_decoder *d, ql_strings *tokens)
{
    ql_regex_work work = {0};
    ql_strings next;
    ql_strings old;
    ql_status st = QL_OK;

    ql_strings_init(&next);
    for (size_t i = 0; i < d->n; i++) {
        ql_strings_clear(&next);
        QL_TRY_DONE(d->steps[i].run(&d->steps[i], &work, tokens, &next));
        old = *tokens;
        *tokens = next;
        next = old;
    }
done:
    ql_strings_free(&next);
    ql_regex_work_free(&work);
    return st;
}

ql_status ql_decoder_run(const ql_decoder *d, ql_strings *tokens, ql_buf *out)
{
    QL_TRY(run_steps(d, tokens));
    for (size_t i = 0; i < ql_strings_size(tokens); i++) {
        const ql_string t = ql_strings_at(tokens, i);

        if (!d->given && i > 0) {
            QL_TRY(ql_buf_putc(out, ' '));
        }
        QL_TRY(ql_buf_append(out, t.s, t.n));
    }
    return QL_OK;
}
