#include "src/model/load_need.h"

#include <stdio.h>

#include "quant/codec.h"
#include "quant/dquant.h"
#include "src/base/fail.h"
#include "src/format/qstate.h"
#include "src/model/fusion.h"

enum {
    NAME_BYTES = 256
};

/* Bytes of n elements in 4 bits, with their scales; *first: of the scales
 * before they are quantized themselves. */
static uint64_t packed_bytes(size_t n, const ql_load *load, uint64_t *first)
{
    const size_t blocks = ql_codec_blocks(n, load->block);
    const size_t nested = (blocks + QL_NESTED_BLOCK - 1) / QL_NESTED_BLOCK;

    *first = blocks * sizeof(float);
    return ql_codec_packed_bytes(n) +
           (load->double_quant ? blocks + nested * sizeof(float) : *first);
}

/* A linear weight that is not in 4 bits. */
static void add_matrix(ql_load_need *need, const ql_tensor *t,
                       const ql_config *c, const ql_load *load)
{
    const bool quantize = load->quantize && !c->quantized;
    const bool made = c->arch->transposed || !t->data;
    uint64_t scales = 0;
    uint64_t more = made || quantize ? t->bytes : 0;

    if (quantize) {
        need->kept += packed_bytes(t->elements, load, &scales);
        more += (made ? t->bytes : 0) + scales;
    } else if (made) {
        need->kept += t->bytes;
    }
    need->more = more > need->more ? more : need->more;
}

/* Vectors of a layer, in f32. */
static uint64_t vector_bytes(const ql_config *c)
{
    uint64_t n = 0;

    for (int p = 0; p < QL_NORMS; p++) {
        n += ql_config_norm(c, (ql_norm_place)p) * (c->arch->layer_norm + 1U);
    }
    for (int m = 0; m < QL_MODULES; m++) {
        size_t rows;
        size_t cols;

        if (ql_config_module(c, (ql_module)m, &rows, &cols) &&
            c->bias & 1U << m) {
            n += rows;
        }
    }
    return n * sizeof(float);
}

/* The linear weights of layer i. base: what all names begin with. */
static void add_layer(ql_load_need *need, const ql_shards *s, size_t i,
                      const char *base, const ql_config *c, const ql_load *load)
{
    for (int m = 0; m < QL_MODULES; m++) {
        char name[NAME_BYTES];
        const ql_tensor *t;
        size_t rows;
        size_t cols;

        if (!ql_config_module(c, (ql_module)m, &rows, &cols)) {
            continue;
        }
        snprintf(name, sizeof(name), "%s%s.%zu.%s.weight", base,
                 c->arch->names->layers, i, c->arch->names->module[m]);
        t = ql_qstate_find(s, name) ? NULL : ql_shards_find(s, name);
        if (t) {
            add_matrix(need, t, c, load);
        }
    }
}

/* What a classifier has beside its blocks. */
static void add_classifier(ql_load_need *need, const ql_shards *s,
                           const char *base, const ql_config *c,
                           const ql_load *load)
{
    char name[NAME_BYTES];
    const ql_tensor *t;

    snprintf(name, sizeof(name), "%s%s.weight", base, c->arch->names->pooler);
    t = ql_qstate_find(s, name) ? NULL : ql_shards_find(s, name);
    if (t) {
        add_matrix(need, t, c, load);
    } else if (!ql_qstate_find(s, name)) {
        need->kept += c->C * c->C * sizeof(float); /* it is made */
    }
    need->kept += (c->C + c->labels.n) * sizeof(float);
    snprintf(name, sizeof(name), "%s.weight", c->arch->names->head);
    if (!ql_shards_find(s, name)) {
        need->kept += c->labels.n * c->C * sizeof(float);
    }
}

ql_status ql_load_needs(ql_load_need *need, const ql_config *c, const char *dir,
                        const ql_load *load)
{
    const uint64_t norm = c->C * (c->arch->layer_norm + 1U) * sizeof(float);
    ql_shards *s;

    *need = (ql_load_need){.kept = norm + c->layers * vector_bytes(c)};
    QL_TRY(ql_fusion_open(&s, dir, c));
    for (size_t i = 0; i < c->layers; i++) {
        add_layer(need, s, i, ql_weights_base(s, c->arch->names), c, load);
    }
    if (c->arch->classifier) {
        add_classifier(need, s, ql_weights_base(s, c->arch->names), c, load);
    }
    ql_shards_close(&s);
    return QL_OK;
}
