/* Tensor by tensor, rows at a time: what is resident is a panel of rows and
 * its packed form. */
#include "src/convert/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/convert/export_base.h"
#include "src/convert/gguf_general.h"
#include "src/convert/gguf_inputs.h"
#include "src/convert/gguf_tokenizer.h"
#include "src/convert/model_files.h"
#include "src/model/weights.h"

enum {
    EXTRAS = 2 /* tensors that no tensor of the model stands for */
};

/* A tensor of our own: factors of the rope. */
typedef struct extra {
    const char *name;
    float *x; /* [n], Owned */
    size_t n;
} extra;

struct ql_gguf_model {
    const ql_gguf_model_job *what;
    const ql_export_options *opt;
    ql_export_report *report;
    ql_gguf_inputs in;
    ql_merged_base base;
    ql_merged merged;
    json_t *root;
    ql_gguf_place *places; /* [merged.n] */
    extra extras[EXTRAS];
    size_t n_extras;
    ql_gguf_writer *w;
    uint64_t done, total;
};

typedef ql_gguf_model job;

static size_t file_type_of(ql_gguf_type type)
{
    return type == QL_GGUF_F32    ? 0
           : type == QL_GGUF_F16  ? 1
           : type == QL_GGUF_Q8_0 ? 7
                                  : 32;
}

static ql_status add_extra(job *j, const char *name, size_t n, float **out)
{
    extra *e = &j->extras[j->n_extras];

    *e = (extra){
        .name = name, .n = n, .x = ql_alloc(QL_TAG_WORK, n, sizeof(float))};
    *out = e->x;
    if (!e->x) {
        return QL_ENOMEM;
    }
    j->n_extras++;
    return QL_OK;
}

/* What llama3's scaling divides the frequency of each pair by; in f32, step by
 * step as the converter computes it. */
static float llama3_divisor(const ql_rope_spec *r, size_t i)
{
    const float low = (float)r->low_freq_factor;
    const float high = (float)r->high_freq_factor;
    const float factor = (float)r->factor;
    const float original = (float)r->original;
    const float exponent = (float)(2 * i) / (float)r->dim;
    const float frequency = 1 / (float)pow(r->theta, (double)exponent);
    const float wave = 6.28318530717958647692F / frequency;
    const float smooth = (original / wave - low) / (high - low);

    if (wave < original / high) {
        return 1;
    }
    return wave > original / low ? factor
                                 : 1 / ((1 - smooth) / factor + smooth);
}

static ql_status add_llama3(job *j)
{
    const ql_rope_spec *r = &j->in.config.rope[0];
    float *x;

    QL_TRY(add_extra(j, "rope_freqs.weight", r->dim / 2, &x));
    for (size_t i = 0; i < r->dim / 2; i++) {
        x[i] = llama3_divisor(r, i);
    }
    return QL_OK;
}

static ql_status add_longrope(job *j)
{
    const ql_rope_spec *r = &j->in.config.rope[0];
    float *x;

    QL_TRY(add_extra(j, "rope_factors_long.weight", r->dim / 2, &x));
    for (size_t i = 0; i < r->dim / 2; i++) {
        x[i] = (float)r->long_factor[i];
    }
    QL_TRY(add_extra(j, "rope_factors_short.weight", r->dim / 2, &x));
    for (size_t i = 0; i < r->dim / 2; i++) {
        x[i] = (float)r->short_factor[i];
    }
    return QL_OK;
}

static ql_status add_extras(job *j)
{
    switch (j->in.config.rope[0].type) {
    case QL_ROPE_LLAMA3:
        return add_llama3(j);
    case QL_ROPE_LONGROPE:
        return add_longrope(j);
    default:
        return QL_OK;
    }
}

static bool is_turned(const ql_merged_item *item, const ql_gguf_place *p)
{
    return p->order == QL_GGUF_TURNED && item->rank == 2;
}

/* Rows and columns as the file has them. */
static void shape_of(const ql_merged_item *item, const ql_gguf_place *p,
                     size_t *rows, size_t *cols)
{
    const bool turn = is_turned(item, p);

    *rows = turn ? item->cols : item->rows;
    *cols = turn ? item->rows : item->cols;
}

static ql_gguf_type type_of(const job *j, const ql_merged_item *item,
                            const ql_gguf_place *p)
{
    size_t rows;
    size_t cols;

    shape_of(item, p, &rows, &cols);
    if (item->rank < 2 || p->exact) {
        return QL_GGUF_F32;
    }
    return ql_gguf_inputs_type(&j->in, cols);
}

static ql_status announce(job *j, const ql_merged_item *item,
                          const ql_gguf_place *p)
{
    size_t ne[2];
    size_t rows;
    size_t cols;

    if (item->rank == 0 || item->rank > 2) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s has %zu dimensions; a vector or matrix is expected",
                item->name, item->rank);
    }
    shape_of(item, p, &rows, &cols);
    ne[0] = item->rank == 2 ? cols : rows;
    ne[1] = rows;
    QL_TRY(
        ql_gguf_writer_add(j->w, p->name, type_of(j, item, p), ne, item->rank));
    j->report->tensors++;
    j->report->merged += item->pair || item->whole;
    j->report->dequantized |= item->packed || item->requantize;
    return QL_OK;
}

static ql_status find_places(job *j, uint64_t *parameters)
{
    const ql_merged *m = &j->merged;

    *parameters = 0;
    j->places = ql_calloc(QL_TAG_MISC, m->n, sizeof(*j->places));
    if (!j->places) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < m->n; i++) {
        QL_TRY(ql_gguf_place_find(&j->places[i], j->in.arch, &j->in.config,
                                  m->items[i].name));
        *parameters += j->places[i].name[0] ? m->items[i].elements : 0;
    }
    for (size_t i = 0; i < j->n_extras; i++) {
        *parameters += j->extras[i].n;
    }
    return QL_OK;
}

static ql_status write_values(job *j, uint64_t parameters)
{
    char title[QL_GGUF_TITLE_BYTES];
    char label[32];

    ql_gguf_title(j->what->model, title);
    ql_gguf_size_label(parameters, label);
    QL_TRY(ql_gguf_arch_values(j->w, j->in.arch, &j->in.config, j->root,
                               title[0] ? title : NULL, label,
                               file_type_of(j->in.type)));
    if (j->what->tokenizer) {
        QL_TRY(ql_gguf_put_tokenizer(j->w, j->what->model, j->what->trained,
                                     j->in.config.V));
    }
    return ql_gguf_put_u32(j->w, "general.quantization_version",
                           QL_GGUF_QUANTIZATION);
}

static ql_status plan(job *j)
{
    uint64_t parameters;

    QL_TRY(add_extras(j));
    QL_TRY(find_places(j, &parameters));
    QL_TRY(write_values(j, parameters));
    for (size_t i = 0; i < j->n_extras; i++) {
        QL_TRY(ql_gguf_writer_add(j->w, j->extras[i].name, QL_GGUF_F32,
                                  &j->extras[i].n, 1));
        j->report->tensors++;
    }
    for (size_t i = 0; i < j->merged.n; i++) {
        if (j->places[i].name[0]) {
            QL_TRY(announce(j, &j->merged.items[i], &j->places[i]));
        }
    }
    j->total = ql_gguf_writer_size(j->w);
    return QL_OK;
}

/* Rows [row, row + n) of the file's tensor, which lie in runs in the model. */
static ql_status read_rows(job *j, const ql_gguf_place *p, size_t row, size_t n,
                           float *out)
{
    const size_t rows = j->merged.rows;

    for (size_t i = 0; i < n;) {
        const size_t from = ql_gguf_row(p, row + i, rows);
        size_t run = 1;

        while (i + run < n &&
               ql_gguf_row(p, row + i + run, rows) == from + run) {
            run++;
        }
        QL_TRY(ql_merged_rows(&j->merged, from, run, out + i * j->merged.cols));
        i += run;
    }
    return QL_OK;
}

static ql_status write_panel(job *j, const ql_merged_item *item,
                             const ql_gguf_place *p, float *x, size_t n,
                             unsigned char *packed)
{
    const ql_gguf_type type = type_of(j, item, p);
    const size_t bytes = ql_gguf_bytes(type, n);

    for (size_t i = 0; p->plus_one && i < n; i++) {
        x[i] += 1;
    }
    if (!ql_gguf_pack(type, packed, x, n)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: a weight is beyond the range of %s; choose --type "
                "bf16 or f32",
                item->name, ql_gguf_type_name(type));
    }
    QL_TRY(ql_gguf_writer_write(j->w, packed, bytes));
    j->done += bytes;
    if (j->opt->progress &&
        !j->opt->progress(j->done, j->total, j->opt->user)) {
        QL_FAIL(QL_ECANCELLED, "stopped; nothing was written");
    }
    return QL_OK;
}

static ql_status write_rows(job *j, const ql_merged_item *item,
                            const ql_gguf_place *p)
{
    const size_t rows = j->merged.rows;
    const size_t cols = j->merged.cols;
    const size_t panel = ql_merged_panel(&j->merged);
    float *x = ql_alloc(QL_TAG_WORK, panel * cols, sizeof(float));
    unsigned char *packed = ql_alloc(QL_TAG_WORK, panel * cols, sizeof(float));
    ql_status st = x && packed ? QL_OK : QL_ENOMEM;

    for (size_t row = 0; st == QL_OK && row < rows; row += panel) {
        const size_t n = rows - row < panel ? rows - row : panel;

        st = read_rows(j, p, row, n, x);
        if (st == QL_OK) {
            st = write_panel(j, item, p, x, n * cols, packed);
        }
    }
    ql_free(x);
    ql_free(packed);
    return st;
}

static ql_status write_tensors(job *j)
{
    for (size_t i = 0; i < j->n_extras; i++) {
        QL_TRY(ql_gguf_writer_write(j->w, j->extras[i].x,
                                    j->extras[i].n * sizeof(float)));
    }
    for (size_t i = 0; i < j->merged.n; i++) {
        const ql_merged_item *item = &j->merged.items[i];
        const ql_gguf_place *p = &j->places[i];
        ql_status st;

        if (!p->name[0]) {
            continue;
        }
        QL_TRY(ql_merged_open(&j->merged, item, is_turned(item, p)));
        st = write_rows(j, item, p);
        ql_merged_close(&j->merged);
        QL_TRY(st);
    }
    return QL_OK;
}

static ql_status open_inputs(job *j)
{
    const char *adapter = j->what->adapter;

    QL_TRY(ql_gguf_inputs_init(&j->in, j->what->model, adapter, j->what->out,
                               j->opt, QL_GGUF_F16));
    QL_TRY(ql_model_files_config(&j->root, j->what->model));
    QL_TRY(ql_export_base_find(&j->base, j->what->trained, j->opt));
    QL_TRY(ql_merged_init(&j->merged, j->what->model,
                          adapter ? &j->in.folder : NULL, &j->base));
    QL_TRY(ql_weights_check(&j->in.config, j->what->model, false));
    return ql_export_base_check(&j->merged, j->what->model, j->opt);
}

ql_status ql_gguf_model_open(ql_gguf_model **out, const ql_gguf_model_job *what,
                             const ql_export_options *opt,
                             ql_export_report *report)
{
    job *j = ql_calloc(QL_TAG_MISC, 1, sizeof(*j));
    ql_status st;

    *out = j;
    *report = (ql_export_report){0};
    if (!j) {
        return QL_ENOMEM;
    }
    *j = (job){.what = what, .opt = opt, .report = report};
    QL_TRY_DONE(open_inputs(j));
    ql_gguf_arch_doubts(j->in.arch, &j->in.config);
    QL_TRY_DONE(ql_gguf_writer_open(&j->w, what->out));
    st = plan(j);
done:
    if (st != QL_OK) {
        ql_gguf_model_close(out);
    }
    return st;
}

uint64_t ql_gguf_model_bytes(const ql_gguf_model *m)
{
    return m->total;
}

ql_status ql_gguf_model_finish(ql_gguf_model *m)
{
    QL_TRY(ql_gguf_writer_begin(m->w));
    QL_TRY(write_tensors(m));
    QL_TRY(ql_gguf_writer_commit(m->w));
    m->report->bytes = m->total;
    m->report->files = 1;
    m->report->untied = m->merged.untied;
    return QL_OK;
}

void ql_gguf_model_close(ql_gguf_model **m)
{
    job *j = *m;

    if (!j) {
        return;
    }
    ql_gguf_writer_close(&j->w);
    for (size_t i = 0; i < j->n_extras; i++) {
        ql_free(j->extras[i].x);
    }
    ql_free(j->places);
    ql_merged_free(&j->merged);
    ql_gguf_inputs_free(&j->in);
    json_decref(j->root);
    ql_free(j);
    *m = NULL;
}

ql_status ql_gguf_model_write(const ql_gguf_model_job *what,
                              const ql_export_options *opt,
                              ql_export_report *report)
{
    ql_gguf_model *m;
    ql_status st;

    QL_TRY(ql_gguf_model_open(&m, what, opt, report));
    st = ql_gguf_model_finish(m);
    ql_gguf_model_close(&m);
    return st;
}

ql_status ql_export_gguf(const char *model_dir, const char *adapter_dir,
                         const char *out_path, const ql_export_options *opt,
                         ql_export_report *report)
{
    const ql_gguf_model_job what = {.model = model_dir,
                                    .adapter = adapter_dir,
                                    .trained = adapter_dir,
                                    .out = out_path,
                                    .tokenizer = true};
    ql_export_report own;

    return ql_gguf_model_write(&what, opt, report ? report : &own);
}
