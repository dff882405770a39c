#include "src/train/optimizer.h"

#include <assert.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

struct ql_optimizer {
    ql_adam_piece *pieces; /* [n_pieces] */
    size_t n_pieces;
    size_t count; /* parameters */
    uint64_t bytes;
    unsigned char *state; /* [bytes] */
    size_t updates;
};

/* Pieces do not cross the borders of tensors. */
static size_t count_pieces(const size_t *size, size_t n)
{
    size_t pieces = 0;

    for (size_t i = 0; i < n; i++) {
        pieces += (size[i] + QL_ADAM_PIECE - 1) / QL_ADAM_PIECE;
    }
    return pieces;
}

static void cut(ql_optimizer *o, const size_t *size, size_t n)
{
    ql_adam_piece *piece = o->pieces;

    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < size[i]; at += QL_ADAM_PIECE) {
            const size_t left = size[i] - at;

            *piece = (ql_adam_piece){
                .at = o->bytes,
                .first = o->count,
                .n = left < QL_ADAM_PIECE ? left : QL_ADAM_PIECE,
            };
            o->count += piece->n;
            o->bytes += ql_adam_state_bytes(piece->n);
            piece++;
        }
    }
}

ql_status ql_optimizer_open(ql_optimizer **o_out, const size_t *size, size_t n)
{
    ql_optimizer *o = ql_calloc(QL_TAG_OPTIM, 1, sizeof(*o));

    *o_out = NULL;
    if (!o) {
        return QL_ENOMEM;
    }
    o->n_pieces = count_pieces(size, n);
    o->pieces = ql_alloc(QL_TAG_OPTIM, o->n_pieces, sizeof(*o->pieces));
    if (o->pieces) {
        cut(o, size, n);
        o->state = ql_calloc(QL_TAG_OPTIM, o->bytes, 1);
    }
    if (!o->state) {
        ql_optimizer_close(&o);
        return QL_ENOMEM;
    }
    *o_out = o;
    return QL_OK;
}

void ql_optimizer_close(ql_optimizer **o)
{
    if (*o) {
        ql_free((*o)->pieces);
        ql_free((*o)->state);
        ql_free(*o);
        *o = NULL;
    }
}

ql_status ql_optimizer_update(ql_optimizer *o, float *p, float *g,
                              ql_adam_step *s)
{
    size_t stayed;

    s->t = o->updates + 1;
    stayed = ql_adam_update(p, g, o->state, o->pieces, o->n_pieces, s);
    if (stayed > 0) {
        memcpy(p, g, o->count * sizeof(*p));
        QL_FAIL(QL_ENUMERIC,
                "%zu trained weights would not be finite; lower the learning "
                "rate",
                stayed);
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
    return o->bytes;
}

ql_status ql_optimizer_export(ql_optimizer *o, uint64_t at, void *data,
                              size_t n)
{
    assert(at <= o->bytes && n <= o->bytes - at);
    memcpy(data, o->state + at, n);
    return QL_OK;
}

ql_status ql_optimizer_import(ql_optimizer *o, uint64_t at, const void *data,
                              size_t n)
{
    assert(at <= o->bytes && n <= o->bytes - at);
    memcpy(o->state + at, data, n);
    return QL_OK;
}
