#include "tools/bench/bench_weight.h"

#include <math.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/codec.h"
#include "quant/dquant.h"
#include "src/base/alloc.h"
#include "src/base/rng.h"

void bench_random_bytes(void *out, size_t n, uint64_t key)
{
    char *bytes = out;

    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        const uint64_t word = ql_rng_at(key, i);
        const size_t rest = n - i;

        memcpy(bytes + i, &word, rest < sizeof(word) ? rest : sizeof(word));
    }
}

void bench_weight_shape(bench_weight *w, size_t rows, size_t cols)
{
    *w = (bench_weight){.data_bytes = ql_codec_packed_bytes(rows * cols),
                        .blocks = ql_codec_blocks(rows * cols, BENCH_BLOCK)};
    w->outer_blocks = (w->blocks + QL_NESTED_BLOCK - 1) / QL_NESTED_BLOCK;
    w->view = (ql_qtensor){.rows = rows,
                           .cols = cols,
                           .storage = QL_STORAGE_4BIT,
                           .block = BENCH_BLOCK,
                           .nested_code = ql_dynamic_map,
                           .nested_block = QL_NESTED_BLOCK,
                           .offset = 1 / sqrtf((float)cols),
                           .round = QL_ROUND_BF16};
    memcpy(w->view.code, ql_codebooks[QL_CODEBOOK_NF4], sizeof(w->view.code));
}

ql_status bench_weight_init(bench_weight *w, size_t rows, size_t cols,
                            uint64_t key)
{
    bench_weight_shape(w, rows, cols);
    w->data = ql_alloc(QL_TAG_WEIGHTS, w->data_bytes, 1);
    w->absmax = ql_alloc(QL_TAG_WEIGHTS, w->blocks, 1);
    w->outer = ql_alloc(QL_TAG_WEIGHTS, w->outer_blocks, sizeof(float));
    if (!w->data || !w->absmax || !w->outer) {
        bench_weight_free(w);
        return QL_ENOMEM;
    }
    bench_random_bytes(w->data, w->data_bytes, ql_rng_split(key, 0));
    bench_random_bytes(w->absmax, w->blocks, ql_rng_split(key, 1));
    for (size_t i = 0; i < w->outer_blocks; i++) {
        w->outer[i] = 0.25F * w->view.offset;
    }
    w->view.data = w->data;
    w->view.absmax_u8 = w->absmax;
    w->view.nested_absmax = w->outer;
    return QL_OK;
}

void bench_weight_free(bench_weight *w)
{
    ql_free(w->data);
    ql_free(w->absmax);
    ql_free(w->outer);
    *w = (bench_weight){0};
}
