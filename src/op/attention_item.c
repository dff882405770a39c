#include "src/op/attention_item.h"

#include "src/base/arena.h"
#include "src/op/attention_one.h"
#include "src/op/parallel.h"

/* Parts that the heads of one head of keys are taken in. */
static size_t parts_of(const ql_attention_shape *s)
{
    return (s->H / s->KV + QL_ATTENTION_HEADS - 1) / QL_ATTENTION_HEADS;
}

size_t ql_attention_heads(const ql_attention_shape *s)
{
    const size_t parts = parts_of(s);

    return (s->H / s->KV + parts - 1) / parts;
}

static size_t blocks_of(const ql_attention_shape *s, size_t sequence)
{
    const size_t n = s->start[sequence + 1] - s->start[sequence];

    return (n + QL_ATTENTION_ROWS - 1) / QL_ATTENTION_ROWS;
}

size_t ql_attention_items(const ql_attention_shape *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->sequences; i++) {
        n += blocks_of(s, i);
    }
    return n * s->KV * parts_of(s);
}

ql_item ql_attention_item(const ql_attention_shape *s, size_t index)
{
    const size_t group = s->H / s->KV;
    const size_t parts = parts_of(s);
    const size_t part = index % parts;
    const size_t kv = index / parts % s->KV;
    size_t block = index / parts / s->KV;
    size_t sequence = 0;
    ql_item it = {.head = kv * group + group * part / parts};

    it.heads = kv * group + group * (part + 1) / parts - it.head;
    while (block >= blocks_of(s, sequence)) {
        block -= blocks_of(s, sequence++);
    }
    it.sequence = (ql_span){s->start[sequence], s->start[sequence + 1]};
    /* Blocks of a sequence are about equally long. */
    const size_t blocks = blocks_of(s, sequence);
    const size_t n = it.sequence.to - it.sequence.from;

    it.at = it.sequence.from + n * block / blocks;
    it.n = it.sequence.from + n * (block + 1) / blocks - it.at;
    return it;
}

size_t ql_attention_work_bytes(const ql_attention_shape *s)
{
    const size_t fwd = ql_attention_fwd_bytes(s);
    const size_t bwd = ql_attention_bwd_bytes(s);
    const size_t partial = s->H > s->KV ? 2 * s->T * s->H * s->D : 0;
    const size_t delta = s->T * s->H;
    const size_t many = ql_max_threads() * ql_larger(fwd, bwd) +
                        (partial + delta) * sizeof(float);
    const size_t one = ql_attention_one_bytes(s);

    return ql_larger(many, one);
}
