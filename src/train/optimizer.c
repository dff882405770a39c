/* Every update goes through the state from front to back. What is not resident
 * is read ahead and written behind; a cache of what was used last would hold
 * nothing of what comes next. */
#include "src/train/optimizer.h"

#include <assert.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/pages.h"
#include "src/train/optimizer_layout.h"

struct ql_optimizer {
    ql_layout layout;
    unsigned char *resident; /* [layout.resident_bytes] */
    ql_pages *pages;         /* NULL: all is resident */
    ql_adam_maps *maps;      /* NULL: all is in 32 bits */
    size_t updates;
    ql_profile *profile;
};

_Static_assert(sizeof(ql_optimizer) <= QL_LAYOUT_HANDLE, "is planned for");

static ql_status make_state(ql_optimizer *o, const char *page_dir)
{
    const ql_layout *l = &o->layout;

    o->resident = ql_calloc(QL_TAG_OPTIM, l->resident_bytes, 1);
    o->maps = l->eight ? ql_alloc(QL_TAG_OPTIM, 1, sizeof(*o->maps)) : NULL;
    if (!o->resident || (l->eight && !o->maps)) {
        return QL_ENOMEM;
    }
    if (l->eight) {
        ql_adam_maps_init(o->maps);
    }
    return l->n_parts == 0 ? QL_OK
                           : ql_pages_open(&o->pages, QL_TAG_OPTIM, page_dir,
                                           l->bound, l->n_parts);
}

ql_status ql_optimizer_open(ql_optimizer **o_out,
                            const ql_optimizer_options *opt, const size_t *size,
                            size_t n)
{
    ql_optimizer *o = ql_calloc(QL_TAG_OPTIM, 1, sizeof(*o));
    ql_status st;

    *o_out = NULL;
    if (!o) {
        return QL_ENOMEM;
    }
    o->profile = opt->profile;
    st = ql_layout_init(&o->layout, opt, size, n);
    if (st == QL_OK) {
        st = make_state(o, opt->page_dir);
    }
    if (st != QL_OK) {
        ql_optimizer_close(&o);
    }
    *o_out = o;
    return st;
}

void ql_optimizer_close(ql_optimizer **handle)
{
    ql_optimizer *o = *handle;

    if (o) {
        ql_pages_close(&o->pages);
        ql_layout_free(&o->layout);
        ql_free(o->resident);
        ql_free(o->maps);
        ql_free(o);
        *handle = NULL;
    }
}

/* Updates piece by piece; done counts those that were, stayed the parameters
 * that could not be. */
static ql_status sweep(ql_optimizer *o, float *p, float *g,
                       const ql_adam_step *s, size_t *done, size_t *stayed)
{
    const ql_layout *l = &o->layout;

    *stayed = ql_adam_update(p, g, o->resident, l->pieces, l->resident_pieces,
                             o->maps, s);
    *done = l->resident_pieces;
    for (size_t i = 0; i < l->n_parts; i++) {
        void *state;

        ql_profile_mark(o->profile, QL_WORK_PAGING);
        QL_TRY(ql_pages_next(o->pages, &state));
        ql_profile_mark(o->profile, QL_WORK_OPTIMIZER);
        *stayed += ql_adam_update(p, g, state, l->pieces + *done,
                                  l->first[i + 1] - *done, o->maps, s);
        *done = l->first[i + 1];
        ql_pages_done(o->pages);
    }
    return QL_OK;
}

ql_status ql_optimizer_update(ql_optimizer *o, float *p, float *g,
                              ql_adam_step *s)
{
    const ql_layout *l = &o->layout;
    size_t stayed;
    size_t done;
    ql_status st;

    s->t = o->updates + 1;
    st = sweep(o, p, g, s, &done, &stayed);
    if (st == QL_OK && stayed > 0) {
        st = ql_fail(QL_ENUMERIC,
                     "%zu trained weights would not be finite; lower the "
                     "learning rate",
                     stayed);
    }
    if (st != QL_OK) {
        const size_t n = done < l->n_pieces ? l->pieces[done].first : l->count;

        memcpy(p, g, n * sizeof(*p));
        return st;
    }
    o->updates++;
    return QL_OK;
}

size_t ql_optimizer_updates(const ql_optimizer *o)
{
    return o->updates;
}

void ql_optimizer_set_updates(ql_optimizer *o, size_t updates)
{
    o->updates = updates;
}

uint64_t ql_optimizer_state_bytes(const ql_optimizer *o)
{
    return o->layout.bytes;
}

/* How many of the bytes from at on are resident. */
static size_t resident_part(const ql_optimizer *o, uint64_t at, size_t n)
{
    const uint64_t end = o->layout.resident_bytes;

    assert(at <= o->layout.bytes && n <= o->layout.bytes - at);
    return at >= end ? 0 : end - at < n ? (size_t)(end - at) : n;
}

ql_status ql_optimizer_export(ql_optimizer *o, uint64_t at, void *data,
                              size_t n)
{
    const size_t near = resident_part(o, at, n);

    if (near > 0) {
        memcpy(data, o->resident + at, near);
    }
    return near == n
               ? QL_OK
               : ql_pages_read(o->pages, at + near - o->layout.resident_bytes,
                               (char *)data + near, n - near);
}

ql_status ql_optimizer_import(ql_optimizer *o, uint64_t at, const void *data,
                              size_t n)
{
    const size_t near = resident_part(o, at, n);

    if (near > 0) {
        memcpy(o->resident + at, data, near);
    }
    return near == n
               ? QL_OK
               : ql_pages_write(o->pages, at + near - o->layout.resident_bytes,
                                (const char *)data + near, n - near);
}
