#include "src/model/stream.h"

#include <errno.h>
#include <pthread.h>

#include "src/base/alloc.h"
#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/map.h"

enum {
    ARRAYS = 4 /* of a matrix: codes, and up to three of scales */
};

typedef struct range {
    const void *p;
    size_t bytes;
} range;

typedef struct part {
    range *ranges;
    size_t n, bytes;
    bool here;
} part;

struct ql_stream {
    part *parts;
    size_t n;
    range *ranges; /* of all parts */
    size_t budget;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* of all that follows, and of part.here */
    pthread_cond_t moved, arrived;
    size_t resident; /* bytes */
    size_t at;       /* the part in use */
    ql_stream_way way;
    bool stop;
    ql_stream_use use;
};

/* The arrays of a matrix that lie in mapped files: at most ARRAYS. */
static size_t mapped_ranges(range *out, const ql_weights *w,
                            const ql_qtensor *t)
{
    static const size_t width[QL_STORAGE_COUNT] = {
        [QL_STORAGE_F32] = 4, [QL_STORAGE_BF16] = 2, [QL_STORAGE_F16] = 2};
    const size_t elements = t->rows * t->cols;
    const bool coded = t->storage == QL_STORAGE_4BIT;
    const size_t blocks =
        coded && elements > 0 ? (elements + t->block - 1) / t->block : 0;
    const size_t nested =
        t->absmax_u8 ? (blocks + t->nested_block - 1) / t->nested_block : 0;
    const range all[ARRAYS] = {
        {t->data, coded ? (elements + 1) / 2 : elements * width[t->storage]},
        {t->absmax, blocks * sizeof(float)},
        {t->absmax_u8, blocks},
        {t->nested_absmax, nested * sizeof(float)},
    };
    size_t n = 0;

    for (size_t i = 0; i < ARRAYS; i++) {
        if (all[i].bytes > 0 && ql_weights_maps(w, all[i].p)) {
            out[n++] = all[i];
        }
    }
    return n;
}

size_t ql_stream_bytes(const ql_weights *w, const ql_qtensor *t)
{
    range ranges[ARRAYS];
    const size_t n = mapped_ranges(ranges, w, t);
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        bytes += ranges[i].bytes;
    }
    return bytes;
}

void ql_stream_release(const ql_weights *w, const ql_qtensor *t)
{
    range ranges[ARRAYS];
    const size_t n = mapped_ranges(ranges, w, t);

    for (size_t i = 0; i < n; i++) {
        ql_map_drop(ranges[i].p, ranges[i].bytes);
    }
}

/* The ranges of part i, from ranges on; there is room for all matrices. */
static part part_of(range *ranges, const ql_weights *w, size_t i)
{
    part p = {.ranges = ranges};

    if (i == w->n_layers) {
        p.n = mapped_ranges(ranges, w, &w->head.w);
    }
    for (size_t j = 0; i < w->n_layers && j < QL_MODULES; j++) {
        p.n += mapped_ranges(ranges + p.n, w, &w->layers[i].linear[j].w);
    }
    for (size_t j = 0; j < p.n; j++) {
        p.bytes += ranges[j].bytes;
    }
    return p;
}

void ql_stream_needs(const ql_weights *w, size_t *all, size_t *least)
{
    size_t before = 0;

    *all = *least = 0;
    for (size_t i = 0; i <= w->n_layers; i++) {
        range ranges[QL_MODULES * ARRAYS];
        const size_t bytes = part_of(ranges, w, i).bytes;

        *all += bytes;
        *least = before + bytes > *least ? before + bytes : *least;
        before = bytes;
    }
}

/* How many turns from now part i is used, the one in use being 0. */
static size_t distance(const ql_stream *s, size_t i)
{
    const size_t last = s->n - 1;

    switch (s->way) {
    case QL_STREAM_UP:
        return i >= s->at ? i - s->at : 2 * last - s->at - i;
    case QL_STREAM_DOWN:
        return i <= s->at ? s->at - i : s->at + i;
    default:
        return (i + s->n - s->at) % s->n;
    }
}

/* The part, here or not, that is used first or last. n when there is none. */
static size_t extreme(const ql_stream *s, bool here, bool last)
{
    size_t found = s->n;

    for (size_t i = 0; i < s->n; i++) {
        if (s->parts[i].here == here &&
            (found == s->n || (distance(s, i) > distance(s, found)) == last)) {
            found = i;
        }
    }
    return found;
}

static void drop(ql_stream *s, size_t i)
{
    part *p = &s->parts[i];

    for (size_t j = 0; j < p->n; j++) {
        ql_map_drop(p->ranges[j].p, p->ranges[j].bytes);
    }
    p->here = false;
    s->resident -= p->bytes;
}

/* Bytes that are resident and used after part i. */
static size_t used_after(const ql_stream *s, size_t i)
{
    size_t bytes = 0;

    for (size_t j = 0; j < s->n; j++) {
        if (s->parts[j].here && distance(s, j) > distance(s, i)) {
            bytes += s->parts[j].bytes;
        }
    }
    return bytes;
}

/* Makes room for part i at the cost of those that are used after it. The part
 * in use is needed in any case. */
static bool make_room(ql_stream *s, size_t i)
{
    const size_t bytes = s->parts[i].bytes;

    if (i != s->at && s->resident - used_after(s, i) + bytes > s->budget) {
        return false;
    }
    while (s->resident > 0 && s->resident + bytes > s->budget) {
        drop(s, extreme(s, true, true));
    }
    return true;
}

/* Reads part i without the lock, which is held before and after. */
static void fetch(ql_stream *s, size_t i)
{
    part *p = &s->parts[i];

    s->resident += p->bytes;
    pthread_mutex_unlock(&s->lock);
    for (size_t j = 0; j < p->n; j++) {
        ql_map_fetch(p->ranges[j].p, p->ranges[j].bytes);
    }
    pthread_mutex_lock(&s->lock);
    p->here = true;
    s->use.bytes += p->bytes;
    pthread_cond_signal(&s->arrived);
}

static void *work(void *stream)
{
    ql_stream *s = stream;

    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        const size_t next = extreme(s, false, false);

        if (next < s->n && make_room(s, next)) {
            fetch(s, next);
        } else {
            pthread_cond_wait(&s->moved, &s->lock);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static ql_status fill(ql_stream *s, const ql_weights *w)
{
    range *ranges;

    s->n = w->n_layers + 1;
    s->parts = ql_calloc(QL_TAG_MISC, s->n, sizeof(*s->parts));
    s->ranges = ranges =
        ql_alloc(QL_TAG_MISC, s->n * QL_MODULES * ARRAYS, sizeof(*ranges));
    if (!s->parts || !ranges) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < s->n; i++) {
        s->parts[i] = part_of(ranges, w, i);
        ranges += s->parts[i].n;
        s->resident += s->parts[i].bytes;
        drop(s, i);
    }
    return QL_OK;
}

ql_status ql_stream_open(ql_stream **out, const ql_weights *w, size_t budget)
{
    size_t all;
    size_t least;
    ql_stream *s;
    ql_status st;

    *out = NULL;
    ql_stream_needs(w, &all, &least);
    if (all <= budget) {
        return QL_OK;
    }
    s = ql_calloc(QL_TAG_MISC, 1, sizeof(*s));
    if (!s) {
        return QL_ENOMEM;
    }
    s->budget = budget;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->moved, NULL);
    pthread_cond_init(&s->arrived, NULL);
    st = fill(s, w);
    if (st == QL_OK) {
        errno = pthread_create(&s->thread, NULL, work, s);
        s->runs = errno == 0;
        st = s->runs ? QL_OK : ql_fail_errno("cannot start a thread");
    }
    if (st != QL_OK) {
        ql_stream_close(&s);
    }
    *out = s;
    return st;
}

void ql_stream_close(ql_stream **stream)
{
    ql_stream *s = *stream;

    if (!s) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->moved);
    pthread_mutex_unlock(&s->lock);
    if (s->runs) {
        pthread_join(s->thread, NULL);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->moved);
    pthread_cond_destroy(&s->arrived);
    ql_free(s->parts);
    ql_free(s->ranges);
    ql_free(s);
    *stream = NULL;
}

void ql_stream_enter(ql_stream *s, size_t i, ql_stream_way way)
{
    double start;

    if (!s) {
        return;
    }
    start = ql_now_s();
    pthread_mutex_lock(&s->lock);
    s->at = i;
    s->way = way;
    pthread_cond_signal(&s->moved);
    if (!s->parts[i].here) {
        s->use.stalls++;
        while (!s->parts[i].here) {
            pthread_cond_wait(&s->arrived, &s->lock);
        }
        s->use.stall_s += ql_now_s() - start;
    }
    pthread_mutex_unlock(&s->lock);
}

ql_stream_use ql_stream_used(ql_stream *s)
{
    ql_stream_use use = {0};

    if (s) {
        pthread_mutex_lock(&s->lock);
        use = s->use;
        pthread_mutex_unlock(&s->lock);
    }
    return use;
}
