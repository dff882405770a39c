#include "src/text/wordpiece.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

ql_status ql_wordpiece_init(ql_wordpiece *p, const ql_model_text *m,
                            ql_vocab *vocab)
{
    const json_t *o = m->part.json;
    const char *prefix = "##";

    *p = (ql_wordpiece){.max_chars = 100};
    QL_TRY(
        ql_json_string(o, "continuing_subword_prefix", m->part.where, &prefix));
    QL_TRY(ql_json_size(o, "max_input_chars_per_word", m->part.where,
                        &p->max_chars));
    QL_TRY(ql_model_text_vocab(m, vocab));
    QL_TRY(ql_model_text_token(m, "unk_token", vocab, &p->unk));
    if (p->unk < 0) {
        p->unk = ql_vocab_find(vocab, "[UNK]", 5);
    }
    if (p->unk < 0) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"unk_token\" is not in the vocabulary",
                m->part.where);
    }
    for (size_t id = 0; id < vocab->size; id++) {
        size_t n;
        const char *s = ql_vocab_get(vocab, (int64_t)id, &n);

        if (s) {
            QL_TRY(ql_trie_add(&p->tokens, s, n, (int32_t)id));
        }
    }
    for (; *prefix && p->within >= 0; prefix++) {
        p->within = ql_trie_step(&p->tokens, p->within, *prefix);
    }
    return QL_OK;
}

void ql_wordpiece_free(ql_wordpiece *p)
{
    ql_trie_free(&p->tokens);
    *p = (ql_wordpiece){0};
}

/* Bytes of the longest token that s[n] begins with, looked for from a node
 * on; 0 if there is none. */
static size_t longest(const ql_trie *t, int32_t node, const char *s, size_t n,
                      int32_t *id)
{
    size_t best = 0;

    for (size_t i = 0; i < n && node >= 0; i++) {
        node = ql_trie_step(t, node, s[i]);
        if (node >= 0 && ql_trie_value(t, node) >= 0) {
            *id = ql_trie_value(t, node);
            best = i + 1;
        }
    }
    return best;
}

static bool is_long(const ql_wordpiece *p, ql_view word)
{
    size_t chars = 0;

    for (size_t i = 0; i < word.n && word.n > p->max_chars; chars++) {
        i += ql_utf8_len(word.s + i, word.n - i);
    }
    return chars > p->max_chars;
}

ql_status ql_wordpiece_run(const ql_wordpiece *p, ql_view word,
                           ql_encoding *out)
{
    const size_t before = ql_encoding_size(out);
    size_t n = 0;

    for (size_t i = 0; i < word.n; i += n) {
        int32_t id = -1;

        n = i == 0 && is_long(p, word)
                ? 0
                : longest(&p->tokens, i == 0 ? 0 : p->within, word.s + i,
                          word.n - i, &id);
        if (n == 0) {
            ql_encoding_cut(out, before);
            return ql_encoding_push(out, p->unk, ql_view_at(word, 0));
        }
        QL_TRY(ql_encoding_push(out, id, ql_view_at(word, i)));
    }
    return QL_OK;
}
