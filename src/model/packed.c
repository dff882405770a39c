#include "src/model/packed.h"

#include <stdio.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/format/qstate.h"
#include "src/model/quantized.h"

enum {
    NAME_BYTES = 1024
};

/* A tensor beside the weight: "NAME.absmax" and the like, of n elements. */
static ql_status side_tensor(ql_packed *p, const ql_shards *s, const char *name,
                             const char *suffix, ql_dtype dtype, size_t n,
                             const ql_tensor **t)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%s.%s", name, suffix);
    *t = ql_shards_find(s, full);
    if (!*t) {
        QL_FAIL(QL_ENOTFOUND, "the model has no tensor %s", full);
    }
    if ((*t)->dtype != dtype || (*t)->elements != n) {
        QL_FAIL(QL_EFORMAT, "tensor %s: must be %zu elements of %s", full, n,
                ql_dtype_name(dtype));
    }
    p->bytes += (*t)->bytes;
    return QL_OK;
}

/* The tensor's floats: in place where aligned, else a copy. */
static ql_status side_floats(ql_packed *p, const ql_shards *s, const char *name,
                             const char *suffix, size_t n, const float **out)
{
    const ql_tensor *t;
    size_t i = 0;

    QL_TRY(side_tensor(p, s, name, suffix, QL_DTYPE_F32, n, &t));
    if ((uintptr_t)t->data % sizeof(float) == 0) {
        *out = (const float *)(const void *)t->data;
        return QL_OK;
    }
    while (p->copies[i]) {
        i++;
    }
    p->copies[i] = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(float));
    if (!p->copies[i]) {
        return QL_ENOMEM;
    }
    memcpy(p->copies[i], t->data, n * sizeof(float));
    *out = p->copies[i];
    return QL_OK;
}

static ql_status read_scales(ql_packed *p, const ql_shards *s, const char *name,
                             const ql_qstate *q, size_t blocks)
{
    ql_qtensor *w = &p->w;
    const ql_tensor *t;

    if (!q->nested) {
        return side_floats(p, s, name, "absmax", blocks, &w->absmax);
    }
    QL_TRY(side_tensor(p, s, name, "absmax", QL_DTYPE_U8, blocks, &t));
    w->absmax_u8 = t->data;
    w->nested_block = q->nested_block;
    w->offset = (float)q->nested_offset;
    QL_TRY(side_floats(p, s, name, "nested_quant_map", 256, &w->nested_code));
    return side_floats(p, s, name, "nested_absmax",
                       (blocks + q->nested_block - 1) / q->nested_block,
                       &w->nested_absmax);
}

static ql_status read(ql_packed *p, const ql_shards *s, const char *name,
                      const ql_tensor *state)
{
    const ql_tensor *t = ql_shards_find(s, name);
    const float *code = NULL;
    ql_qstate q;
    size_t n;

    QL_TRY(ql_qstate_parse(&q, (const char *)state->data, state->bytes,
                           state->name));
    if (ql_mul_overflows(q.rows, q.cols, &n) || n == SIZE_MAX) {
        QL_FAIL(QL_EFORMAT, "tensor %s: its shape overflows", state->name);
    }
    if (!t) {
        QL_FAIL(QL_ENOTFOUND, "the model has no tensor %s", name);
    }
    if (t->bytes != (n + 1) / 2) {
        QL_FAIL(QL_EFORMAT,
                "tensor %s: %zu bytes, but [%zu, %zu] in 4 bits "
                "needs %zu",
                name, t->bytes, q.rows, q.cols, (n + 1) / 2);
    }
    p->w = (ql_qtensor){.rows = q.rows,
                        .cols = q.cols,
                        .storage = QL_STORAGE_4BIT,
                        .data = t->data,
                        .block = q.block,
                        .round = ql_round_of(q.dtype)};
    p->dtype = q.dtype;
    p->bytes = t->bytes;
    QL_TRY(side_floats(p, s, name, "quant_map", 16, &code));
    memcpy(p->w.code, code, sizeof(p->w.code));
    return read_scales(p, s, name, &q, (n + q.block - 1) / q.block);
}

ql_status ql_packed_init(ql_packed *p, const ql_shards *s, const char *name,
                         bool *found)
{
    const ql_tensor *state = ql_qstate_find(s, name);
    ql_status st = QL_OK;

    *p = (ql_packed){0};
    *found = state != NULL;
    if (state) {
        st = read(p, s, name, state);
    }
    if (st != QL_OK) {
        ql_packed_free(p);
    }
    return st;
}

void ql_packed_free(ql_packed *p)
{
    for (size_t i = 0; i < QL_PACKED_COPIES; i++) {
        ql_free(p->copies[i]);
    }
    *p = (ql_packed){0};
}
