#include "src/data/pack.h"

#include "src/base/alloc.h"

static ql_status packs_init(ql_packs *p, size_t samples)
{
    *p = (ql_packs){0};
    p->first = ql_alloc(QL_TAG_DATA, samples + 1, sizeof(*p->first));
    p->member = ql_alloc(QL_TAG_DATA, samples, sizeof(*p->member));
    if (!p->first || !p->member) {
        ql_packs_free(p);
        return QL_ENOMEM;
    }
    p->first[0] = 0;
    return QL_OK;
}

void ql_packs_free(ql_packs *p)
{
    ql_free(p->first);
    ql_free(p->member);
    *p = (ql_packs){0};
}

ql_status ql_packs_in_order(ql_packs *p, const size_t *length, size_t samples,
                            size_t room)
{
    const ql_status st = packs_init(p, samples);
    size_t filled = 0;

    for (size_t i = 0; st == QL_OK && i < samples; i++) {
        if (i == 0 || filled + length[i] > room) {
            p->n++;
            filled = 0;
        }
        filled += length[i];
        p->member[i] = i;
        p->first[p->n] = i + 1;
    }
    return st;
}

/* The samples that are in no pack yet, by their length. */
typedef struct stock {
    size_t *count; /* [room + 1] */
    size_t *next;  /* [room + 1] the first of them */
    size_t shortest, longest;
    size_t left;
} stock;

static ql_status stock_init(stock *s, const size_t *length, size_t samples,
                            size_t room)
{
    *s = (stock){
        .left = samples, .shortest = length[samples - 1], .longest = length[0]};
    s->count = ql_calloc(QL_TAG_DATA, room + 1, sizeof(*s->count));
    s->next = ql_alloc(QL_TAG_DATA, room + 1, sizeof(*s->next));
    if (!s->count || !s->next) {
        return QL_ENOMEM;
    }
    for (size_t i = samples; i-- > 0;) {
        s->count[length[i]]++;
        s->next[length[i]] = i;
    }
    return QL_OK;
}

/* Puts a sample of that length into the last pack. */
static void take(ql_packs *p, stock *s, size_t length)
{
    p->member[p->first[p->n]++] = s->next[length]++;
    s->count[length]--;
    s->left--;
    while (s->left > 0 && s->count[s->longest] == 0) {
        s->longest--;
    }
    while (s->left > 0 && s->count[s->shortest] == 0) {
        s->shortest++;
    }
}

/* The longest that fits; 0 if none does. */
static size_t longest_in(const stock *s, size_t space)
{
    size_t n = space < s->longest ? space : s->longest;

    if (s->left == 0 || space < s->shortest) {
        return 0;
    }
    while (s->count[n] == 0) {
        n--;
    }
    return n;
}

/* The short one of the two that fill a space best; 0 if none does better than
 * one of length alone. *length becomes that of the long one. */
static size_t best_pair(const stock *s, size_t space, size_t *length)
{
    size_t best = *length;
    size_t found = 0;
    size_t low = s->shortest;
    size_t high = *length;

    while (low <= high && best < space) {
        if (s->count[high] == 0 || low + high > space) {
            high--;
        } else {
            const bool two = low < high || s->count[low] > 1;

            if (s->count[low] > 0 && two && low + high > best) {
                best = low + high;
                found = low;
                *length = high;
            }
            low++;
        }
    }
    return found;
}

/* Fills the last pack. */
static void fill(ql_packs *p, stock *s, size_t space)
{
    size_t length = longest_in(s, space);

    while (length > 0) {
        size_t more = 0;

        if (space - length < 2 * s->shortest) {
            more = best_pair(s, space, &length);
        }
        take(p, s, length);
        if (more > 0) {
            take(p, s, more);
        }
        space -= length + more;
        length = longest_in(s, space);
    }
}

ql_status ql_packs_fill(ql_packs *p, const size_t *length, size_t samples,
                        size_t room)
{
    stock s = {0};
    ql_status st = packs_init(p, samples);

    if (st == QL_OK) {
        st = stock_init(&s, length, samples, room);
    }
    while (st == QL_OK && s.left > 0) {
        p->n++;
        p->first[p->n] = p->first[p->n - 1];
        fill(p, &s, room);
    }
    ql_free(s.count);
    ql_free(s.next);
    if (st != QL_OK) {
        ql_packs_free(p);
    }
    return st;
}
