#include "src/text/unigram.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

static const double unk_penalty = 10; /* below the least score */

/* The best way to make up the bytes before this one. */
typedef struct ql_unigram_node {
    double score;
    size_t from; /* where its last token begins; SIZE_MAX: no way yet */
    int32_t id;
} ql_unigram_node;

void ql_unigram_work_init(ql_unigram_work *w)
{
    *w = (ql_unigram_work){0};
    ql_buf_init(&w->cuts, QL_TAG_TEXT, SIZE_MAX / 4);
}

void ql_unigram_work_free(ql_unigram_work *w)
{
    ql_free(w->nodes);
    ql_buf_free(&w->cuts);
}

/* Reading. */

typedef struct reader {
    ql_unigram *u;
    ql_vocab *vocab;
    ql_buf content;
    ql_buf scores; /* double each */
    double least;
} reader;

/* [content, score]: the place in the list is the id. */
static ql_status read_piece(void *ctx, ql_json_scan *list, size_t i)
{
    reader *r = ctx;
    double score;
    ql_status st;

    if (!ql_json_scan_take(list, '[') || ql_json_scan_peek(list) != '"') {
        QL_FAIL(QL_EFORMAT,
                "%s: model: token %zu must be a content and a score",
                list->where, i);
    }
    QL_TRY(ql_json_scan_string(list, &r->content));
    QL_TRY(ql_json_scan_expect(list, ','));
    QL_TRY(ql_json_scan_real(list, &score));
    QL_TRY(ql_json_scan_expect(list, ']'));
    st = ql_vocab_add(r->vocab, r->content.data, r->content.len, (int64_t)i);
    if (st != QL_OK) {
        return ql_fail_prefix(st, "%s: model: ", list->where);
    }
    r->least = score < r->least || i == 0 ? score : r->least;
    QL_TRY(ql_buf_append(&r->scores, &score, sizeof(score)));
    return ql_trie_add(&r->u->tokens, r->content.data, r->content.len,
                       (int32_t)i);
}

static ql_status read_unk(ql_unigram *u, const ql_part *p, size_t n)
{
    const json_t *v = json_object_get(p->json, "unk_id");

    u->unk = -1;
    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (size_t)json_integer_value(v) >= n) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"unk_id\" is not in the vocabulary",
                p->where);
    }
    u->unk = (int32_t)json_integer_value(v);
    return QL_OK;
}

static void find_bytes(ql_unigram *u, const ql_vocab *vocab)
{
    for (unsigned i = 0; i < 256; i++) {
        char name[8];

        snprintf(name, sizeof(name), "<0x%02X>", i);
        u->bytes[i] = ql_vocab_find(vocab, name, strlen(name));
    }
}

ql_status ql_unigram_init(ql_unigram *u, const ql_model_text *m,
                          ql_vocab *vocab)
{
    reader r = {.u = u, .vocab = vocab};
    ql_status st;

    *u = (ql_unigram){.unk = -1};
    ql_buf_init(&r.content, QL_TAG_TEXT, SIZE_MAX / 4);
    ql_buf_init(&r.scores, QL_TAG_TEXT, SIZE_MAX / 4);
    u->where = ql_strdup(QL_TAG_TEXT, m->part.where);
    QL_TRY_DONE(u->where ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(ql_model_text_list(m, m->vocab, "vocab", read_piece, &r));
    QL_TRY_DONE(read_unk(u, &m->part, r.scores.len / sizeof(double)));
    QL_TRY_DONE(ql_json_bool(m->part.json, "byte_fallback", m->part.where,
                             &u->byte_fallback));
    find_bytes(u, vocab);
    u->unk_score = r.least - unk_penalty;
    u->scores = (void *)ql_buf_take(&r.scores, NULL);
    st = u->scores ? QL_OK : QL_ENOMEM;
done:
    ql_buf_free(&r.content);
    ql_buf_free(&r.scores);
    return st;
}

void ql_unigram_free(ql_unigram *u)
{
    ql_trie_free(&u->tokens);
    ql_free(u->scores);
    ql_free(u->where);
    *u = (ql_unigram){0};
}

/* Encoding. */

static ql_status prepare(ql_unigram_work *w, size_t n)
{
    ql_unigram_node *nodes;

    if (n + 1 > w->cap) {
        nodes = ql_realloc(QL_TAG_TEXT, w->nodes, n + 1, sizeof(*nodes));
        if (!nodes) {
            return QL_ENOMEM;
        }
        w->nodes = nodes;
        w->cap = n + 1;
    }
    for (size_t i = 0; i <= n; i++) {
        w->nodes[i] = (ql_unigram_node){0, SIZE_MAX, 0};
    }
    return QL_OK;
}

/* Of equal scores the first one found stays. */
static void offer(ql_unigram_node *node, size_t from, int32_t id, double score)
{
    if (node->from == SIZE_MAX || score > node->score) {
        *node = (ql_unigram_node){score, from, id};
    }
}

static ql_status unknown(const ql_unigram *u)
{
    QL_FAIL(QL_EFORMAT,
            "%s: model: the text holds a character that is not in the "
            "vocabulary, and \"unk_id\" names no token for it",
            u->where);
}

/* All ways to go on from byte i: the tokens that begin there, and an unknown
 * one if none of them is exactly the character there. */
static ql_status spread(const ql_unigram *u, ql_view word, size_t i,
                        ql_unigram_node *nodes)
{
    const size_t len = ql_utf8_len(word.s + i, word.n - i);
    int32_t node = 0;
    bool single = false;

    for (size_t end = i; end < word.n;) {
        int32_t id;

        node = ql_trie_step(&u->tokens, node, word.s[end++]);
        if (node < 0) {
            break;
        }
        id = ql_trie_value(&u->tokens, node);
        if (id >= 0) {
            offer(&nodes[end], i, id, u->scores[id] + nodes[i].score);
            single |= end - i == len;
        }
    }
    if (!single) {
        offer(&nodes[i + len], i, u->unk, u->unk_score + nodes[i].score);
    }
    return nodes[i + len].id < 0 ? unknown(u) : QL_OK;
}

/* Where the tokens of the best way end, the last one first. Unknown ones side
 * by side count as one. */
static ql_status trace(const ql_unigram *u, ql_view word, ql_unigram_work *w)
{
    bool unknown_after = false;
    size_t end = word.n;

    ql_buf_clear(&w->cuts);
    while (end > 0) {
        const ql_unigram_node *node = &w->nodes[end];
        const bool is_unknown = node->id == u->unk;

        if (!is_unknown || !unknown_after) {
            QL_TRY(ql_buf_append(&w->cuts, &end, sizeof(end)));
        }
        unknown_after = is_unknown;
        end = node->from;
    }
    return QL_OK;
}

/* What stands for a stretch of the word: its token, its bytes, or unknown. */
static ql_status write(const ql_unigram *u, const ql_vocab *vocab, ql_view v,
                       ql_encoding *out)
{
    const int32_t id = ql_vocab_find_word(vocab, v.s, v.n);
    bool bytes = u->byte_fallback;

    if (id >= 0) {
        return ql_encoding_push(out, id, ql_view_at(v, 0));
    }
    for (size_t i = 0; bytes && i < v.n; i++) {
        bytes = u->bytes[(unsigned char)v.s[i]] >= 0;
    }
    if (!bytes) {
        return ql_encoding_push(out, u->unk, ql_view_at(v, 0));
    }
    for (size_t i = 0; i < v.n; i++) {
        QL_TRY(ql_encoding_push(out, u->bytes[(unsigned char)v.s[i]],
                                ql_view_at(v, i)));
    }
    return QL_OK;
}

ql_status ql_unigram_run(const ql_unigram *u, const ql_vocab *vocab,
                         ql_view word, ql_unigram_work *w, ql_encoding *out)
{
    const size_t *cuts;
    size_t from = 0;

    QL_TRY(prepare(w, word.n));
    for (size_t i = 0; i < word.n; i += ql_utf8_len(word.s + i, word.n - i)) {
        QL_TRY(spread(u, word, i, w->nodes));
    }
    QL_TRY(trace(u, word, w));
    cuts = (const void *)w->cuts.data;
    for (size_t k = w->cuts.len / sizeof(*cuts); k-- > 0;) {
        QL_TRY(write(u, vocab, ql_view_cut(word, from, cuts[k]), out));
        from = cuts[k];
    }
    return QL_OK;
}
