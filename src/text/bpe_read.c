/* Reading the model of a BPE tokenizer, and its table of merges. */
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/text/bpe.h"
#include "src/text/utf8.h"

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

const ql_bpe_merge *ql_bpe_merge_of(const ql_bpe *b, int32_t left,
                                    int32_t right)
{
    const ql_bpe_merge *m = slot_of(b, left, right);

    return m->left >= 0 ? m : NULL;
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

bool ql_bpe_joins(const ql_bpe *b, const ql_vocab *vocab, int32_t left,
                  int32_t right)
{
    size_t n[2] = {0, 0};
    const char *x = ql_vocab_get(vocab, left, &n[0]);
    const char *y = ql_vocab_get(vocab, right, &n[1]);
    size_t bit;

    if (n[0] == 0 || n[1] == 0) {
        return false;
    }
    bit = join_bit(x, n[0], y, n[1]);
    return b->joins[bit / 8] >> bit % 8 & 1;
}

/* What the reading of the merges carries along. */
typedef struct reader {
    ql_bpe *b;
    const ql_vocab *vocab;
    ql_buf sides[2];
    ql_buf both;
    size_t n; /* merges so far */
} reader;

/* What has no token of its own is never a side of a merge. */
static ql_status unknown_token(const ql_json_scan *list, size_t rank,
                               const ql_buf *s)
{
    QL_FAIL(QL_EFORMAT,
            "%s: model: merge %zu needs the token \"%.200s\", which is not in "
            "the vocabulary",
            list->where, rank, s->data);
}

static ql_status not_two(const ql_json_scan *list, size_t rank)
{
    QL_FAIL(QL_EFORMAT, "%s: model: merge %zu must name two tokens",
            list->where, rank);
}

/* ["left", "right"], of which the bracket was read. */
static ql_status read_pair(reader *r, ql_json_scan *list, size_t rank)
{
    for (size_t i = 0; i < 2; i++) {
        if (ql_json_scan_peek(list) != '"') {
            return not_two(list, rank);
        }
        QL_TRY(ql_json_scan_string(list, &r->sides[i]));
        if (!ql_json_scan_take(list, i == 0 ? ',' : ']')) {
            return not_two(list, rank);
        }
    }
    return QL_OK;
}

/* "left right". */
static ql_status read_line(reader *r, ql_json_scan *list, size_t rank)
{
    const char *space;

    QL_TRY(ql_json_scan_string(list, &r->both));
    space = memchr(r->both.data, ' ', r->both.len);
    if (!space || strchr(space + 1, ' ')) {
        return not_two(list, rank);
    }
    ql_buf_clear(&r->sides[0]);
    ql_buf_clear(&r->sides[1]);
    QL_TRY(ql_buf_append(&r->sides[0], r->both.data,
                         (size_t)(space - r->both.data)));
    return ql_buf_puts(&r->sides[1], space + 1);
}

static ql_status find(const reader *r, const ql_json_scan *list, size_t rank,
                      const ql_buf *s, int32_t *id)
{
    *id = ql_vocab_find(r->vocab, s->data, s->len);
    return *id < 0 ? unknown_token(list, rank, s) : QL_OK;
}

/* What both become: the right one loses the prefix that it was given. */
static ql_status join(reader *r, const ql_json_scan *list, size_t rank)
{
    const size_t cut = r->b->prefix ? strlen(r->b->prefix) : 0;
    const ql_buf *right = &r->sides[1];

    if (right->len < cut) {
        return not_two(list, rank);
    }
    ql_buf_clear(&r->both);
    QL_TRY(ql_buf_append(&r->both, r->sides[0].data, r->sides[0].len));
    return ql_buf_append(&r->both, right->data + cut, right->len - cut);
}

static ql_status grow(ql_bpe *b, size_t n)
{
    const ql_bpe old = *b;
    ql_bpe_merge *merges = ql_alloc(QL_TAG_TEXT, n, sizeof(*merges));

    if (!merges) {
        return QL_ENOMEM;
    }
    memset(merges, 0xff, n * sizeof(*merges));
    b->merges = merges;
    b->n_slots = n;
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.merges[i].left >= 0) {
            *slot_of(b, old.merges[i].left, old.merges[i].right) =
                old.merges[i];
        }
    }
    ql_free(old.merges);
    return QL_OK;
}

/* The first line of a file of merges may have come into the list. */
static bool is_version(const ql_json_scan *list)
{
    static const char mark[] = "\"#version";
    const size_t n = sizeof(mark) - 1;

    return (size_t)(list->end - list->p) > n && memcmp(list->p, mark, n) == 0;
}

/* Of equal merges the last one counts. */
static ql_status read_merge(void *ctx, ql_json_scan *list, size_t i)
{
    reader *r = ctx;
    const bool pair = ql_json_scan_take(list, '[');
    int32_t ids[3];
    size_t bit;

    if (!pair && ql_json_scan_peek(list) != '"') {
        return not_two(list, i);
    }
    if (!pair && is_version(list)) {
        return ql_json_scan_skip(list);
    }
    QL_TRY(pair ? read_pair(r, list, i) : read_line(r, list, i));
    if (r->sides[0].len == 0 || r->sides[1].len == 0) {
        return not_two(list, i);
    }
    QL_TRY(find(r, list, i, &r->sides[0], &ids[0]));
    QL_TRY(find(r, list, i, &r->sides[1], &ids[1]));
    QL_TRY(join(r, list, i));
    QL_TRY(find(r, list, i, &r->both, &ids[2]));
    if (2 * ++r->n > r->b->n_slots) {
        QL_TRY(grow(r->b, 2 * r->b->n_slots));
    }
    *slot_of(r->b, ids[0], ids[1]) =
        (ql_bpe_merge){ids[0], ids[1], (uint32_t)i, ids[2]};
    bit = join_bit(r->sides[0].data, r->sides[0].len, r->sides[1].data,
                   r->sides[1].len);
    r->b->joins[bit / 8] |= (uint8_t)(1 << bit % 8);
    return QL_OK;
}

static ql_status read_merges(ql_bpe *b, const ql_model_text *m,
                             const ql_vocab *vocab)
{
    reader r = {.b = b, .vocab = vocab};
    ql_status st;

    QL_TRY(grow(b, 1024));
    ql_buf_init(&r.sides[0], QL_TAG_TEXT, SIZE_MAX / 4);
    ql_buf_init(&r.sides[1], QL_TAG_TEXT, SIZE_MAX / 4);
    ql_buf_init(&r.both, QL_TAG_TEXT, SIZE_MAX / 4);
    st = ql_model_text_list(m, m->merges, "merges", read_merge, &r);
    ql_buf_free(&r.sides[0]);
    ql_buf_free(&r.sides[1]);
    ql_buf_free(&r.both);
    if (b->prefix || b->suffix) {
        /* then contents do not show what stands beside what */
        memset(b->joins, 0xff, sizeof(b->joins));
    }
    return st;
}

/* The reference drops merges at random as it encodes if it is told to. */
static ql_status read_options(ql_bpe *b, const ql_part *p)
{
    double dropout = 0;

    QL_TRY(ql_json_real(p->json, "dropout", p->where, &dropout));
    if (dropout != 0) {
        return ql_part_unsupported(p, "\"dropout\"");
    }
    QL_TRY(ql_json_bool(p->json, "fuse_unk", p->where, &b->fuse_unk));
    QL_TRY(ql_json_bool(p->json, "byte_fallback", p->where, &b->byte_fallback));
    return ql_json_bool(p->json, "ignore_merges", p->where, &b->ignore_merges);
}

static ql_status read_affix(const ql_part *p, const char *key, char **out)
{
    const char *s = "";

    QL_TRY(ql_json_string(p->json, key, p->where, &s));
    if (*s) {
        *out = ql_strdup(QL_TAG_TEXT, s);
    }
    return *s && !*out ? QL_ENOMEM : QL_OK;
}

static void find_chars(ql_bpe *b, const ql_vocab *vocab)
{
    for (int32_t i = 0; i < QL_BPE_CHARS; i++) {
        char s[4];

        b->chars[i] = ql_vocab_find(vocab, s, ql_utf8_put(i, s));
    }
    for (unsigned i = 0; i < 256; i++) {
        char name[8];

        snprintf(name, sizeof(name), "<0x%02X>", i);
        b->bytes[i] = ql_vocab_find(vocab, name, strlen(name));
    }
}

ql_status ql_bpe_init(ql_bpe *b, const ql_model_text *m, ql_vocab *vocab)
{
    const ql_part *p = &m->part;

    *b = (ql_bpe){.unk = -1};
    QL_TRY(read_options(b, p));
    QL_TRY(read_affix(p, "continuing_subword_prefix", &b->prefix));
    QL_TRY(read_affix(p, "end_of_word_suffix", &b->suffix));
    QL_TRY(ql_model_text_vocab(m, vocab));
    QL_TRY(ql_model_text_token(m, "unk_token", vocab, &b->unk));
    find_chars(b, vocab);
    return read_merges(b, m, vocab);
}

void ql_bpe_free(ql_bpe *b)
{
    ql_free(b->merges);
    ql_free(b->prefix);
    ql_free(b->suffix);
    *b = (ql_bpe){0};
}
