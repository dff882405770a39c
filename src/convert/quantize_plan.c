/* Every tensor of the folder is an item; items keep a natural order of names
 * (layer 2 before layer 10), which decides the shards. */
#include "src/convert/quantize_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/dquant.h"
#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/format/names.h"
#include "src/format/qstate.h"
#include "src/model/fusion.h"
#include "src/model/quantized.h"
#include "src/model/transposed.h"
#include "src/model/weights.h"
#include "src/op/quantize_dense.h"

enum {
    MAX_NAME = 400, /* with any suffix it fits NAME_BYTES */
    NAME_BYTES = 512,
    STATE_BYTES = 4096
};

static int by_name(const void *a, const void *b)
{
    const ql_quantize_item *x = a;
    const ql_quantize_item *y = b;

    return ql_name_order(x->in->name, y->in->name);
}

/* The rule of transformers: a module is kept when the entry is its name, or
 * stands in its path with a dot behind it. */
static bool skips(const char *entry, const char *weight)
{
    char path[NAME_BYTES];
    char key[NAME_BYTES];
    const size_t len = strlen(weight) - strlen(".weight");

    snprintf(path, sizeof(path), "%.*s", (int)len, weight);
    snprintf(key, sizeof(key), "%s.", entry);
    return strcmp(path, entry) == 0 || strstr(path, key);
}

static bool skipped(const char *name, const ql_quantize_options *opt)
{
    for (size_t i = 0; i < opt->n_skip_modules; i++) {
        if (skips(opt->skip_modules[i], name)) {
            return true;
        }
    }
    return false;
}

static bool is_head(const ql_quantize_plan *p, const char *name)
{
    char head[NAME_BYTES];

    snprintf(head, sizeof(head), "%s.weight", p->config.arch->names->head);
    return strcmp(head, name) == 0;
}

/* Tells of entries that keep nothing; the head is none where it is tied. */
static void tell_idle_entries(const ql_quantize_plan *p,
                              const ql_quantize_options *opt)
{
    for (size_t i = 0; i < opt->n_skip_modules; i++) {
        const char *entry = opt->skip_modules[i];
        bool found = strcmp(entry, p->config.arch->names->head) == 0;

        for (size_t k = 0; k < ql_shards_count(p->in) && !found; k++) {
            const char *name = ql_shards_at(p->in, k)->name;

            found = ql_arch_module(p->config.arch, name) < QL_MODULES &&
                    skips(entry, name);
        }
        if (!found) {
            ql_warn("--skip-modules: no linear layer is kept by '%s': by the "
                    "rule of transformers an entry is the whole name of a "
                    "module, or a part of it that a dot follows (self_attn)",
                    entry);
        }
    }
}

static ql_status make_items(ql_quantize_plan *p, const ql_quantize_options *opt)
{
    const size_t n = ql_shards_count(p->in);

    p->items = ql_calloc(QL_TAG_MISC, n, sizeof(*p->items));
    if (!p->items) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const ql_tensor *t = ql_shards_at(p->in, i);
        size_t group = ql_arch_module(p->config.arch, t->name);

        if (strlen(t->name) > MAX_NAME) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "a tensor name of %zu bytes (%.40s...) is too long; at "
                    "most %d are supported",
                    strlen(t->name), t->name, MAX_NAME);
        }

        if (p->config.tied && is_head(p, t->name)) {
            continue; /* the embedding is the head */
        }
        if (group < QL_MODULES && (t->rank != 2 || skipped(t->name, opt))) {
            group = QL_MODULES;
        }
        p->items[p->n++] = (ql_quantize_item){.in = t, .group = group};
    }
    qsort(p->items, p->n, sizeof(*p->items), by_name);
    tell_idle_entries(p, opt);
    return QL_OK;
}

ql_status ql_quantize_source(const ql_quantize_plan *p,
                             const ql_quantize_item *item, ql_tensor *t,
                             void **data)
{
    return item->group < QL_MODULES && p->config.arch->transposed
               ? ql_tensor_transpose(t, data, item->in)
               : ql_shards_whole(t, data, p->in, item->in);
}

/* The means of the scales of a weight, with double quantization. */
static ql_status measure_scales(const ql_quantize_plan *p,
                                ql_quantize_item *item, const ql_tensor *t)
{
    ql_status st = QL_OK;
    ql_qtensor view;
    float *absmax = NULL;
    float *outer = NULL;
    uint8_t *q = NULL;

    QL_TRY(ql_dense_view(&view, t));
    absmax = ql_alloc(QL_TAG_WORK, item->blocks, sizeof(float));
    outer = ql_alloc(QL_TAG_WORK, item->blocks / QL_NESTED_BLOCK + 1,
                     sizeof(float));
    q = ql_alloc(QL_TAG_WORK, item->blocks, 1);
    if (absmax && outer && q) {
        ql_scales_dense(absmax, &view, p->quant.block_size);
        ql_dquantize(absmax, item->blocks, q, outer, &item->offset);
    } else {
        st = QL_ENOMEM;
    }
    ql_free(absmax);
    ql_free(outer);
    ql_free(q);
    return st;
}

/* What the item's output depends on, by reading the weight once. */
static ql_status measure(const ql_quantize_plan *p, ql_quantize_item *item)
{
    ql_status st = QL_OK;
    void *data = NULL;
    ql_tensor t;

    item->blocks = ql_codec_blocks(item->in->elements, p->quant.block_size);
    if (p->quant.double_quant) {
        QL_TRY(ql_quantize_source(p, item, &t, &data));
        st = measure_scales(p, item, &t);
        ql_free(data);
        ql_shards_drop(p->in, item->in);
    }
    return st;
}

static ql_status format_state(const ql_quantize_plan *p,
                              const ql_quantize_item *item, ql_buf *state)
{
    const bool turned = p->config.arch->transposed;
    const ql_qstate q = {.book = p->book,
                         .block = p->quant.block_size,
                         .dtype = item->in->dtype,
                         .rows = item->in->shape[turned],
                         .cols = item->in->shape[!turned],
                         .nested = p->quant.double_quant,
                         .nested_block = QL_NESTED_BLOCK,
                         .nested_offset = (double)item->offset};

    ql_buf_clear(state);
    return ql_qstate_format(state, &q);
}

ql_status ql_quantize_parts(const ql_quantize_plan *p,
                            const ql_quantize_item *item,
                            ql_quantize_part parts[QL_QUANTIZE_PARTS],
                            size_t *n, ql_buf *state)
{
    static const char *const state_suffix[] = {
        [QL_CODEBOOK_NF4] = ".quant_state.bitsandbytes__nf4",
        [QL_CODEBOOK_FP4] = ".quant_state.bitsandbytes__fp4",
    };
    const size_t blocks = item->blocks;
    const bool nested = p->quant.double_quant;
    const size_t outer = (blocks + QL_NESTED_BLOCK - 1) / QL_NESTED_BLOCK;

    *n = 0;
    if (item->group == QL_MODULES) {
        return QL_OK;
    }
    QL_TRY(format_state(p, item, state));
    parts[(*n)++] = (ql_quantize_part){
        "", QL_DTYPE_U8, 2, {ql_codec_packed_bytes(item->in->elements), 1}};
    parts[(*n)++] = (ql_quantize_part){
        ".absmax", nested ? QL_DTYPE_U8 : QL_DTYPE_F32, 1, {blocks}};
    parts[(*n)++] = (ql_quantize_part){".quant_map", QL_DTYPE_F32, 1, {16}};
    parts[(*n)++] =
        (ql_quantize_part){state_suffix[p->book], QL_DTYPE_U8, 1, {state->len}};
    if (nested) {
        parts[(*n)++] =
            (ql_quantize_part){".nested_absmax", QL_DTYPE_F32, 1, {outer}};
        parts[(*n)++] =
            (ql_quantize_part){".nested_quant_map", QL_DTYPE_F32, 1, {256}};
    }
    return QL_OK;
}

static size_t part_bytes(const ql_quantize_part *part)
{
    return part->shape[0] * (part->rank == 2 ? part->shape[1] : 1) *
           ql_dtype_bits(part->dtype) / 8;
}

/* Hands an item to the shard plan: all its output tensors stay together. */
static ql_status plan_item(ql_quantize_plan *p, ql_quantize_item *item,
                           ql_buf *state)
{
    ql_quantize_part parts[QL_QUANTIZE_PARTS];
    const char *name = item->in->name;
    char full[NAME_BYTES];
    size_t n;

    item->bytes_after = item->group < QL_MODULES ? 0 : item->in->bytes;
    if (item->group < QL_MODULES) {
        QL_TRY(measure(p, item));
    }
    QL_TRY(ql_quantize_parts(p, item, parts, &n, state));
    for (size_t i = 0; i < n; i++) {
        item->bytes_after += part_bytes(&parts[i]);
    }
    item->tensors = n > 0 ? n : 1;
    p->bytes_before += item->in->bytes;
    p->bytes_after += item->bytes_after;
    QL_TRY(ql_shard_plan_add(p->shards, name, item->bytes_after));
    for (size_t i = 1; i < n; i++) {
        snprintf(full, sizeof(full), "%s%s", name, parts[i].suffix);
        QL_TRY(ql_shard_plan_also(p->shards, full));
    }
    return QL_OK;
}

static ql_status plan_items(ql_quantize_plan *p)
{
    ql_status st = QL_OK;
    ql_buf state;

    ql_buf_init(&state, QL_TAG_WORK, STATE_BYTES);
    for (size_t i = 0; st == QL_OK && i < p->n; i++) {
        st = plan_item(p, &p->items[i], &state);
    }
    ql_buf_free(&state);
    for (size_t i = 0, tensor = 0; st == QL_OK && i < p->n; i++) {
        p->items[i].shard = ql_shard_plan_shard_of(p->shards, tensor);
        tensor += p->items[i].tensors;
    }
    return st;
}

ql_status ql_quantize_plan_init(ql_quantize_plan *p, const char *dir,
                                const ql_quantize_options *opt)
{
    ql_status st;

    *p = (ql_quantize_plan){.quant = opt->quant,
                            .book = opt->quant.type == QL_QUANT_FP4
                                        ? QL_CODEBOOK_FP4
                                        : QL_CODEBOOK_NF4};
    QL_TRY_DONE(ql_quant_options_check(&opt->quant));
    QL_TRY_DONE(ql_config_init(&p->config, dir));
    if (p->config.quantized) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "%s: the model is quantized already; give the original",
                     dir);
        goto done;
    }
    QL_TRY_DONE(ql_weights_check(&p->config, dir, false));
    QL_TRY_DONE(ql_fusion_open(&p->in, dir, &p->config));
    QL_TRY_DONE(ql_shard_plan_open(&p->shards, opt->max_shard_bytes));
    QL_TRY_DONE(make_items(p, opt));
    st = plan_items(p);
done:
    if (st != QL_OK) {
        ql_quantize_plan_free(p);
    }
    return st;
}

void ql_quantize_plan_free(ql_quantize_plan *p)
{
    ql_shard_plan_close(&p->shards);
    ql_free(p->items);
    ql_shards_close(&p->in);
    ql_config_free(&p->config);
    *p = (ql_quantize_plan){0};
}
