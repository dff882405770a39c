/* Opening a folder as a model. */
#include "src/model/model_handle.h"

#include <math.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/model/quantized.h"

void ql_quant_options_init(ql_quant_options *opt)
{
    *opt = (ql_quant_options){
        .type = QL_QUANT_NF4, .double_quant = true, .block_size = 64};
}

void ql_model_options_init(ql_model_options *opt)
{
    *opt = (ql_model_options){.quantize = true};
    ql_quant_options_init(&opt->quant);
}

ql_load ql_model_load(const ql_model_options *opt)
{
    return (ql_load){.quantize = opt->quantize,
                     .book = opt->quant.type == QL_QUANT_FP4 ? QL_CODEBOOK_FP4
                                                             : QL_CODEBOOK_NF4,
                     .block = opt->quant.block_size,
                     .double_quant = opt->quant.double_quant,
                     .scratch_dir = opt->scratch_dir};
}

ql_status ql_model_open(ql_model **out, const char *dir,
                        const ql_model_options *opt)
{
    ql_status st;
    ql_model_options defaults;
    ql_load load;
    ql_model *m = ql_calloc(QL_TAG_MISC, 1, sizeof(*m));

    *out = NULL;
    ql_model_options_init(&defaults);
    opt = opt ? opt : &defaults;
    load = ql_model_load(opt);
    if (!m) {
        return QL_ENOMEM;
    }
    m->dir = ql_strdup(QL_TAG_MISC, dir);
    st = m->dir ? QL_OK : QL_ENOMEM;
    if (st == QL_OK) {
        st = ql_quant_options_check(&opt->quant);
    }
    if (st == QL_OK) {
        st = ql_dir_need(dir, "give a Hugging Face model folder");
    }
    if (st == QL_OK) {
        st = ql_config_init(&m->config, dir);
    }
    if (st == QL_OK) {
        st = ql_weights_init(&m->weights, &m->config, dir, &load);
    }
    if (st == QL_OK && opt->quantize && !m->config.quantized) {
        ql_note("the model is not in 4 bits: its linear layers were quantized "
                "while loading");
    }
    if (st != QL_OK) {
        ql_model_close(&m);
    }
    *out = m;
    return st;
}

void ql_model_close(ql_model **model)
{
    ql_model *m = *model;

    if (m) {
        ql_adapter_free(&m->adapter);
        ql_weights_free(&m->weights);
        ql_config_free(&m->config);
        ql_free(m->dir);
        ql_free(m);
    }
    *model = NULL;
}

/* Elements of all weights of a model. */
static size_t count_parameters(const ql_config *c)
{
    const size_t norm = c->arch->layer_norm ? 2 : 1;
    const size_t rows = c->V + (c->tied ? 0 : ql_config_head(c)) + c->types +
                        (c->arch->names->position ? c->max_position : 0);
    const size_t top =
        c->arch->classifier ? (c->C + 1) * c->C + c->labels.n : 0;
    size_t per_layer = 0;

    for (int p = 0; p < QL_NORMS; p++) {
        per_layer += norm * ql_config_norm(c, (ql_norm_place)p);
    }
    for (int m = 0; m < QL_MODULES; m++) {
        size_t out;
        size_t in;

        ql_config_module(c, (ql_module)m, &out, &in);
        per_layer += out * in + (c->bias & 1U << m ? out : 0);
    }
    return c->layers * per_layer + norm * c->C + rows * c->C + top;
}

/* Linear layers of the blocks, and a pooler. */
static size_t count_linear(const ql_config *c)
{
    size_t n = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        n += ql_arch_modules(c->arch) >> m & 1;
    }
    return n * c->layers + (c->arch->names->pooler != NULL);
}

static void read_pairs(const ql_adapter *a, ql_model_info *out)
{
    for (size_t i = 0; i < a->n; i++) {
        const size_t r = a->entries[i].r;
        const double scale = (double)a->entries[i].scale;
        const bool first = out->pairs == 0;

        if (r > 0) {
            out->pairs++;
            out->rank_low = first || r < out->rank_low ? r : out->rank_low;
            out->rank_high = r > out->rank_high ? r : out->rank_high;
            out->scale_low = first ? scale : fmin(scale, out->scale_low);
            out->scale_high = fmax(scale, out->scale_high);
        }
    }
}

void ql_model_info_read(const ql_model *model, ql_model_info *out)
{
    const ql_config *c = &model->config;

    *out = (ql_model_info){
        .model_type = c->arch->model_type,
        .layers = c->layers,
        .hidden = c->C,
        .heads = c->H,
        .kv_heads = c->KV,
        .head_dim = c->D,
        .ffn = c->F,
        .vocab = c->V,
        .max_positions = c->max_position,
        .parameters = count_parameters(c),
        .linear_layers = count_linear(c),
        .linear_4bit = model->weights.quantized,
        .weight_bytes = model->weights.bytes,
        .classes = c->labels.n,
    };
    read_pairs(&model->adapter, out);
}

const char *ql_model_dir(const ql_model *model)
{
    return model->dir;
}

void ql_model_use_adapter(ql_model *m, const ql_adapter *a)
{
    if (!a && m->adapter.n > 0) {
        a = &m->adapter;
    }
    ql_adapter_attach(a, &m->weights);
}
