#include "src/model/inputs.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/op/vec.h"

static size_t width(const ql_inputs_options *opt)
{
    return opt->bf16 ? sizeof(uint16_t) : sizeof(float);
}

bool ql_inputs_apart(const ql_inputs_options *opt)
{
    return opt->bf16 || opt->spilled > 0;
}

size_t ql_inputs_bytes(const ql_inputs_options *opt)
{
    const size_t kept = opt->layers - opt->spilled;

    return kept * ql_arena_piece(opt->elements, width(opt)) +
           (opt->bf16 ? ql_arena_piece(opt->elements, sizeof(float)) : 0);
}

uint64_t ql_inputs_buffers(const ql_inputs_options *opt)
{
    return opt->spilled > 0 ? ql_spill_memory(opt->elements * width(opt)) : 0;
}

uint64_t ql_inputs_file(const ql_inputs_options *opt)
{
    return ql_spill_file(opt->spilled, opt->elements * width(opt));
}

ql_status ql_inputs_init(ql_inputs *in, const ql_inputs_options *opt,
                         ql_arena *arena)
{
    *in = (ql_inputs){
        .opt = *opt,
        .slots = ql_calloc(QL_TAG_MISC, opt->layers, sizeof(*in->slots))};
    if (!in->slots) {
        return QL_ENOMEM;
    }
    for (size_t i = opt->spilled; i < opt->layers; i++) {
        in->slots[i] = ql_arena_take(arena, opt->elements, width(opt));
    }
    if (opt->bf16) {
        in->wide = ql_arena_take(arena, opt->elements, sizeof(float));
    }
    return opt->spilled > 0
               ? ql_spill_open(&in->spill, QL_TAG_ACTIV, opt->dir, opt->spilled,
                               opt->elements * width(opt))
               : QL_OK;
}

void ql_inputs_free(ql_inputs *in)
{
    ql_spill_close(&in->spill);
    ql_free(in->slots);
    *in = (ql_inputs){0};
}

void ql_inputs_put(ql_inputs *in, size_t i, const float *x, size_t n)
{
    const bool spilled = i < in->opt.spilled;
    const size_t bytes = n * width(&in->opt);
    void *to = spilled ? ql_spill_put(in->spill, i, bytes) : in->slots[i];

    if (in->opt.bf16) {
        ql_vec_to_bf16(to, x, n);
    } else {
        memcpy(to, x, bytes);
    }
    if (spilled) {
        ql_spill_done(in->spill, i);
    }
}

const float *ql_inputs_get(ql_inputs *in, size_t i, size_t n)
{
    const void *from =
        i < in->opt.spilled ? ql_spill_get(in->spill, i) : in->slots[i];

    if (!in->opt.bf16) {
        return from;
    }
    ql_vec_from_bf16(in->wide, from, n);
    return in->wide;
}

ql_status ql_inputs_check(ql_inputs *in)
{
    return in->spill ? ql_spill_check(in->spill) : QL_OK;
}
