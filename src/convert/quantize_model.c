/* Folder in, folder out. Shard by shard, item by item: read, quantize on all
 * cores, write at the place that the header promises, let the pages go. What
 * is resident at any time is one tensor and its 4-bit form. */
#include "qlora/quantize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/dquant.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/model_files.h"
#include "src/convert/quantize_plan.h"
#include "src/model/quantized.h"
#include "src/op/quantize_dense.h"

enum {
    NAME_BYTES = 1024,
    STATE_BYTES = 4096
};

/* One call of ql_quantize_model. */
typedef struct job {
    const char *in_dir;
    const ql_quantize_options *opt;
    ql_quantize_plan plan;
    ql_quantize_report *report;
    uint64_t done; /* bytes of the input */
    ql_buf state;
} job;

void ql_quantize_options_init(ql_quantize_options *opt)
{
    *opt = (ql_quantize_options){.max_shard_bytes = UINT64_C(5000000000)};
    ql_quant_options_init(&opt->quant);
}

void ql_quantize_report_free(ql_quantize_report *report)
{
    ql_free(report->groups);
    *report = (ql_quantize_report){0};
}

static ql_status start_report(job *j)
{
    ql_quantize_report *r = j->report;

    r->groups = ql_calloc(QL_TAG_MISC, QL_MODULES + 1, sizeof(*r->groups));
    if (!r->groups) {
        return QL_ENOMEM;
    }
    r->n_groups = QL_MODULES + 1;
    for (size_t i = 0; i <= QL_MODULES; i++) {
        const char *name =
            i < QL_MODULES ? j->plan.config.arch->names->module[i] : "kept";

        name = name ? name : ""; /* no module of this kind */
        memcpy(r->groups[i].name, name, strlen(name) + 1);
    }
    r->bytes_before = j->plan.bytes_before;
    r->bytes_after = j->plan.bytes_after;
    r->shards = ql_shard_plan_shards(j->plan.shards);
    return QL_OK;
}

/* Counts an item; bytes is what it takes in the output. */
static void count_item(job *j, const ql_quantize_item *item, uint64_t bytes)
{
    ql_quantize_group *g = &j->report->groups[item->group];

    g->tensors++;
    g->elements += item->in->elements;
    g->bytes_before += item->in->bytes;
    g->bytes_after += bytes;
}

/* While items are written, rms_error holds the sum of squares. */
static void finish_errors(ql_quantize_report *r)
{
    for (size_t i = 0; i < r->n_groups; i++) {
        ql_quantize_group *g = &r->groups[i];

        g->rms_error =
            g->elements > 0 ? sqrt(g->rms_error / (double)g->elements) : 0;
    }
}

static ql_status advance(job *j, const ql_quantize_item *item)
{
    ql_shards_drop(j->plan.in, item->in);
    j->done += item->in->bytes;
    if (j->opt->progress &&
        !j->opt->progress(j->done, j->plan.bytes_before, j->opt->user)) {
        QL_FAIL(QL_ECANCELLED, "stopped; nothing was written");
    }
    return QL_OK;
}

/* The bytes of part i of a quantized item, in the order of
 * ql_quantize_parts. */
static const void *part_data(const job *j, const ql_quantized *q, size_t i)
{
    const void *const data[QL_QUANTIZE_PARTS] = {
        q->packed,
        q->absmax_u8 ? q->absmax_u8 : q->absmax,
        ql_codebooks[j->plan.book],
        j->state.data,
        q->nested_absmax,
        ql_dynamic_map,
    };

    return data[i];
}

/* Calls visit for every output tensor of an item that is given quantized, or
 * kept, with data. */
typedef ql_status visit_fn(void *user, const char *name, ql_dtype dtype,
                           const size_t *shape, size_t rank, const void *data);

static ql_status visit_item(job *j, const ql_quantize_item *item,
                            const void *data, const ql_quantized *q,
                            visit_fn *visit, void *user)
{
    ql_quantize_part parts[QL_QUANTIZE_PARTS];
    const ql_tensor *in = item->in;
    size_t n;

    QL_TRY(ql_quantize_parts(&j->plan, item, parts, &n, &j->state));
    if (n == 0) {
        return visit(user, in->name, in->dtype, in->shape, in->rank, data);
    }
    for (size_t i = 0; i < n; i++) {
        char name[NAME_BYTES];

        snprintf(name, sizeof(name), "%s%s", in->name, parts[i].suffix);
        QL_TRY(visit(user, name, parts[i].dtype, parts[i].shape, parts[i].rank,
                     q ? part_data(j, q, i) : NULL));
    }
    return QL_OK;
}

static ql_status announce(void *user, const char *name, ql_dtype dtype,
                          const size_t *shape, size_t rank, const void *data)
{
    (void)data;
    return ql_safetensors_writer_add(user, name, dtype, shape, rank);
}

static ql_status put(void *user, const char *name, ql_dtype dtype,
                     const size_t *shape, size_t rank, const void *data)
{
    (void)dtype;
    (void)shape;
    (void)rank;
    return ql_safetensors_writer_put(user, name, data);
}

/* Quantizes an item's weight; fails if it is not the one that was planned. */
static ql_status quantize_item(const job *j, const ql_quantize_item *item,
                               const ql_tensor *t, ql_quantized *q)
{
    const ql_quantize_plan *p = &j->plan;

    const ql_status st = ql_quantized_init(q, t, p->book, p->quant.block_size,
                                           p->quant.double_quant);

    if (st != QL_OK) {
        return ql_fail_prefix(st, "%s: ", j->in_dir);
    }
    if (p->quant.double_quant &&
        memcmp(&q->offset, &item->offset, sizeof(float)) != 0) {
        ql_quantized_free(q);
        QL_FAIL(QL_EIO, "tensor %s changed while it was read", item->in->name);
    }
    return QL_OK;
}

static ql_status measure_error(job *j, const ql_quantize_item *item,
                               const ql_tensor *t, const ql_quantized *q)
{
    ql_quantize_group *g = &j->report->groups[item->group];
    ql_quantize_error e;
    ql_qtensor dense;
    ql_qtensor view;

    QL_TRY(ql_dense_view(&dense, t));
    view = ql_quantized_view(q, dense.rows, dense.cols, j->plan.book,
                             j->plan.quant.block_size, item->in->dtype);
    e = ql_quantize_compare(&dense, &view);
    g->rms_error += e.sum_squares;
    g->max_error = e.largest > g->max_error ? e.largest : g->max_error;
    return QL_OK;
}

static ql_status write_item(job *j, const ql_quantize_item *item,
                            ql_safetensors_writer *w)
{
    ql_quantized q = {0};
    ql_status st = QL_OK;
    void *data = NULL;
    ql_tensor t;

    QL_TRY(ql_quantize_source(&j->plan, item, &t, &data));
    if (item->group < QL_MODULES) {
        QL_TRY_DONE(quantize_item(j, item, &t, &q));
    }
    QL_TRY_DONE(visit_item(j, item, t.data, &q, put, w));
    if (item->group < QL_MODULES) {
        QL_TRY_DONE(measure_error(j, item, &t, &q));
    }
    st = advance(j, item);
done:
    ql_quantized_free(&q);
    ql_free(data);
    return st;
}

static ql_status write_shard(job *j, size_t shard, const char *dir)
{
    ql_status st = QL_ENOMEM;
    ql_safetensors_writer *w = NULL;
    char *path = ql_path_join(dir, ql_shard_plan_file(j->plan.shards, shard));

    if (!path) {
        goto done;
    }
    QL_TRY_DONE(ql_safetensors_writer_open(&w, path));
    QL_TRY_DONE(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < j->plan.n; i++) {
        if (j->plan.items[i].shard == shard) {
            QL_TRY_DONE(
                visit_item(j, &j->plan.items[i], NULL, NULL, announce, w));
        }
    }
    QL_TRY_DONE(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < j->plan.n; i++) {
        if (j->plan.items[i].shard == shard) {
            QL_TRY_DONE(write_item(j, &j->plan.items[i], w));
        }
    }
    st = ql_safetensors_writer_commit(w);
done:
    ql_safetensors_writer_close(&w);
    ql_free(path);
    return st;
}

/* The list for llm_int8_skip_modules: null, or what was asked for with the
 * head, which transformers keeps of itself only when there is no list. */
static json_t *skip_list(const ql_arch *arch, const ql_quantize_options *opt)
{
    json_t *list;

    if (opt->n_skip_modules == 0) {
        return json_null();
    }
    list = json_array();
    json_array_append_new(list, json_string(arch->names->head));
    for (size_t i = 0; i < opt->n_skip_modules; i++) {
        if (strcmp(opt->skip_modules[i], arch->names->head) == 0) {
            continue;
        }
        if (json_array_append_new(list, json_string(opt->skip_modules[i]))) {
            json_decref(list); /* a name that is not UTF-8 */
            return NULL;
        }
    }
    return list;
}

/* The quantization_config that transformers writes. */
static json_t *quantization_config(const job *j)
{
    const ql_dtype dtype = j->plan.config.dtype;
    const char *compute = dtype == QL_DTYPE_BF16  ? "bfloat16"
                          : dtype == QL_DTYPE_F16 ? "float16"
                                                  : "float32";

    return json_pack(
        "{sb sb ss ss ss sb sb sb so sf sb sb ss}", "_load_in_4bit", 1,
        "_load_in_8bit", 0, "bnb_4bit_compute_dtype", compute,
        "bnb_4bit_quant_storage", "uint8", "bnb_4bit_quant_type",
        ql_codebook_names[j->plan.book], "bnb_4bit_use_double_quant",
        (int)j->plan.quant.double_quant, "llm_int8_enable_fp32_cpu_offload", 0,
        "llm_int8_has_fp16_weight", 0, "llm_int8_skip_modules",
        skip_list(j->plan.config.arch, j->opt), "llm_int8_threshold", 6.0,
        "load_in_4bit", 1, "load_in_8bit", 0, "quant_method", "bitsandbytes");
}

static ql_status write_config(const job *j, const char *out_dir)
{
    json_t *o = NULL;
    ql_status st;

    QL_TRY_DONE(ql_model_files_config(&o, j->in_dir));
    if (json_object_set_new(o, "quantization_config", quantization_config(j)) !=
        0) {
        st = ql_fail(QL_ENOMEM, "out of memory while writing config.json");
        goto done;
    }
    st = ql_model_files_put_config(o, out_dir);
done:
    json_decref(o);
    return st;
}

/* Verification: the user data of the visits. */
typedef struct checker {
    ql_shards *out;
    uint64_t verified;
} checker;

static ql_status compare(void *user, const char *name, ql_dtype dtype,
                         const size_t *shape, size_t rank, const void *data)
{
    checker *c = user;
    const ql_tensor *t = ql_shards_find(c->out, name);

    if (!t || t->dtype != dtype || t->rank != rank ||
        memcmp(t->shape, shape, rank * sizeof(*shape)) != 0 ||
        memcmp(t->data, data, t->bytes) != 0) {
        QL_FAIL(QL_EMISMATCH,
                "tensor %s: what was read back is not what was written; check "
                "the disk and try again",
                name);
    }
    ql_shards_drop(c->out, t);
    c->verified++;
    return QL_OK;
}

static ql_status verify(job *j, const char *dir)
{
    checker c = {0};
    ql_status st = QL_OK;

    QL_TRY(ql_shards_open(&c.out, dir));
    for (size_t i = 0; st == QL_OK && i < j->plan.n; i++) {
        const ql_quantize_item *item = &j->plan.items[i];
        ql_quantized q = {0};
        void *data = NULL;
        ql_tensor t;

        st = ql_quantize_source(&j->plan, item, &t, &data);
        if (st == QL_OK && item->group < QL_MODULES) {
            st = quantize_item(j, item, &t, &q);
        }
        if (st == QL_OK) {
            st = visit_item(j, item, t.data, &q, compare, &c);
        }
        ql_free(data);
        ql_quantized_free(&q);
        ql_shards_drop(j->plan.in, item->in);
    }
    ql_shards_close(&c.out);
    j->report->verified = c.verified;
    return st;
}

static ql_status write_all(job *j, const char *in_dir, const char *out_dir)
{
    ql_status st;
    ql_outdir out;
    const size_t shards = ql_shard_plan_shards(j->plan.shards);

    QL_TRY(ql_outdir_init(&out, out_dir, j->opt->force));
    QL_TRY_DONE(ql_disk_need(out.work, j->plan.bytes_after));
    for (size_t i = 0; i < shards; i++) {
        QL_TRY_DONE(write_shard(j, i, out.work));
    }
    QL_TRY_DONE(ql_shard_plan_write_index(j->plan.shards, out.work));
    QL_TRY_DONE(write_config(j, out.work));
    QL_TRY_DONE(ql_model_files_carry(in_dir, out.work));
    if (j->opt->verify) {
        QL_TRY_DONE(verify(j, out.work));
    }
    st = ql_outdir_commit(&out);
done:
    ql_outdir_free(&out);
    return st;
}

static ql_status run(job *j, const char *in_dir, const char *out_dir)
{
    QL_TRY(ql_dir_need(in_dir, "give a Hugging Face model folder"));
    if (!j->opt->dry_run) {
        QL_TRY(ql_model_files_check(in_dir, out_dir, ql_model_mark,
                                    j->opt->force));
    }
    QL_TRY(ql_quantize_plan_init(&j->plan, in_dir, j->opt));
    QL_TRY(start_report(j));
    for (size_t i = 0; i < j->plan.n; i++) {
        count_item(j, &j->plan.items[i], j->plan.items[i].bytes_after);
    }
    if (j->opt->dry_run) {
        return QL_OK;
    }
    QL_TRY(write_all(j, in_dir, out_dir));
    finish_errors(j->report);
    return QL_OK;
}

ql_status ql_quantize_model(const char *in_dir, const char *out_dir,
                            const ql_quantize_options *opt,
                            ql_quantize_report *report)
{
    ql_quantize_report own = {0};
    job j = {.in_dir = in_dir, .opt = opt, .report = report ? report : &own};
    ql_status st;

    *j.report = (ql_quantize_report){0};
    ql_buf_init(&j.state, QL_TAG_WORK, STATE_BYTES);
    st = run(&j, in_dir, out_dir);
    ql_buf_free(&j.state);
    ql_quantize_plan_free(&j.plan);
    if (st != QL_OK || !report) {
        ql_quantize_report_free(j.report);
    }
    return st;
}
