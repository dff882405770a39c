#include "src/text/bpe.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

enum {
    SHORT_WORD = 24, /* symbols that are merged without a heap */
    LONG_WORD = 32   /* from here on a word is cut where no merge reaches */
};

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

/* What the encoding of one word carries along. */
typedef struct run {
    const ql_bpe *b;
    const ql_vocab *vocab;
    ql_bpe_work *w;
    ql_encoding *out;
    bool unk_waits; /* an unknown character was met, not yet written */
    size_t unk_start;
} run;

void ql_bpe_work_init(ql_bpe_work *w)
{
    *w = (ql_bpe_work){0};
    ql_buf_init(&w->text, QL_TAG_TEXT, SIZE_MAX / 4);
}

void ql_bpe_work_free(ql_bpe_work *w)
{
    ql_buf_free(&w->text);
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

    if (left < 0 || s[left].id < 0 || s[left].next < 0) {
        return NULL;
    }
    return ql_bpe_merge_of(r->b, s[left].id, s[s[left].next].id);
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

/* Merges many symbols: time n log n. */
static void merge_long(const run *r)
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
}

/* Merges few symbols, which stay side by side: a look at all pairs is faster
 * than a heap. */
static void merge_short(const run *r)
{
    const ql_bpe_merge *merges[SHORT_WORD];
    ql_bpe_symbol *s = r->w->symbols;
    size_t n = r->w->n;

    for (size_t i = 0; i + 1 < n; i++) {
        merges[i] = ql_bpe_merge_of(r->b, s[i].id, s[i + 1].id);
    }
    for (;;) {
        const ql_bpe_merge *best = NULL;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++) {
            if (merges[i] && (!best || merges[i]->rank < best->rank)) {
                best = merges[i];
                at = i;
            }
        }
        if (!best) {
            break;
        }
        s[at].id = best->id;
        n--;
        for (size_t i = at + 1; i < n; i++) {
            s[i] = s[i + 1];
            merges[i - 1] = merges[i];
        }
        if (at > 0) {
            merges[at - 1] = ql_bpe_merge_of(r->b, s[at - 1].id, s[at].id);
        }
        if (at + 1 < n) {
            merges[at] = ql_bpe_merge_of(r->b, s[at].id, s[at + 1].id);
        }
    }
    r->w->n = n;
}

/* Merges the symbols at hand, writes them and forgets them. */
static ql_status flush(run *r)
{
    ql_bpe_work *w = r->w;

    if (w->n <= SHORT_WORD) {
        merge_short(r);
    } else {
        merge_long(r);
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

static ql_status push(run *r, int32_t id, size_t start)
{
    ql_bpe_work *w = r->w;
    int32_t i;

    if (w->n >= LONG_WORD &&
        !ql_bpe_joins(r->b, r->vocab, w->symbols[w->n - 1].id, id)) {
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
    for (size_t i = 0; b->byte_fallback && i < n; i++) {
        if (b->bytes[(unsigned char)s[i]] < 0) {
            return false;
        }
    }
    return b->byte_fallback;
}

/* A character without a token. The reference writes an unknown one only when
 * a known one or the end follows, so bytes may overtake it; we do the same.
 * text[n]: the character with what the model puts around it. */
static ql_status push_unknown(run *r, ql_view c, const char *text, size_t n)
{
    if (has_bytes(r->b, text, n)) {
        for (size_t i = 0; i < n; i++) {
            QL_TRY(push(r, r->b->bytes[(unsigned char)text[i]],
                        ql_view_at(c, i < c.n ? i : c.n - 1)));
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

static ql_status push_token(run *r, int32_t id, ql_view c)
{
    QL_TRY(push_unk(r));
    return push(r, id, ql_view_at(c, 0));
}

/* One character; first and last: it begins and ends the word. */
static ql_status push_affixed(run *r, ql_view c, bool first, bool last)
{
    ql_buf *text = &r->w->text;
    int32_t id;

    ql_buf_clear(text);
    if (!first && r->b->prefix) {
        QL_TRY(ql_buf_puts(text, r->b->prefix));
    }
    QL_TRY(ql_buf_append(text, c.s, c.n));
    if (last && r->b->suffix) {
        QL_TRY(ql_buf_puts(text, r->b->suffix));
    }
    id = ql_vocab_find_word(r->vocab, text->data, text->len);
    return id >= 0 ? push_token(r, id, c)
                   : push_unknown(r, c, text->data, text->len);
}

/* One character of a model that puts nothing around it. */
static ql_status push_char(run *r, ql_view c)
{
    const int32_t point = c.n <= 2 ? ql_utf8_get(c.s, c.n) : QL_BPE_CHARS;
    const int32_t id = point < QL_BPE_CHARS
                           ? r->b->chars[point]
                           : ql_vocab_find_word(r->vocab, c.s, c.n);

    return id >= 0 ? push_token(r, id, c) : push_unknown(r, c, c.s, c.n);
}

ql_status ql_bpe_run(const ql_bpe *b, const ql_vocab *vocab, ql_view word,
                     ql_bpe_work *work, ql_encoding *out)
{
    const bool affixed = b->prefix || b->suffix;
    run r = {.b = b, .vocab = vocab, .w = work, .out = out};

    if (b->ignore_merges) {
        const int32_t id = ql_vocab_find_word(vocab, word.s, word.n);

        if (id >= 0) {
            return ql_encoding_push(out, id, ql_view_at(word, 0));
        }
    }
    work->n = 0;
    for (size_t i = 0, n; i < word.n; i += n) {
        ql_view c;

        n = ql_utf8_len(word.s + i, word.n - i);
        c = ql_view_cut(word, i, i + n);
        QL_TRY(affixed ? push_affixed(&r, c, i == 0, i + n == word.n)
                       : push_char(&r, c));
    }
    QL_TRY(push_unk(&r));
    return flush(&r);
}
