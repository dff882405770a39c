#include "src/data/batches.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"

static size_t length_of(const ql_batches *b, size_t sample)
{
    return ql_dataset_sample(b->ds, sample).n;
}

/* Without shuffling, packs keep to the order of the samples. */
static bool by_length(const ql_batches *b)
{
    return b->opt.packing && b->opt.shuffle;
}

/* drawn sorted by falling length into sample; what is as long stays in order.
 * As lengths alone make packs, all packs of all epochs have these lengths. */
static void sort_drawn(ql_batches *b)
{
    const size_t all = ql_dataset_size(b->ds);
    size_t sum = 0;

    memset(b->longer, 0, (b->max_length + 1) * sizeof(*b->longer));
    for (size_t i = 0; i < all; i++) {
        b->longer[length_of(b, i)]++;
    }
    for (size_t n = b->max_length + 1; n-- > 0;) {
        const size_t same = b->longer[n];

        b->longer[n] = sum;
        sum += same;
    }
    for (size_t i = 0; i < all; i++) {
        b->sample[b->longer[length_of(b, b->drawn[i])]++] = b->drawn[i];
    }
}

static void identity(size_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = i;
    }
}

/* The order that packs are made of. */
static void draw_samples(ql_batches *b, uint64_t key)
{
    const size_t all = ql_dataset_size(b->ds);

    if (by_length(b)) {
        identity(b->drawn, all);
        ql_rng_shuffle(key, b->drawn, all);
        sort_drawn(b);
    } else {
        identity(b->sample, all);
    }
}

void ql_batches_begin(ql_batches *b, size_t epoch)
{
    const uint64_t key = ql_rng_split(b->opt.seed, epoch);

    draw_samples(b, ql_rng_split(key, 0));
    identity(b->order, b->packs);
    if (b->opt.shuffle) {
        ql_rng_shuffle(key, b->order, b->packs);
    }
}

static int falling(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;

    return (x < y) - (x > y);
}

/* The most that any choice of packs for a micro-batch adds up to. x is
 * sorted. */
static size_t most(const ql_batches *b, size_t *x)
{
    size_t sum = 0;

    qsort(x, b->packs, sizeof(*x), falling);
    for (size_t i = 0; i < b->packs && i < b->opt.size; i++) {
        sum += x[i];
    }
    return sum;
}

/* Tokens of a sample that have a target. */
static size_t trained_of(const ql_batches *b, size_t sample)
{
    const ql_sample s = ql_dataset_sample(b->ds, sample);
    size_t sum = s.label > 0;

    for (size_t t = 1; s.label == 0 && t < s.n; t++) {
        sum += s.train[t];
    }
    return sum;
}

/* The most that any sample of each length has, into longer. */
static void find_most_trained(ql_batches *b)
{
    memset(b->longer, 0, (b->max_length + 1) * sizeof(*b->longer));
    for (size_t i = 0; i < ql_dataset_size(b->ds); i++) {
        const size_t n = trained_of(b, i);
        size_t *most_of = &b->longer[length_of(b, i)];

        *most_of = n > *most_of ? n : *most_of;
    }
}

/* Where packs are made by length, any sample that is as long can be in a place
 * of them. */
static void measure_trained(ql_batches *b)
{
    const bool any = by_length(b);

    if (any) {
        find_most_trained(b);
    }
    for (size_t i = 0; i < b->packs; i++) {
        b->order[i] = 0;
        for (size_t j = b->pack.first[i]; j < b->pack.first[i + 1]; j++) {
            const size_t sample = b->sample[b->pack.member[j]];

            b->order[i] +=
                any ? b->longer[length_of(b, sample)] : trained_of(b, sample);
        }
    }
    b->max_trained = most(b, b->order);
}

/* What follows from the packs; length [samples] is of those in sample, and
 * used up. */
static void measure(ql_batches *b, size_t *length, size_t room)
{
    size_t tokens = 0;

    for (size_t i = 0; i < b->packs; i++) {
        b->order[i] = 0;
        for (size_t j = b->pack.first[i]; j < b->pack.first[i + 1]; j++) {
            b->order[i] += length[b->pack.member[j]];
        }
        tokens += b->order[i];
    }
    b->max_tokens = most(b, b->order);
    for (size_t i = 0; i < b->packs; i++) {
        length[i] = b->pack.first[i + 1] - b->pack.first[i];
    }
    b->max_sequences = most(b, length);
    b->n = (b->packs + b->opt.size - 1) / b->opt.size;
    if (b->opt.packing) {
        b->fill = (double)tokens / ((double)b->packs * (double)room);
    }
    measure_trained(b);
}

/* Makes the packs by the lengths of the samples. */
static ql_status make_packs(ql_batches *b)
{
    const size_t all = ql_dataset_size(b->ds);
    size_t *length = ql_alloc(QL_TAG_DATA, all, sizeof(*length));
    size_t room = b->max_length;
    ql_status st;

    if (!length) {
        return QL_ENOMEM;
    }
    if (b->opt.packing && room < ql_dataset_report_of(b->ds)->max_length) {
        room = ql_dataset_report_of(b->ds)->max_length;
    }
    draw_samples(b, 0);
    for (size_t i = 0; i < all; i++) {
        length[i] = length_of(b, b->sample[i]);
    }
    st = by_length(b) ? ql_packs_fill(&b->pack, length, all, room)
                      : ql_packs_in_order(&b->pack, length, all,
                                          b->opt.packing ? room : 0);
    if (st == QL_OK) {
        b->packs = b->pack.n;
        measure(b, length, room);
    }
    ql_free(length);
    return st;
}

static ql_status set_up(ql_batches *b)
{
    const size_t all = ql_dataset_size(b->ds);

    b->max_length = ql_dataset_report_of(b->ds)->longest;
    b->sample = ql_alloc(QL_TAG_DATA, all, sizeof(*b->sample));
    b->order = ql_alloc(QL_TAG_DATA, all, sizeof(*b->order));
    b->drawn = ql_alloc(QL_TAG_DATA, all, sizeof(*b->drawn));
    b->longer = ql_alloc(QL_TAG_DATA, b->max_length + 1, sizeof(*b->longer));
    if (!b->sample || !b->order || !b->drawn || !b->longer ||
        make_packs(b) != QL_OK) {
        return QL_ENOMEM;
    }
    b->start = ql_alloc(QL_TAG_DATA, b->max_sequences + 1, sizeof(*b->start));
    b->record = ql_alloc(QL_TAG_DATA, b->max_sequences, sizeof(*b->record));
    b->ids = ql_alloc(QL_TAG_DATA, b->max_tokens, sizeof(*b->ids));
    b->target = ql_alloc(QL_TAG_DATA, b->max_tokens, sizeof(*b->target));
    b->type = ql_alloc(QL_TAG_DATA, b->max_tokens, 1);
    return b->start && b->record && b->ids && b->target && b->type ? QL_OK
                                                                   : QL_ENOMEM;
}

ql_status ql_batches_init(ql_batches *b, const ql_dataset *ds,
                          const ql_batches_options *opt)
{
    ql_status st;

    *b = (ql_batches){.ds = ds, .opt = *opt};
    st = set_up(b);
    if (st != QL_OK) {
        ql_batches_free(b);
        return st;
    }
    ql_batches_begin(b, 0);
    return QL_OK;
}

void ql_batches_free(ql_batches *b)
{
    ql_packs_free(&b->pack);
    ql_free(b->sample);
    ql_free(b->order);
    ql_free(b->drawn);
    ql_free(b->longer);
    ql_free(b->start);
    ql_free(b->record);
    ql_free(b->ids);
    ql_free(b->target);
    ql_free(b->type);
    *b = (ql_batches){0};
}

/* Appends a sample at token t; each token's target is the one after it, that of
 * the first token of a labelled one the class. */
static size_t append(ql_batches *b, ql_sample s, size_t t)
{
    for (size_t i = 0; i < s.n; i++) {
        const bool trained = s.label == 0 && i + 1 < s.n && s.train[i + 1];

        b->ids[t + i] = s.ids[i];
        b->target[t + i] = trained ? s.ids[i + 1] : -1;
        b->type[t + i] = s.label > 0 ? s.train[i] : 0;
    }
    if (s.label > 0) {
        b->target[t] = s.label - 1;
    }
    return t + s.n;
}

/* Packs of micro-batch i: order[*from] up to order[*to - 1]. */
static void range(const ql_batches *b, size_t i, size_t *from, size_t *to)
{
    *from = i * b->opt.size;
    *to = *from + b->opt.size < b->packs ? *from + b->opt.size : b->packs;
}

static size_t record_of(const ql_batches *b, size_t i)
{
    return b->sample[b->pack.member[i]];
}

static ql_sample member(const ql_batches *b, size_t i)
{
    return ql_dataset_sample(b->ds, record_of(b, i));
}

void ql_batches_get(ql_batches *b, size_t i, ql_batch *out)
{
    size_t from;
    size_t to;
    size_t n = 0;

    range(b, i, &from, &to);
    b->start[0] = 0;
    for (; from < to; from++) {
        const size_t *first = b->pack.first + b->order[from];

        for (size_t j = first[0]; j < first[1]; j++, n++) {
            b->record[n] = record_of(b, j);
            b->start[n + 1] = append(b, member(b, j), b->start[n]);
        }
    }
    *out = (ql_batch){.T = b->start[n],
                      .sequences = n,
                      .start = b->start,
                      .ids = b->ids,
                      .target = b->target,
                      .type = b->type,
                      .record = b->record};
}

size_t ql_batches_trained(const ql_batches *b, size_t i)
{
    size_t from;
    size_t to;
    size_t sum = 0;

    range(b, i, &from, &to);
    for (; from < to; from++) {
        const size_t *first = b->pack.first + b->order[from];

        for (size_t j = first[0]; j < first[1]; j++) {
            sum += trained_of(b, record_of(b, j));
        }
    }
    return sum;
}
