#include "src/convert/trained_pieces.h"

#include <string.h>

#include "quant/half.h"
#include "src/base/fail.h"
#include "src/model/full.h"
#include "src/op/vec.h"

enum {
    PIECE = 4096 /* weights on their way from one type to another */
};

/* Elements [first, first + n) of a tensor in the order of the file. */
static void gather(const ql_adapter *a, size_t i, float *to, size_t first,
                   size_t n)
{
    const ql_adapter_tensor *t = &a->tensors[i];
    const float *p = a->param + t->at;
    const uint16_t *p16 = (const uint16_t *)(const void *)p;
    const bool half = i < a->n_half;

    if (ql_full_turned(a, i)) {
        for (size_t k = 0; k < n; k++) {
            const size_t row = (first + k) % t->shape[0];
            const size_t at = row * t->shape[1] + (first + k) / t->shape[0];

            to[k] = half ? ql_bf16_to_f32(p16[at]) : p[at];
        }
    } else if (half) {
        ql_vec_from_bf16(to, p16 + first, n);
    } else {
        memcpy(to, p + first, n * sizeof(*to));
    }
}

static ql_status put_piece(const ql_adapter *a, size_t i, ql_dtype type,
                           const char *name, size_t first, size_t n,
                           ql_safetensors_writer *w)
{
    float wide[PIECE];
    float stored[PIECE]; /* room for any type */

    gather(a, i, wide, first, n);
    if (!ql_floats_to(type, stored, wide, n)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: a weight is beyond what %s can hold, the type that the "
                "model has it in",
                name, ql_dtype_name(type));
    }
    return ql_safetensors_writer_append(w, name, stored,
                                        n * (ql_dtype_bits(type) / 8));
}

ql_status ql_trained_put_pieces(const ql_adapter *a, size_t i, ql_dtype type,
                                const char *name, ql_safetensors_writer *w)
{
    const size_t n = a->sizes[i];

    for (size_t at = 0; at < n; at += PIECE) {
        QL_TRY(put_piece(a, i, type, name, at, n - at < PIECE ? n - at : PIECE,
                         w));
    }
    return QL_OK;
}
