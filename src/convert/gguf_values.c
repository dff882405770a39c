#include "src/convert/gguf_values.h"

#include <math.h>
#include <stdio.h>

#include "src/base/fail.h"

enum {
    KEY_BYTES = 128
};

/* "llama.block_count" and the like. */
static const char *key_of(const ql_gguf_facts *f, const char *rest,
                          char key[KEY_BYTES])
{
    snprintf(key, KEY_BYTES, "%s.%s", f->arch->name, rest);
    return key;
}

static ql_status put_u32(const ql_gguf_facts *f, const char *rest, size_t v)
{
    char key[KEY_BYTES];

    return ql_gguf_put_u32(f->w, key_of(f, rest, key), v);
}

static ql_status put_f32(const ql_gguf_facts *f, const char *rest, double v)
{
    char key[KEY_BYTES];

    return ql_gguf_put_f32(f->w, key_of(f, rest, key), v);
}

static ql_status put_blocks(const ql_gguf_facts *f)
{
    return put_u32(f, "block_count", f->c->layers);
}

static ql_status put_context(const ql_gguf_facts *f)
{
    return put_u32(f, "context_length", f->c->max_position);
}

static ql_status put_width(const ql_gguf_facts *f)
{
    return put_u32(f, "embedding_length", f->c->C);
}

static ql_status put_ffn(const ql_gguf_facts *f)
{
    return put_u32(f, "feed_forward_length", f->c->F);
}

static ql_status put_heads(const ql_gguf_facts *f)
{
    return put_u32(f, "attention.head_count", f->c->H);
}

static ql_status put_kv_heads(const ql_gguf_facts *f)
{
    return put_u32(f, "attention.head_count_kv", f->c->KV);
}

/* Scalings that are said by name; llama3's and longrope's are tensors. */
static ql_status put_scaling(const ql_gguf_facts *f)
{
    const ql_rope_spec *r = &f->c->rope[0];
    char key[KEY_BYTES];

    if (r->type != QL_ROPE_LINEAR && r->type != QL_ROPE_YARN) {
        return QL_OK;
    }
    QL_TRY(ql_gguf_put_string(f->w, key_of(f, "rope.scaling.type", key),
                              r->type == QL_ROPE_LINEAR ? "linear" : "yarn"));
    QL_TRY(put_f32(f, "rope.scaling.factor", ql_rope_stretch(r)));
    if (r->type == QL_ROPE_LINEAR) {
        return QL_OK;
    }
    QL_TRY(put_u32(f, "rope.scaling.original_context_length",
                   r->original ? r->original : r->max_position));
    QL_TRY(put_f32(f, "rope.scaling.yarn_beta_fast", r->beta_fast));
    return put_f32(f, "rope.scaling.yarn_beta_slow", r->beta_slow);
}

static ql_status put_theta(const ql_gguf_facts *f)
{
    return put_f32(f, "rope.freq_base", f->c->rope[0].theta);
}

static ql_status put_local_theta(const ql_gguf_facts *f)
{
    return put_f32(f, "rope.freq_base_swa", f->c->rope[1].theta);
}

static ql_status put_rms_eps(const ql_gguf_facts *f)
{
    return put_f32(f, "attention.layer_norm_rms_epsilon", (double)f->c->eps);
}

static ql_status put_eps(const ql_gguf_facts *f)
{
    return put_f32(f, "attention.layer_norm_epsilon", (double)f->c->eps);
}

static ql_status put_head_size(const ql_gguf_facts *f)
{
    QL_TRY(put_u32(f, "attention.key_length", f->c->D));
    return put_u32(f, "attention.value_length", f->c->D);
}

/* Only where the configuration has it, as the converter does. */
static ql_status put_given_head_size(const ql_gguf_facts *f)
{
    const bool given = json_is_integer(json_object_get(f->root, "head_dim"));

    return given || f->c->D * f->c->H != f->c->C ? put_head_size(f) : QL_OK;
}

static ql_status put_file_type(const ql_gguf_facts *f)
{
    return ql_gguf_put_u32(f->w, "general.file_type", f->file_type);
}

static ql_status put_vocab(const ql_gguf_facts *f)
{
    return put_u32(f, "vocab_size", f->c->V);
}

static ql_status put_rotated(const ql_gguf_facts *f)
{
    return put_u32(f, "rope.dimension_count", f->c->rope[0].dim);
}

static ql_status put_caps(const ql_gguf_facts *f)
{
    if (f->c->score_cap > 0) {
        QL_TRY(put_f32(f, "attn_logit_softcapping", (double)f->c->score_cap));
    }
    if (f->c->logit_cap > 0) {
        QL_TRY(put_f32(f, "final_logit_softcapping", (double)f->c->logit_cap));
    }
    return QL_OK;
}

/* The window of the layers that have one; 0 without. */
static size_t window_of(const ql_config *c)
{
    size_t window = 0;

    for (size_t i = 0; i < c->layers; i++) {
        window = c->layer[i].window > window ? c->layer[i].window : window;
    }
    return window;
}

static ql_status put_window(const ql_gguf_facts *f)
{
    return put_u32(f, "attention.sliding_window", window_of(f->c));
}

static ql_status put_any_window(const ql_gguf_facts *f)
{
    return window_of(f->c) > 0 ? put_window(f) : QL_OK;
}

static ql_status put_original_context(const ql_gguf_facts *f)
{
    return put_u32(f, "rope.scaling.original_context_length",
                   f->c->rope[0].original);
}

static ql_status put_parallel(const ql_gguf_facts *f)
{
    char key[KEY_BYTES];

    return ql_gguf_put_bool(f->w, key_of(f, "use_parallel_residual", key),
                            f->c->parallel);
}

ql_gguf_values_fn *const ql_gguf_llama_values[] = {
    put_blocks,    put_context, put_width,   put_ffn,     put_heads,
    put_kv_heads,  put_scaling, put_theta,   put_rms_eps, put_given_head_size,
    put_file_type, put_vocab,   put_rotated, NULL};

ql_gguf_values_fn *const ql_gguf_plain_values[] = {
    put_blocks,  put_context,         put_width,     put_ffn,
    put_heads,   put_kv_heads,        put_scaling,   put_theta,
    put_rms_eps, put_given_head_size, put_file_type, NULL};

ql_gguf_values_fn *const ql_gguf_gemma_values[] = {
    put_context,   put_width,    put_blocks,     put_ffn,
    put_heads,     put_kv_heads, put_rms_eps,    put_head_size,
    put_file_type, put_caps,     put_any_window, NULL};

ql_gguf_values_fn *const ql_gguf_gemma3_values[] = {
    put_blocks,      put_context,  put_width,     put_ffn,
    put_heads,       put_kv_heads, put_scaling,   put_theta,
    put_local_theta, put_rms_eps,  put_head_size, put_file_type,
    put_any_window,  NULL};

ql_gguf_values_fn *const ql_gguf_phi3_values[] = {
    put_context,   put_original_context, put_width,   put_ffn,     put_blocks,
    put_heads,     put_kv_heads,         put_rms_eps, put_rotated, put_theta,
    put_file_type, put_window,           NULL};

ql_gguf_values_fn *const ql_gguf_gpt2_values[] = {
    put_blocks, put_context, put_width,     put_ffn,
    put_heads,  put_eps,     put_file_type, NULL};

ql_gguf_values_fn *const ql_gguf_neox_values[] = {
    put_context, put_width,    put_blocks, put_ffn, put_rotated,
    put_heads,   put_parallel, put_eps,    NULL};

/* What longrope multiplies cos and sin by; the converter writes it before all
 * else of the model. Source: transformers modeling_rope_utils.py. */
static ql_status put_longrope(const ql_gguf_facts *f)
{
    const ql_rope_spec *r = &f->c->rope[0];
    double s;

    if (r->type != QL_ROPE_LONGROPE) {
        return QL_OK;
    }
    s = ql_rope_stretch(r);
    return put_f32(f, "rope.scaling.attn_factor",
                   r->attention_factor > 0 ? r->attention_factor
                   : s <= 1                ? 1
                            : sqrt(1 + log(s) / log((double)r->original)));
}

ql_status ql_gguf_arch_values(ql_gguf_writer *w, const ql_gguf_arch *a,
                              const ql_config *c, const json_t *root,
                              const char *name, const char *size_label,
                              size_t file_type)
{
    const ql_gguf_facts f = {
        .w = w, .arch = a, .c = c, .root = root, .file_type = file_type};

    QL_TRY(ql_gguf_put_string(w, "general.architecture", a->name));
    QL_TRY(put_longrope(&f));
    QL_TRY(ql_gguf_put_string(w, "general.type", "model"));
    if (name) {
        QL_TRY(ql_gguf_put_string(w, "general.name", name));
    }
    QL_TRY(ql_gguf_put_string(w, "general.size_label", size_label));
    for (size_t i = 0; a->values[i]; i++) {
        QL_TRY(a->values[i](&f));
    }
    return QL_OK;
}
