#include "src/text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/text/utf8.h"

/* A token of the word, linked to its neighbours by index. */
typedef struct ql_bpe_symbol {
    size_t start; /* original offset */
    int32_t id;   /* -1: merged into the one on its left */
    int32_t prev; /* -1 at the ends */
    int32_t next;
} ql_bpe_symbol;

/* A merge that was possible when it was found. */
typedef struct ql_bpe_pair {
    uint32_t rank;
    int32_t left; /* index of the left symbol */
    int32_t id;   /* the merged token; tells stale pairs from valid ones */
} ql_bpe_pair;

/* The slot of a pair, or the empty one where it belongs. */
static ql_bpe_merge *slot_of(const ql_bpe *b, int32_t left, int32_t right)
{
    const size_t mask = b->n_slots - 1;
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)ql_rng_mix(key) & mask;

    while (b->merges[i].left >= 0 &&
           (b->merges[i].left != left || b->merges[i].right != right)) {
        i = (i + 1) & mask;
    }
    return &b->merges[i];
}

/* Index of the bit in joins for neighbours of these contents. */
static size_t join_bit(const char *left, size_t n_left, const char *right,
                       size_t n_right)
{
    const unsigned char x = (unsigned char)left[n_left - 1];
    const unsigned char y =
        (unsigned char)right[ql_utf8_len(right, n_right) - 1];

    return (size_t)x << 8 | y;
}

/* Reading. */

static ql_status read_vocab(const json_t *model, ql_vocab *vocab,
                            const char *where)
{
    json_t *o = json_object_get(model, "vocab");
    const char *key;
    json_t *id;

    if (!json_is_object(o)) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"vocab\" must be an object", where);
    }
    json_object_foreach(o, key, id)
    {
        ql_status st;

        if (!json_is_integer(id)) {
            QL_FAIL(QL_EFORMAT, "%s: model: the id of \"%s\" must be a number",
                    where, key);
        }
        st = ql_vocab_add(vocab, key, strlen(key), json_integer_value(id));
        if (st != QL_OK) {
            return ql_fail_prefix(st, "%s: model: ", where);
        }
    }
    return QL_OK;
}

/* The two sides of a merge, written "left right" or ["left", "right"]. */
typedef struct sides {
    const char *s[2];
    size_t n[2];
} sides;

static bool read_sides(const json_t *merge, sides *out)
{
    for (size_t i = 0; i < 2 && json_is_array(merge); i++) {
        const json_t *side = json_array_get(merge, i);

        if (!json_is_string(side) || json_array_size(merge) != 2) {
            return false;
        }
        out->s[i] = json_string_value(side);
        out->n[i] = json_string_length(side);
    }
    if (json_is_string(merge)) {
        const char *s = json_string_value(merge);
        const char *space = strchr(s, ' ');

        if (!space || strchr(space + 1, ' ')) {
            return false;
        }
        *out =
            (sides){{s, space + 1}, {(size_t)(space - s), strlen(space + 1)}};
    }
    return (json_is_string(merge) || json_is_array(merge)) && out->n[0] > 0 &&
           out->n[1] > 0;
}

static ql_status unknown_token(const char *where, size_t rank, const char *s,
                               size_t n)
{
    QL_FAIL(QL_EFORMAT,
            "%s: model: merge %zu needs the token \"%.*s\", which is not in "
            "the vocabulary",
            where, rank, (int)(n < 200 ? n : 200), s);
}

/* Ids of the sides and of what they become. both is scratch. */
static ql_status find_merge(const ql_vocab *vocab, const sides *m, size_t rank,
                            const char *where, ql_buf *both, ql_bpe_merge *out)
{
    int32_t ids[3];

    ql_buf_clear(both);
    for (size_t i = 0; i < 2; i++) {
        ids[i] = ql_vocab_find(vocab, m->s[i], m->n[i]);
        if (ids[i] < 0) {
            return unknown_token(where, rank, m->s[i], m->n[i]);
        }
        QL_TRY(ql_buf_append(both, m->s[i], m->n[i]));
    }
    ids[2] = ql_vocab_find(vocab, both->data, both->len);
    if (ids[2] < 0) {
        return unknown_token(where, rank, both->data, both->len);
    }
    *out = (ql_bpe_merge){ids[0], ids[1], (uint32_t)rank, ids[2]};
    return QL_OK;
}

static ql_status read_merge(ql_bpe *b, const json_t *merge, size_t rank,
                            const ql_vocab *vocab, const char *where,
                            ql_buf *both)
{
    ql_bpe_merge found;
    size_t bit;
    sides m;

    if (!read_sides(merge, &m)) {
        QL_FAIL(QL_EFORMAT, "%s: model: merge %zu must name two tokens", where,
                rank);
    }
    QL_TRY(find_merge(vocab, &m, rank, where, both, &found));
    *slot_of(b, found.left, found.right) = found;
    bit = join_bit(m.s[0], m.n[0], m.s[1], m.n[1]);
    b->joins[bit / 8] |= (uint8_t)(1 << bit % 8);
    return QL_OK;
}

static ql_status read_merges(ql_bpe *b, const json_t *model,
                             const ql_vocab *vocab, const char *where)
{
    const json_t *list = json_object_get(model, "merges");
    const size_t n = json_array_size(list);
    ql_status st = QL_OK;
    ql_buf both;

    if (!json_is_array(list) || n > UINT32_MAX / 4) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"merges\" must be a list", where);
    }
    b->n_slots = 2;
    while (b->n_slots < 2 * n) {
        b->n_slots *= 2;
    }
    b->merges = ql_alloc(QL_TAG_TEXT, b->n_slots, sizeof(*b->merges));
    if (!b->merges) {
        return QL_ENOMEM;
    }
    memset(b->merges, 0xff, b->n_slots * sizeof(*b->merges));
    ql_buf_init(&both, QL_TAG_TEXT, SIZE_MAX / 4);
    for (size_t i = 0; i < n && st == QL_OK; i++) {
        st = read_merge(b, json_array_get(list, i), i, vocab, where, &both);
    }
    ql_buf_free(&both);
    return st;
}

/* Options that change the result in ways not built here must be off. */
static ql_status refuse_options(const json_t *model, const char *where)
{
    static const char *const affixes[] = {"continuing_subword_prefix",
                                          "end_of_word_suffix"};
    const ql_part p = {model, where, "model"};
    double dropout = 0;

    QL_TRY(ql_json_real(model, "dropout", where, &dropout));
    if (dropout != 0) {
        return ql_part_unsupported(&p, "\"dropout\"");
    }
    for (size_t i = 0; i < 2; i++) {
        const char *affix = "";

        QL_TRY(ql_json_string(model, affixes[i], where, &affix));
        if (*affix) {
            return ql_part_unsupported(&p, affixes[i]);
        }
    }
    return QL_OK;
}

static ql_status read_unk(ql_bpe *b, const json_t *model, const ql_vocab *vocab,
                          const char *where)
{
    const char *unk = NULL;

    b->unk = -1;
    QL_TRY(ql_json_string(model, "unk_token", where, &unk));
    if (!unk) {
        return QL_OK;
    }
    b->unk = ql_vocab_find(vocab, unk, strlen(unk));
    if (b->unk < 0) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"unk_token\" is not in the vocabulary",
                where);
    }
    return QL_OK;
}

static void find_bytes(ql_bpe *b, const ql_vocab *vocab)
{
    for (int i = 0; i < 256; i++) {
        char name[8];

        snprintf(name, sizeof(name), "<0x%02X>", (unsigned)i);
        b->bytes[i] = ql_vocab_find(vocab, name, strlen(name));
    }
}

ql_status ql_bpe_init(ql_bpe *b, const json_t *model, ql_vocab *vocab,
                      const char *where)
{
    *b = (ql_bpe){0};
    QL_TRY(refuse_options(model, where));
    QL_TRY(ql_json_bool(model, "fuse_unk", where, &b->fuse_unk));
    QL_TRY(ql_json_bool(model, "byte_fallback", where, &b->byte_fallback));
    QL_TRY(ql_json_bool(model, "ignore_merges", where, &b->ignore_merges));
    QL_TRY(read_vocab(model, vocab, where));
    QL_TRY(read_unk(b, model, vocab, where));
    find_bytes(b, vocab);
    return read_merges(b, model, vocab, where);
}

void ql_bpe_free(ql_bpe *b)
{
    ql_free(b->merges);
    *b = (ql_bpe){0};
}

/* Encoding. */

/* What the encoding of one word carries along. */
typedef struct run {
    const ql_bpe *b;
    const ql_vocab *vocab;
    ql_bpe_work *w;
    ql_encoding *out;
    bool unk_waits; /* an unknown character was met, not yet written */
    size_t unk_start;
} run;

void ql_bpe_work_free(ql_bpe_work *w)
{
    ql_free(w->symbols);
    ql_free(w->heap);
    *w = (ql_bpe_work){0};
}

/* Room for one more symbol, and for the pairs: n - 1 at first, and each merge
 * takes one away and brings at most two. */
static ql_status reserve(ql_bpe_work *w)
{
    const size_t cap = w->cap ? 2 * w->cap : 64;
    void *p;

    if (w->n < w->cap) {
        return QL_OK;
    }
    p = ql_realloc(QL_TAG_TEXT, w->symbols, cap, sizeof(*w->symbols));
    if (!p) {
        return QL_ENOMEM;
    }
    w->symbols = p;
    p = ql_realloc(QL_TAG_TEXT, w->heap, 2 * cap, sizeof(*w->heap));
    if (!p) {
        return QL_ENOMEM;
    }
    w->heap = p;
    w->cap = cap;
    return QL_OK;
}

static bool before(const ql_bpe_pair *x, const ql_bpe_pair *y)
{
    return x->rank != y->rank ? x->rank < y->rank : x->left < y->left;
}

static void heap_push(ql_bpe_work *w, ql_bpe_pair pair)
{
    size_t i = w->n_heap++;

    while (i > 0 && before(&pair, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = pair;
}

static ql_bpe_pair heap_pop(ql_bpe_work *w)
{
    const ql_bpe_pair top = w->heap[0];
    const ql_bpe_pair last = w->heap[--w->n_heap];
    size_t i = 0;

    for (size_t child = 1; child < w->n_heap; child = 2 * i + 1) {
        if (child + 1 < w->n_heap &&
            before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!before(&w->heap[child], &last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* The merge of symbol left and its neighbour, NULL for none. */
static const ql_bpe_merge *merge_at(const run *r, int32_t left)
{
    const ql_bpe_symbol *s = r->w->symbols;
    const ql_bpe_merge *m;

    if (left < 0 || s[left].id < 0 || s[left].next < 0) {
        return NULL;
    }
    m = slot_of(r->b, s[left].id, s[s[left].next].id);
    return m->left >= 0 ? m : NULL;
}

static void offer(const run *r, int32_t left)
{
    const ql_bpe_merge *m = merge_at(r, left);

    if (m) {
        heap_push(r->w, (ql_bpe_pair){m->rank, left, m->id});
    }
}

/* Puts symbol left and its neighbour together. */
static void join(ql_bpe_symbol *s, int32_t left, int32_t id)
{
    const int32_t right = s[left].next;
    const int32_t after = s[right].next;

    s[left].id = id;
    s[left].next = after;
    s[right].id = -1;
    if (after >= 0) {
        s[after].prev = left;
    }
}

/* Merges the symbols at hand, writes them and forgets them. */
static ql_status flush(run *r)
{
    ql_bpe_work *w = r->w;

    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n; i++) {
        offer(r, (int32_t)i);
    }
    while (w->n_heap > 0) {
        const ql_bpe_pair top = heap_pop(w);
        const ql_bpe_merge *m = merge_at(r, top.left);

        if (m && m->id == top.id) {
            join(w->symbols, top.left, top.id);
            offer(r, w->symbols[top.left].prev);
            offer(r, top.left);
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        if (w->symbols[i].id >= 0) {
            QL_TRY(ql_encoding_push(r->out, w->symbols[i].id,
                                    w->symbols[i].start));
        }
    }
    w->n = 0;
    return QL_OK;
}

static bool can_join(const run *r, int32_t left, int32_t right)
{
    size_t n[2] = {0, 0};
    const char *x = ql_vocab_get(r->vocab, left, &n[0]);
    const char *y = ql_vocab_get(r->vocab, right, &n[1]);
    size_t bit;

    if (n[0] == 0 || n[1] == 0) {
        return false;
    }
    bit = join_bit(x, n[0], y, n[1]);
    return r->b->joins[bit / 8] >> bit % 8 & 1;
}

static ql_status push(run *r, int32_t id, size_t start)
{
    ql_bpe_work *w = r->w;
    int32_t i;

    if (w->n > 0 && !can_join(r, w->symbols[w->n - 1].id, id)) {
        QL_TRY(flush(r));
    }
    QL_TRY(reserve(w));
    i = (int32_t)w->n++;
    w->symbols[i] = (ql_bpe_symbol){start, id, i - 1, -1};
    if (i > 0) {
        w->symbols[i - 1].next = i;
    }
    return QL_OK;
}

static ql_status push_unk(run *r)
{
    if (!r->unk_waits) {
        return QL_OK;
    }
    r->unk_waits = false;
    return push(r, r->b->unk, r->unk_start);
}

static bool has_bytes(const ql_bpe *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (b->bytes[(unsigned char)s[i]] < 0) {
            return false;
        }
    }
    return b->byte_fallback;
}

/* One character. The reference writes an unknown one only when a known one
 * or the end follows, so bytes may overtake it; we do the same. */
static ql_status push_char(run *r, ql_view c)
{
    const int32_t id = ql_vocab_find(r->vocab, c.s, c.n);

    if (id >= 0) {
        QL_TRY(push_unk(r));
        return push(r, id, ql_view_at(c, 0));
    }
    if (has_bytes(r->b, c.s, c.n)) {
        for (size_t i = 0; i < c.n; i++) {
            QL_TRY(
                push(r, r->b->bytes[(unsigned char)c.s[i]], ql_view_at(c, i)));
        }
        return QL_OK;
    }
    if (r->b->unk < 0 || (r->unk_waits && r->b->fuse_unk)) {
        return QL_OK;
    }
    QL_TRY(push_unk(r));
    r->unk_waits = true;
    r->unk_start = ql_view_at(c, 0);
    return QL_OK;
}

ql_status ql_bpe_run(const ql_bpe *b, const ql_vocab *vocab, ql_view word,
                     ql_bpe_work *work, ql_encoding *out)
{
    run r = {.b = b, .vocab = vocab, .w = work, .out = out};

    if (b->ignore_merges) {
        const int32_t id = ql_vocab_find(vocab, word.s, word.n);

        if (id >= 0) {
            return ql_encoding_push(out, id, ql_view_at(word, 0));
        }
    }
    work->n = 0;
    for (size_t i = 0, n; i < word.n; i += n) {
        n = ql_utf8_len(word.s + i, word.n - i);
        QL_TRY(push_char(&r, ql_view_cut(word, i, i + n)));
    }
    QL_TRY(push_unk(&r));
    return flush(&r);
}
