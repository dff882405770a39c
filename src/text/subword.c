#include "src/text/subword.h"

#include <string.h>

#include "src/base/fail.h"

void ql_subword_work_init(ql_subword_work *w)
{
    ql_bpe_work_init(&w->bpe);
    ql_unigram_work_init(&w->unigram);
}

void ql_subword_work_free(ql_subword_work *w)
{
    ql_bpe_work_free(&w->bpe);
    ql_unigram_work_free(&w->unigram);
}

/* The four models behind one shape. */

static ql_status init_bpe(ql_subword *s, const ql_model_text *m,
                          ql_vocab *vocab)
{
    return ql_bpe_init(&s->bpe, m, vocab);
}

static ql_status run_bpe(const ql_subword *s, const ql_vocab *vocab,
                         ql_view word, ql_subword_work *w, ql_encoding *out)
{
    return ql_bpe_run(&s->bpe, vocab, word, &w->bpe, out);
}

static ql_status init_unigram(ql_subword *s, const ql_model_text *m,
                              ql_vocab *vocab)
{
    return ql_unigram_init(&s->unigram, m, vocab);
}

static ql_status run_unigram(const ql_subword *s, const ql_vocab *vocab,
                             ql_view word, ql_subword_work *w, ql_encoding *out)
{
    return ql_unigram_run(&s->unigram, vocab, word, &w->unigram, out);
}

static ql_status init_wordpiece(ql_subword *s, const ql_model_text *m,
                                ql_vocab *vocab)
{
    return ql_wordpiece_init(&s->wordpiece, m, vocab);
}

static ql_status run_wordpiece(const ql_subword *s, const ql_vocab *vocab,
                               ql_view word, ql_subword_work *w,
                               ql_encoding *out)
{
    (void)vocab;
    (void)w;
    return ql_wordpiece_run(&s->wordpiece, word, out);
}

static ql_status init_wordlevel(ql_subword *s, const ql_model_text *m,
                                ql_vocab *vocab)
{
    QL_TRY(ql_model_text_vocab(m, vocab));
    QL_TRY(ql_model_text_token(m, "unk_token", vocab, &s->unk));
    if (s->unk < 0) {
        QL_FAIL(QL_EFORMAT, "%s: model: WordLevel needs an \"unk_token\"",
                m->part.where);
    }
    return QL_OK;
}

static ql_status run_wordlevel(const ql_subword *s, const ql_vocab *vocab,
                               ql_view word, ql_subword_work *w,
                               ql_encoding *out)
{
    const int32_t id = ql_vocab_find_word(vocab, word.s, word.n);

    (void)w;
    return ql_encoding_push(out, id >= 0 ? id : s->unk, ql_view_at(word, 0));
}

typedef ql_status init_fn(ql_subword *s, const ql_model_text *m,
                          ql_vocab *vocab);
typedef ql_status run_fn(const ql_subword *s, const ql_vocab *vocab,
                         ql_view word, ql_subword_work *w, ql_encoding *out);

typedef struct ql_subword_kind {
    const char *type;
    init_fn *init;
    run_fn *run;
} ql_subword_kind;

static const ql_subword_kind kinds[] = {
    {"BPE", init_bpe, run_bpe},
    {"Unigram", init_unigram, run_unigram},
    {"WordLevel", init_wordlevel, run_wordlevel},
    {"WordPiece", init_wordpiece, run_wordpiece},
};

/* The type; files older than that key are told by what else they hold. */
static ql_status read_type(const ql_model_text *m, const char **type)
{
    const json_t *o = m->part.json;
    ql_json_scan vocab = m->vocab;

    if (json_object_get(o, "type") || !vocab.p) {
        return ql_part_type(&m->part, type);
    }
    *type = m->merges.p                                      ? "BPE"
            : ql_json_scan_peek(&vocab) == '['               ? "Unigram"
            : json_object_get(o, "max_input_chars_per_word") ? "WordPiece"
                                                             : "WordLevel";
    return QL_OK;
}

ql_status ql_subword_init(ql_subword *s, const ql_model_text *m,
                          ql_vocab *vocab)
{
    const char *type = "";

    *s = (ql_subword){0};
    QL_TRY(read_type(m, &type));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            s->kind = &kinds[i];
            return s->kind->init(s, m, vocab);
        }
    }
    return ql_part_unsupported(&m->part, type);
}

void ql_subword_free(ql_subword *s)
{
    ql_bpe_free(&s->bpe);
    ql_unigram_free(&s->unigram);
    ql_wordpiece_free(&s->wordpiece);
    *s = (ql_subword){0};
}

ql_status ql_subword_run(const ql_subword *s, const ql_vocab *vocab,
                         ql_view word, ql_subword_work *w, ql_encoding *out)
{
    return s->kind->run(s, vocab, word, w, out);
}
