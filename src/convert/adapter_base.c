#include "src/convert/adapter_base.h"

#include <stdio.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/fail.h"
#include "src/format/names.h"

enum {
    CHUNK = 4096,
    NAME_BYTES = 1024
};

const ql_tie ql_ties[QL_TIES] = {
    {"embed_tokens", "lm_head"},
    {"wte", "lm_head"},
    {"embed_in", "embed_out"},
};

static bool is_float(const ql_tensor *t)
{
    return t->dtype == QL_DTYPE_F32 || t->dtype == QL_DTYPE_F16 ||
           t->dtype == QL_DTYPE_BF16;
}

/* Another shape is seen where the pair is put to its weight. */
static bool comparable(const ql_tensor *a, const ql_tensor *b)
{
    return a->data && b->data && is_float(a) && is_float(b) &&
           a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof(*a->shape)) == 0;
}

static const ql_tensor *find(const ql_shards *s, const char *name)
{
    for (size_t i = 0; i < ql_shards_count(s); i++) {
        const ql_tensor *t = ql_shards_at(s, i);

        if (ql_name_same(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

/* The tensor of the base that is repeated; NULL without one. */
static const ql_tensor *find_base(const ql_shards *s, const char *name)
{
    const ql_tensor *t = find(s, name);
    char other[NAME_BYTES];

    for (size_t i = 0; !t && i < QL_TIES; i++) {
        snprintf(other, sizeof(other), "%s.weight", ql_ties[i].head);
        if (ql_name_ends_path(name, other)) {
            snprintf(other, sizeof(other), "%s.weight", ql_ties[i].embed);
            t = find(s, other);
        }
    }
    return t;
}

static float rounded(float x, ql_dtype to)
{
    return to == QL_DTYPE_BF16  ? ql_bf16_to_f32(ql_f32_to_bf16(x))
           : to == QL_DTYPE_F16 ? ql_f16_to_f32(ql_f32_to_f16(x))
                                : x;
}

/* One is the other, or the other in that type. */
static bool same_in(const ql_tensor *a, const ql_tensor *b, ql_dtype type)
{
    bool first = true;
    bool second = true;

    for (size_t i = 0; (first || second) && i < a->elements; i += CHUNK) {
        const size_t left = a->elements - i;
        const size_t n = left < CHUNK ? left : CHUNK;
        const ql_tensor part[] = {ql_tensor_slice(a, i, n),
                                  ql_tensor_slice(b, i, n)};
        float x[2][CHUNK];

        ql_tensor_to_f32(x[0], &part[0]);
        ql_tensor_to_f32(x[1], &part[1]);
        for (size_t j = 0; j < n; j++) {
            first = first && rounded(x[0][j], type) == x[1][j];
            second = second && rounded(x[1][j], type) == x[0][j];
        }
    }
    return first || second;
}

static bool same(const ql_tensor *a, const ql_tensor *b)
{
    static const ql_dtype types[] = {QL_DTYPE_F32, QL_DTYPE_BF16, QL_DTYPE_F16};
    bool yes = false;

    for (size_t i = 0; !yes && i < sizeof(types) / sizeof(types[0]); i++) {
        yes = same_in(a, b, types[i]);
    }
    return yes;
}

/* A matrix of another number of tokens. */
static bool resized(const ql_tensor *a, const ql_tensor *b)
{
    return is_float(a) && a->rank == 2 && b->rank == 2 &&
           a->shape[0] != b->shape[0] && a->shape[1] == b->shape[1];
}

static ql_status check_whole(ql_adapter_folder *f, ql_adapter_whole *w,
                             const ql_tensor *t)
{
    if (resized(t, &w->tensor)) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is of %zu tokens, but the model has %zu: PEFT saved "
                "embeddings that were resized before the training; resize the "
                "model's (in transformers: resize_token_embeddings(%zu), then "
                "save_pretrained) and give that model",
                f->path, w->tensor.name, w->tensor.shape[0], t->shape[0],
                w->tensor.shape[0]);
    }
    if (!comparable(t, &w->tensor) || !(w->repeats || w->unnamed)) {
        return QL_OK;
    }
    if (same(t, &w->tensor)) {
        w->repeats = true;
    } else if (w->unnamed) {
        f->tied = true;
    } else {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is not the model's %s: its embeddings were changed "
                "before the training, which is not supported",
                f->path, w->tensor.name, t->name);
    }
    return QL_OK;
}

ql_status ql_adapter_base_check(ql_adapter_folder *f, const ql_shards *s)
{
    for (size_t i = 0; i < f->n_wholes; i++) {
        ql_adapter_whole *w = &f->wholes[i];
        const ql_tensor *t =
            w->repeats || w->end ? find_base(s, w->name) : NULL;

        if (t) {
            QL_TRY(check_whole(f, w, t));
            ql_shards_drop(s, t);
        }
    }
    return QL_OK;
}
