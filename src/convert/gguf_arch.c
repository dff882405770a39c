#include "src/convert/gguf_arch.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/convert/gguf_values.h"
#include "src/format/names.h"
#include "src/model/strange.h"

/* Parts of a block's names, by module and by place of the norm. */
static const char *const modules[QL_MODULES] = {
    [QL_MODULE_Q] = "attn_q",      [QL_MODULE_K] = "attn_k",
    [QL_MODULE_V] = "attn_v",      [QL_MODULE_O] = "attn_output",
    [QL_MODULE_GATE] = "ffn_gate", [QL_MODULE_UP] = "ffn_up",
    [QL_MODULE_DOWN] = "ffn_down",
};

static const char *const norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "attn_norm", [QL_NORM_ATTN_OUT] = "post_attention_norm",
    [QL_NORM_MLP_IN] = "ffn_norm",   [QL_NORM_MLP_OUT] = "post_ffw_norm",
    [QL_NORM_Q] = "attn_q_norm",     [QL_NORM_K] = "attn_k_norm",
};

static const ql_gguf_arch archs[] = {
    {.model_type = "llama",
     .name = "llama",
     .values = ql_gguf_llama_values,
     .pairs = true,
     .own_head = true},
    {.model_type = "mistral",
     .name = "llama",
     .values = ql_gguf_llama_values,
     .pairs = true,
     .own_head = true},
    {.model_type = "qwen2",
     .name = "qwen2",
     .values = ql_gguf_plain_values,
     .own_head = true},
    {.model_type = "qwen3",
     .name = "qwen3",
     .values = ql_gguf_plain_values,
     .own_head = true},
    {.model_type = "gemma",
     .name = "gemma",
     .values = ql_gguf_gemma_values,
     .act = QL_ACT_GELU_TANH},
    {.model_type = "gemma2",
     .name = "gemma2",
     .values = ql_gguf_gemma_values,
     .act = QL_ACT_GELU_TANH,
     .window_every = 2,
     .window_first = true},
    {.model_type = "gemma3_text",
     .name = "gemma3",
     .values = ql_gguf_gemma3_values,
     .act = QL_ACT_GELU_TANH,
     .own_head = true,
     .window_every = 6},
    {.model_type = "phi3",
     .name = "phi3",
     .values = ql_gguf_phi3_values,
     .own_head = true},
    {.model_type = "gpt2",
     .name = "gpt2",
     .values = ql_gguf_gpt2_values,
     .act = QL_ACT_GELU_TANH,
     .own_head = true},
    {.model_type = "gpt_neox",
     .name = "gptneox",
     .values = ql_gguf_neox_values,
     .act = QL_ACT_GELU_TANH,
     .own_head = true},
    {.model_type = "olmo2",
     .name = "olmo2",
     .values = ql_gguf_plain_values,
     .own_head = true},
    {.model_type = "smollm3",
     .name = "smollm3",
     .values = ql_gguf_llama_values,
     .pairs = true,
     .own_head = true,
     .nope_every = 4},
};

ql_status ql_gguf_arch_find(const ql_gguf_arch **out, const ql_config *c)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
        if (strcmp(archs[i].model_type, c->arch->model_type) == 0) {
            *out = &archs[i];
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "models of type \"%s\" cannot be written as GGUF; qlora-export "
            "merge writes a folder",
            c->arch->model_type);
}

const char *ql_gguf_arch_name(const ql_gguf_arch *a)
{
    return a->name;
}

bool ql_gguf_arch_own_head(const ql_gguf_arch *a)
{
    return a->own_head;
}

/* What follows a whole name; NULL if it is another one. */
static const char *after_name(const char *text, const char *name)
{
    const char *rest = name ? ql_name_after(text, name) : NULL;

    return rest && (*rest == '.' || *rest == '\0') ? rest : NULL;
}

static void put_name(ql_gguf_place *p, const char *stem, const char *tail)
{
    snprintf(p->name, sizeof(p->name), "%s%s", stem, tail);
}

/* Order of a module's rows; that of its bias is the same. */
static void set_order(ql_gguf_place *p, const ql_gguf_arch *a,
                      const ql_config *c, int m)
{
    if (a->pairs && (m == QL_MODULE_Q || m == QL_MODULE_K)) {
        p->order = QL_GGUF_PAIRS;
        p->heads = m == QL_MODULE_Q ? c->H : c->KV;
    }
    if (c->arch->transposed) {
        p->order = QL_GGUF_TURNED;
    }
    if (c->arch->qkv == QL_QKV_BY_HEAD && m == QL_MODULE_Q) {
        p->order = QL_GGUF_QKV;
        p->heads = c->H;
    }
}

/* A name inside block number layer. */
static void find_in_block(ql_gguf_place *p, const ql_gguf_arch *a,
                          const ql_config *c, size_t layer, const char *rest)
{
    char stem[QL_GGUF_NAME_BYTES];

    for (int m = 0; m < QL_MODULES; m++) {
        const char *tail = after_name(rest, c->arch->names->module[m]);
        const bool qkv = c->arch->qkv != QL_QKV_APART && m == QL_MODULE_Q;
        const bool fused = ql_config_fused_gate(c) && m == QL_MODULE_GATE;

        if (tail) {
            snprintf(stem, sizeof(stem), "blk.%zu.%s", layer,
                     qkv     ? "attn_qkv"
                     : fused ? "ffn_up"
                             : modules[m]);
            put_name(p, stem, tail);
            set_order(p, a, c, m);
            return;
        }
    }
    for (int n = 0; n < QL_NORMS; n++) {
        const char *tail = after_name(rest, c->arch->norm[n]);

        if (tail) {
            snprintf(stem, sizeof(stem), "blk.%zu.%s", layer, norms[n]);
            put_name(p, stem, tail);
            p->exact = true;
            p->plus_one = c->arch->norm_plus_one;
            return;
        }
    }
}

/* A name outside the blocks. */
static void find_outside(ql_gguf_place *p, const ql_config *c, const char *rest)
{
    const ql_names *n = c->arch->names;
    const struct {
        const char *hf, *gguf;
        bool norm, exact;
    } ends[] = {
        {n->embed, "token_embd", false, false},
        {n->position, "position_embd", false, true},
        {n->final_norm, "output_norm", true, true},
        {n->head, "output", false, false},
    };

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        const char *tail = after_name(rest, ends[i].hf);

        if (tail) {
            put_name(p, ends[i].gguf, tail);
            p->exact = ends[i].exact;
            p->plus_one = ends[i].norm && c->arch->norm_plus_one;
            return;
        }
    }
}

ql_status ql_gguf_place_find(ql_gguf_place *p, const ql_gguf_arch *a,
                             const ql_config *c, const char *name)
{
    const ql_names *n = c->arch->names;
    const char *rest = ql_name_after(name, n->base);
    const char *block;

    *p = (ql_gguf_place){.order = QL_GGUF_AS_IS};
    if (ql_is_buffer(name)) {
        return QL_OK;
    }
    rest = rest ? rest : name;
    block = after_name(rest, n->layers);
    if (block && *block == '.' && isdigit((unsigned char)block[1])) {
        char *end;
        const size_t layer = strtoull(block + 1, &end, 10);

        if (*end == '.') {
            find_in_block(p, a, c, layer, end + 1);
        }
    } else {
        find_outside(p, c, rest);
    }
    if (!p->name[0] || (!a->own_head && ql_name_after(p->name, "output."))) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s has no place in a GGUF file of architecture %s; "
                "qlora-export merge writes a folder, which has one",
                name, a->name);
    }
    p->exact |= ql_name_ends(p->name, ".bias");
    return QL_OK;
}

size_t ql_gguf_row(const ql_gguf_place *p, size_t i, size_t rows)
{
    if (p->order == QL_GGUF_PAIRS) {
        const size_t size = rows / p->heads;
        const size_t in = i % size;

        return i / size * size + in % 2 * (size / 2) + in / 2;
    }
    if (p->order == QL_GGUF_QKV) {
        const size_t size = rows / p->heads / 3;
        const size_t part = i / (p->heads * size);
        const size_t head = i / size % p->heads;

        return (3 * head + part) * size + i % size;
    }
    return i;
}

/* llama.cpp takes from the architecture which layers see a window only, and
 * which have positions. */
static bool same_window(const ql_gguf_arch *a, const ql_config *c, size_t i)
{
    const bool full = a->window_every == 0 ||
                      (a->window_first ? i : i + 1) % a->window_every ==
                          (a->window_first ? 1 : 0);

    return full == (c->layer[i].window == 0);
}

/* It takes the activation from there, too. Its gelu is the tanh form, which is
 * the exact one but for less than 0.0005. */
static bool same_act(const ql_gguf_arch *a, const ql_config *c)
{
    return (a->act == QL_ACT_SILU) == (c->act == QL_ACT_SILU);
}

static const char *act_name(ql_act act)
{
    return act == QL_ACT_SILU ? "silu" : "gelu";
}

/* Positions that are learnt are in all layers. */
static bool same_rope(const ql_gguf_arch *a, const ql_config *c, size_t i)
{
    const bool rope = a->nope_every == 0 || (i + 1) % a->nope_every != 0;

    return c->arch->names->position || rope == (c->layer[i].rope >= 0);
}

void ql_gguf_arch_doubts(const ql_gguf_arch *a, const ql_config *c)
{
    const double scale = (double)c->score_scale;
    const double by_head = 1 / sqrt((double)c->D);
    const double by_width = sqrt((double)c->H / (double)c->C);
    bool windows = true;
    bool ropes = true;

    for (size_t i = 0; i < c->layers; i++) {
        windows &= same_window(a, c, i);
        ropes &= same_rope(a, c, i);
    }
    if (!windows) {
        ql_warn("llama.cpp does not apply this model's sliding window in the "
                "same layers: long texts will differ");
    }
    if (!ropes) {
        ql_warn("llama.cpp takes other layers of this model to be without "
                "positions: all texts will differ");
    }
    if (!same_act(a, c)) {
        ql_warn("llama.cpp computes %s where this model has %s: all texts will "
                "differ",
                act_name(a->act), act_name(c->act));
    }
    if (c->rope[0].type == QL_ROPE_YARN &&
        (c->rope[0].attention_factor > 0 || c->rope[0].mscale > 0)) {
        ql_warn("llama.cpp has its own factor on attention under yarn: all "
                "texts will differ");
    }
    if (fabs(scale - by_head) > 1e-4 * by_head &&
        fabs(scale - by_width) > 1e-4 * by_width) {
        ql_warn("llama.cpp does not scale this model's attention by %g: all "
                "texts will differ",
                scale);
    }
}
