#include "src/text/added.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

/* One entry of "added_tokens" as the file has it. */
typedef struct entry {
    const char *content;
    int64_t id;
    bool normalized;
    bool special;
} entry;

static ql_status read_entry(const json_t *o, const char *where, entry *e,
                            ql_added_token *token)
{
    const json_t *content = json_object_get(o, "content");
    const json_t *id = json_object_get(o, "id");

    if (!json_is_string(content) || !json_is_integer(id) ||
        json_string_length(content) == 0 ||
        strlen(json_string_value(content)) != json_string_length(content)) {
        QL_FAIL(QL_EFORMAT,
                "%s: added_tokens: each needs a \"content\" and an \"id\"",
                where);
    }
    e->content = json_string_value(content);
    e->id = json_integer_value(id);
    QL_TRY(ql_json_bool(o, "special", where, &e->special));
    e->normalized = !e->special;
    QL_TRY(ql_json_bool(o, "normalized", where, &e->normalized));
    QL_TRY(ql_json_bool(o, "lstrip", where, &token->lstrip));
    QL_TRY(ql_json_bool(o, "rstrip", where, &token->rstrip));
    return ql_json_bool(o, "single_word", where, &token->single_word);
}

/* A content that the model knows has its id, as the reference does it, and not
 * the one in the list. */
static ql_status join_vocab(ql_vocab *vocab, const entry *e, const char *where)
{
    const size_t len = strlen(e->content);
    ql_status st;

    if (ql_vocab_find(vocab, e->content, len) >= 0) {
        return QL_OK;
    }
    st = ql_vocab_add(vocab, e->content, len, e->id);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: added_tokens: ", where);
}

/* The content as the text to be searched shows it: normalized or not. */
static ql_status set_content(ql_added_token *token, const entry *e,
                             bool normalized, const ql_normalizer *normalizer)
{
    ql_view v = {.s = e->content, .n = strlen(e->content)};
    ql_normal_work work;
    ql_status st = QL_OK;

    ql_normal_work_init(&work);
    if (normalized) {
        QL_TRY_DONE(ql_normalizer_run(normalizer, v, &work, &v));
    }
    token->content = ql_strndup(QL_TAG_TEXT, v.s, v.n);
    token->len = v.n;
    st = token->content ? QL_OK : QL_ENOMEM;
done:
    ql_normal_work_free(&work);
    return st;
}

static ql_status push(ql_added_set *set, const ql_added_token *token)
{
    const size_t cap = set->cap ? 2 * set->cap : 16;
    ql_added_token *tokens;

    if (set->n == set->cap) {
        tokens = ql_realloc(QL_TAG_TEXT, set->tokens, cap, sizeof(*tokens));
        if (!tokens) {
            return QL_ENOMEM;
        }
        set->tokens = tokens;
        set->cap = cap;
    }
    set->tokens[set->n++] = *token;
    return QL_OK;
}

/* Adds a token to a set. A content of which the normalizer leaves nothing is
 * never found. */
static ql_status add_to(ql_added_set *set, ql_added_token token, const entry *e,
                        bool normalized, const ql_normalizer *normalizer)
{
    ql_status st;

    QL_TRY(set_content(&token, e, normalized, normalizer));
    st = token.len > 0 ? push(set, &token) : QL_OK;
    if (st != QL_OK || token.len == 0) {
        ql_free(token.content);
    }
    return st;
}

/* The i-th of the list. The reference has special tokens before the others. */
static ql_status add(ql_added *a, const json_t *o, size_t i, ql_vocab *vocab,
                     const ql_normalizer *normalizer, const char *where)
{
    ql_added_token token = {0};
    entry e = {0};

    QL_TRY(read_entry(o, where, &e, &token));
    QL_TRY(join_vocab(vocab, &e, where));
    token.id = ql_vocab_find(vocab, e.content, strlen(e.content));
    token.rank = e.special ? i : i + SIZE_MAX / 2;
    if (e.normalized && e.special) {
        QL_TRY(add_to(&a->written, token, &e, false, normalizer));
    }
    return add_to(e.normalized ? &a->normalized : &a->raw, token, &e,
                  e.normalized, normalizer);
}

/* By content; among equal ones the first is the one that is found. */
static int compare(const void *x, const void *y)
{
    const ql_added_token *a = x;
    const ql_added_token *b = y;
    const int order = strcmp(a->content, b->content);

    return order != 0 ? order : (a->rank > b->rank) - (a->rank < b->rank);
}

static void seal(ql_added_set *set)
{
    size_t i = 0;

    if (set->n > 0) {
        qsort(set->tokens, set->n, sizeof(*set->tokens), compare);
    }
    for (size_t b = 0; b < 257; b++) {
        while (i < set->n && (unsigned char)set->tokens[i].content[0] < b) {
            i++;
        }
        set->first[b] = i;
    }
}

static ql_status mark_special(ql_added *a, const json_t *list,
                              const ql_vocab *vocab)
{
    a->special = ql_calloc(QL_TAG_TEXT, vocab->size, 1);
    if (!a->special) {
        return QL_ENOMEM;
    }
    a->special_size = vocab->size;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);

        if (json_is_true(json_object_get(o, "special"))) {
            const json_t *content = json_object_get(o, "content");

            a->special[ql_vocab_find(vocab, json_string_value(content),
                                     json_string_length(content))] = 1;
        }
    }
    return QL_OK;
}

ql_status ql_added_init(ql_added *a, const json_t *list, ql_vocab *vocab,
                        const ql_normalizer *normalizer, const char *where)
{
    *a = (ql_added){0};
    if (list && !json_is_null(list) && !json_is_array(list)) {
        QL_FAIL(QL_EFORMAT, "%s: \"added_tokens\" must be a list", where);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        QL_TRY(add(a, json_array_get(list, i), i, vocab, normalizer, where));
    }
    seal(&a->raw);
    seal(&a->normalized);
    seal(&a->written);
    return mark_special(a, list, vocab);
}

static void free_set(ql_added_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        ql_free(set->tokens[i].content);
    }
    ql_free(set->tokens);
}

void ql_added_free(ql_added *a)
{
    free_set(&a->raw);
    free_set(&a->normalized);
    free_set(&a->written);
    ql_free(a->special);
    *a = (ql_added){0};
}

/* First token in [lo, hi) whose byte k is at least c. All of them share the
 * first k bytes; one that ends there has a NUL, which is below every c. */
static size_t lower(const ql_added_set *set, size_t lo, size_t hi, size_t k,
                    unsigned c)
{
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;

        if ((unsigned char)set->tokens[mid].content[k] < c) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* The longest token that s[n] begins with, or NULL: the range of tokens that
 * begin as s does is narrowed byte by byte. */
static const ql_added_token *longest(const ql_added_set *set, const char *s,
                                     size_t n)
{
    size_t lo = set->first[(unsigned char)s[0]];
    size_t hi = set->first[(unsigned char)s[0] + 1];
    const ql_added_token *best = NULL;

    for (size_t k = 1; lo < hi; k++) {
        unsigned c;

        if (set->tokens[lo].len == k) {
            best = &set->tokens[lo];
        }
        c = k < n ? (unsigned char)s[k] : 0;
        if (c == 0) {
            break;
        }
        lo = lower(set, lo, hi, k, c);
        hi = lower(set, lo, hi, k, c + 1);
    }
    return best;
}

static bool inside_word(ql_view v, size_t from, size_t to)
{
    size_t back;

    if (to < v.n && ql_utf8_is_word(ql_utf8_get(v.s + to, v.n - to))) {
        return true;
    }
    if (from == 0) {
        return false;
    }
    back = ql_utf8_back(v.s, from);
    return ql_utf8_is_word(ql_utf8_get(v.s + back, from - back));
}

/* Widens a match over white space. What a match before has taken, up to byte
 * floor, is not for a token that takes white space before it. */
static void strip(const ql_added_token *token, ql_view v, size_t floor,
                  ql_added_search *m)
{
    while (token->lstrip && m->from > floor) {
        const size_t back = ql_utf8_back(v.s, m->from);

        if (!ql_utf8_is_space(ql_utf8_get(v.s + back, m->from - back))) {
            break;
        }
        m->from = back;
    }
    if (token->lstrip && m->from < floor) {
        m->from = floor;
    }
    while (token->rstrip && m->to < v.n &&
           ql_utf8_is_space(ql_utf8_get(v.s + m->to, v.n - m->to))) {
        m->to += ql_utf8_len(v.s + m->to, v.n - m->to);
    }
}

bool ql_added_next(const ql_added_set *set, ql_view v, ql_added_search *search)
{
    const size_t floor = search->to;
    size_t i = search->pos;

    while (set->n > 0 && i < v.n) {
        const ql_added_token *token = longest(set, v.s + i, v.n - i);
        ql_added_search m;

        if (!token) {
            i++;
            continue;
        }
        m = (ql_added_search){i, i + token->len, token->id, i + token->len};
        if (token->single_word && inside_word(v, m.from, m.to)) {
            i = m.pos;
            continue;
        }
        strip(token, v, floor, &m);
        if (m.from < m.to) {
            *search = m;
            return true;
        }
        i = m.pos;
    }
    return false;
}

bool ql_added_is_special(const ql_added *a, int32_t id)
{
    return id >= 0 && (size_t)id < a->special_size && a->special[id];
}

/* The same of one set. */
static size_t longest_at(const ql_added *a, const ql_added_set *set,
                         const char *s, size_t n)
{
    const size_t b = n > 0 ? (unsigned char)s[0] : 0;
    size_t longest = 0;

    for (size_t i = set->first[b]; n > 0 && i < set->first[b + 1]; i++) {
        const ql_added_token *t = &set->tokens[i];

        if (t->len > longest && t->len <= n &&
            memcmp(t->content, s, t->len) == 0 &&
            ql_added_is_special(a, t->id)) {
            longest = t->len;
        }
    }
    return longest;
}

size_t ql_added_special_at(const ql_added *a, const char *s, size_t n)
{
    const size_t raw = longest_at(a, &a->raw, s, n);
    const size_t written = longest_at(a, &a->written, s, n);

    return raw > written ? raw : written;
}
