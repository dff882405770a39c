#include "tools/bench/bench_folder.h"

#include <stdio.h>

#include "quant/codebook.h"
#include "quant/codec.h"
#include "quant/dquant.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/format/qstate.h"
#include "src/format/safetensors.h"
#include "src/model/config.h"
#include "tools/bench/bench_weight.h"
#include "tools/cli/term.h"

enum {
    NAME_BYTES = 160,
    TEXT_BYTES = 4096,
    MAX_POSITION = 1 << 20,
    MAX_LEARNED = 4096, /* of positions that take memory */
    BF16_ONE = 0x3f80,
    BF16_SMALL = 0x3c80, /* 2^-6; up to twice that with any mantissa */
    BF16_FREE = 0x807f   /* sign and mantissa */
};

/* One way through all tensors. There are two: one announces them, the other
 * writes them. */
typedef struct pass {
    ql_safetensors_writer *w;
    const bench_folder *f;
    const ql_config *c;
    size_t next; /* number of the weight, part of its key */
    bool data;
    uint64_t done, all; /* bytes */
} pass;

static uint64_t next_key(pass *p)
{
    return ql_rng_split(p->f->seed, p->next++);
}

/* A tensor; a vector has 0 columns. */
static ql_status put(pass *p, const char *name, ql_dtype dtype, size_t rows,
                     size_t cols, const void *data)
{
    const size_t shape[] = {rows, cols};
    const size_t rank = cols ? 2 : 1;
    size_t elements;
    size_t bytes;

    if (!p->data) {
        QL_TRY(ql_shape_bytes(dtype, shape, rank, &elements, &bytes));
        p->all += bytes;
        return ql_safetensors_writer_add(p->w, name, dtype, shape, rank);
    }
    if (!data) {
        return QL_OK;
    }
    if (cli_interrupted()) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    QL_TRY(ql_safetensors_writer_put(p->w, name, data));
    QL_TRY(ql_shape_bytes(dtype, shape, rank, &elements, &bytes));
    p->done += bytes;
    if (p->f->fn) {
        p->f->fn(p->done, p->all, p->f->user);
    }
    return QL_OK;
}

/* A dense tensor: small random numbers, or ones. */
static ql_status dense(pass *p, const char *name, size_t rows, size_t cols,
                       bool ones)
{
    const size_t n = rows * (cols ? cols : 1);
    const uint64_t key = next_key(p);
    uint16_t *x;
    ql_status st;

    if (!p->data || (p->f->hollow && !ones)) {
        return put(p, name, QL_DTYPE_BF16, rows, cols, NULL);
    }
    x = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(*x));
    if (!x) {
        return QL_ENOMEM;
    }
    bench_random_bytes(x, n * sizeof(*x), key);
    for (size_t i = 0; i < n; i++) {
        x[i] = ones ? BF16_ONE : BF16_SMALL | (x[i] & BF16_FREE);
    }
    st = put(p, name, QL_DTYPE_BF16, rows, cols, x);
    ql_free(x);
    return st;
}

/* The parts of a 4-bit weight, as bitsandbytes names them. */
static ql_status parts(pass *p, const char *name, const bench_weight *w,
                       const ql_buf *state)
{
    const struct {
        const char *suffix;
        ql_dtype dtype;
        size_t rows, cols;
        const void *data;
    } list[] = {
        {"", QL_DTYPE_U8, w->data_bytes, 1, w->data},
        {".absmax", QL_DTYPE_U8, w->blocks, 0, w->absmax},
        {".quant_map", QL_DTYPE_F32, 16, 0, w->view.code},
        {".quant_state.bitsandbytes__nf4", QL_DTYPE_U8, state->len, 0,
         state->data},
        {".nested_absmax", QL_DTYPE_F32, w->outer_blocks, 0, w->outer},
        {".nested_quant_map", QL_DTYPE_F32, 256, 0, ql_dynamic_map},
    };

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        char full[NAME_BYTES];

        snprintf(full, sizeof(full), "%s%s", name, list[i].suffix);
        QL_TRY(put(p, full, list[i].dtype, list[i].rows, list[i].cols,
                   list[i].data));
    }
    return QL_OK;
}

static ql_status put_4bit(pass *p, const char *name, const bench_weight *w)
{
    ql_qstate state = {.book = QL_CODEBOOK_NF4,
                       .block = BENCH_BLOCK,
                       .dtype = QL_DTYPE_BF16,
                       .rows = w->view.rows,
                       .cols = w->view.cols,
                       .nested = true,
                       .nested_block = QL_NESTED_BLOCK,
                       .nested_offset = (double)w->view.offset};
    ql_buf text;
    ql_status st;

    ql_buf_init(&text, QL_TAG_WORK, TEXT_BYTES);
    QL_TRY_DONE(ql_qstate_format(&text, &state));
    st = parts(p, name, w, &text);
done:
    ql_buf_free(&text);
    return st;
}

/* The numbers that the 4 bits stand for, which are all in BF16. */
static ql_status put_dequantized(pass *p, const char *name,
                                 const bench_weight *w)
{
    const size_t rows = w->view.rows;
    const size_t cols = w->view.cols;
    const size_t n = rows * cols;
    float piece[1024];
    uint16_t *x;
    ql_status st;

    if (!w->data) {
        return put(p, name, QL_DTYPE_BF16, rows, cols, NULL);
    }
    x = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(*x));
    if (!x) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i += 1024) {
        const size_t some = n - i < 1024 ? n - i : 1024;

        ql_dequantize(piece, &w->view, i, some);
        ql_floats_to(QL_DTYPE_BF16, x + i, piece, some);
    }
    st = put(p, name, QL_DTYPE_BF16, rows, cols, x);
    ql_free(x);
    return st;
}

static ql_status linear(pass *p, const char *name, size_t rows, size_t cols)
{
    const uint64_t key = next_key(p);
    bench_weight w;
    ql_status st;

    bench_weight_shape(&w, rows, cols);
    if (p->data && !p->f->hollow) {
        QL_TRY(bench_weight_init(&w, rows, cols, key));
    }
    st = p->f->form == BENCH_FORM_NF4 ? put_4bit(p, name, &w)
                                      : put_dequantized(p, name, &w);
    bench_weight_free(&w);
    return st;
}

/* A norm: ones, or what stands for about that. */
static ql_status norm(pass *p, const char *path, size_t n)
{
    const ql_arch *arch = p->c->arch;
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%.140s.weight", path);
    QL_TRY(dense(p, name, n, 0, !arch->norm_plus_one));
    if (!arch->layer_norm) {
        return QL_OK;
    }
    snprintf(name, sizeof(name), "%.140s.bias", path);
    return dense(p, name, n, 0, false);
}

static ql_status layer(pass *p, size_t i)
{
    const ql_config *c = p->c;
    const ql_names *names = c->arch->names;
    char path[NAME_BYTES - 8];
    char name[NAME_BYTES];

    for (int place = 0; place < QL_NORMS; place++) {
        const size_t n = ql_config_norm(c, (ql_norm_place)place);

        if (n > 0) {
            snprintf(path, sizeof(path), "%s%s.%zu.%s", names->base,
                     names->layers, i, c->arch->norm[place]);
            QL_TRY(norm(p, path, n));
        }
    }
    for (int m = 0; m < QL_MODULES; m++) {
        size_t rows;
        size_t cols;

        if (!ql_config_module(c, (ql_module)m, &rows, &cols)) {
            continue;
        }
        ql_arch_path(c->arch, i, (ql_module)m, path, sizeof(path));
        snprintf(name, sizeof(name), "%s.weight", path);
        QL_TRY(linear(p, name, rows, cols));
        if (c->bias & 1U << m) {
            snprintf(name, sizeof(name), "%s.bias", path);
            QL_TRY(dense(p, name, rows, 0, false));
        }
    }
    return QL_OK;
}

static ql_status all(pass *p)
{
    const ql_config *c = p->c;
    const ql_names *names = c->arch->names;
    char name[NAME_BYTES];

    p->next = 0;
    snprintf(name, sizeof(name), "%s%s.weight", names->base, names->embed);
    QL_TRY(dense(p, name, c->V, c->C, false));
    snprintf(name, sizeof(name), "%s%s", names->base, names->final_norm);
    QL_TRY(norm(p, name, c->C));
    if (names->position) {
        snprintf(name, sizeof(name), "%s%s.weight", names->base,
                 names->position);
        QL_TRY(dense(p, name, c->max_position, c->C, false));
    }
    if (!c->tied) {
        snprintf(name, sizeof(name), "%s.weight", names->head);
        QL_TRY(dense(p, name, c->V, c->C, false));
    }
    for (size_t i = 0; i < c->layers; i++) {
        QL_TRY(layer(p, i));
    }
    return QL_OK;
}

static ql_status write_weights(const char *path, const ql_config *c,
                               const bench_folder *f)
{
    pass p = {.f = f, .c = c};
    ql_status st;

    QL_TRY(ql_safetensors_writer_open(&p.w, path));
    if (f->hollow) {
        ql_safetensors_writer_sparse(p.w);
    }
    QL_TRY_DONE(ql_safetensors_writer_metadata(p.w, "format", "pt"));
    QL_TRY_DONE(all(&p));
    QL_TRY_DONE(ql_safetensors_writer_begin(p.w));
    p.data = true;
    QL_TRY_DONE(all(&p));
    st = ql_safetensors_writer_commit(p.w);
done:
    ql_safetensors_writer_close(&p.w);
    return st;
}

static ql_status write_config(const char *path, const bench_folder *f)
{
    static const char quantized[] =
        ", \"quantization_config\": "
        "{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}";
    const bench_shape *s = f->shape;
    const ql_arch *a = ql_arch_find(s->model_type);
    char text[TEXT_BYTES];
    const int n = snprintf(
        text, sizeof(text),
        "{\"model_type\": \"%s\", \"%s\": %zu, \"%s\": %zu, \"%s\": %zu, "
        "\"%s\": %zu, \"num_key_value_heads\": %zu, \"head_dim\": %zu, "
        "\"vocab_size\": %zu, \"tie_word_embeddings\": %s, \"%s\": %d, "
        "\"%s\": 1e-6, \"torch_dtype\": \"bfloat16\"%s}\n",
        s->model_type, ql_arch_key(a, "num_hidden_layers"),
        f->layers ? f->layers : s->layers, ql_arch_key(a, "hidden_size"), s->C,
        ql_arch_key(a, "intermediate_size"), s->F,
        ql_arch_key(a, "num_attention_heads"), s->H, s->KV, s->C / s->H, s->V,
        s->tied ? "true" : "false", ql_arch_key(a, "max_position_embeddings"),
        a->names->position ? MAX_LEARNED : MAX_POSITION,
        ql_arch_key(a, "norm_eps"), f->form == BENCH_FORM_NF4 ? quantized : "");

    return ql_file_write(path, text, (size_t)n);
}

ql_status bench_folder_write(const char *dir, const bench_folder *f)
{
    char *config = ql_path_join(dir, "config.json");
    char *weights = ql_path_join(dir, "model.safetensors");
    ql_config c = {0};
    ql_status st = QL_ENOMEM;

    if (config && weights) {
        QL_TRY_DONE(write_config(config, f));
        QL_TRY_DONE(ql_config_init(&c, dir));
        st = write_weights(weights, &c, f);
    }
done:
    ql_config_free(&c);
    ql_free(config);
    ql_free(weights);
    return st;
}

static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");

    if (f) {
        fputs("5\n", f);
        fclose(f);
    }
}

ql_status bench_folder_open(ql_model **m, const bench_options *o,
                            const bench_shape *shape, uint64_t seed)
{
    const bench_folder f = {.shape = shape, .seed = seed};
    ql_status st;
    char *dir;

    *m = NULL;
    QL_TRY(bench_work_folder(o, &dir));
    QL_TRY_DONE(bench_folder_write(dir, &f));
    forget_peak();
    st = ql_model_open(m, dir, NULL);
done:
    ql_dir_remove(dir);
    ql_free(dir);
    return st;
}
