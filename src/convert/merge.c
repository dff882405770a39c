/* Folder in, folder out, tensor by tensor, rows at a time: what is resident is
 * a panel of rows, and what ql_merged has of one tensor. */
#include <stdio.h>
#include <string.h>

#include "qlora/model.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/export_base.h"
#include "src/convert/generation_config.h"
#include "src/convert/merge_compare.h"
#include "src/convert/model_files.h"
#include "src/convert/peft.h"
#include "src/format/names.h"
#include "src/model/weights.h"

/* One call of ql_export_merge. */
typedef struct job {
    const char *model, *adapter;
    const ql_export_options *opt;
    ql_export_report *report;
    ql_merged_base base;
    ql_adapter_folder folder;
    ql_merged merged;
    ql_shard_plan *shards;
    uint64_t done;
} job;

void ql_export_options_init(ql_export_options *opt)
{
    *opt = (ql_export_options){.max_shard_bytes = UINT64_C(5000000000),
                               .compare = true};
    ql_quant_options_init(&opt->quant);
}

/* The type that a tensor is written in. What is no float, or more than 32 bits
 * of one, stays as it is. */
static ql_dtype type_of(const job *j, const ql_merged_item *item)
{
    static const ql_dtype types[] = {
        [QL_EXPORT_TYPE_F32] = QL_DTYPE_F32,
        [QL_EXPORT_TYPE_F16] = QL_DTYPE_F16,
        [QL_EXPORT_TYPE_BF16] = QL_DTYPE_BF16,
    };
    const bool number = item->dtype == QL_DTYPE_F32 ||
                        item->dtype == QL_DTYPE_F16 ||
                        item->dtype == QL_DTYPE_BF16;

    return j->opt->type == QL_EXPORT_TYPE_AUTO || !number ? item->dtype
                                                          : types[j->opt->type];
}

static size_t bytes_of(const job *j, const ql_merged_item *item)
{
    return item->elements * (ql_dtype_bits(type_of(j, item)) / 8);
}

static ql_status plan(job *j)
{
    ql_merged *m = &j->merged;

    QL_TRY(ql_shard_plan_open(&j->shards, j->opt->max_shard_bytes));
    for (size_t i = 0; i < m->n; i++) {
        const ql_merged_item *item = &m->items[i];
        const uint64_t bytes = bytes_of(j, item);

        QL_TRY(ql_shard_plan_add(j->shards, item->name, bytes));
        j->report->bytes += bytes;
        j->report->merged += item->pair || item->whole;
        j->report->dequantized |= item->packed || item->requantize;
    }
    j->report->tensors = m->n;
    j->report->files = ql_shard_plan_shards(j->shards);
    j->report->untied = m->untied;
    return QL_OK;
}

/* Rows [row, row + n) of the open tensor, through x and out, which have room
 * for them. */
static ql_status write_rows(job *j, ql_safetensors_writer *w, size_t row,
                            size_t n, float *x, unsigned char *out)
{
    const ql_merged_item *item = j->merged.open;
    const ql_dtype dtype = type_of(j, item);

    QL_TRY(ql_merged_rows(&j->merged, row, n, x));
    if (!ql_floats_to(dtype, out, x, n * item->cols)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: a weight is beyond the range of %s; choose --type "
                "bf16 or f32",
                item->name, ql_dtype_name(dtype));
    }
    return ql_safetensors_writer_append(
        w, item->name, out, n * item->cols * (ql_dtype_bits(dtype) / 8));
}

static ql_status write_panels(job *j, ql_safetensors_writer *w)
{
    const size_t rows = j->merged.rows;
    const size_t panel = ql_merged_panel(&j->merged);
    float *x = ql_alloc(QL_TAG_WORK, panel * j->merged.cols, sizeof(float));
    unsigned char *out =
        ql_alloc(QL_TAG_WORK, panel * j->merged.cols, sizeof(float));
    ql_status st = x && out ? QL_OK : QL_ENOMEM;

    for (size_t row = 0; st == QL_OK && row < rows; row += panel) {
        st = write_rows(j, w, row, rows - row < panel ? rows - row : panel, x,
                        out);
    }
    ql_free(x);
    ql_free(out);
    return st;
}

static ql_status write_tensor(job *j, const ql_merged_item *item,
                              ql_safetensors_writer *w)
{
    const ql_tensor *source = item->whole ? item->whole : item->base;
    ql_status st;

    if (item->elements == 0 || (ql_merged_untouched(item) && source->data &&
                                source->dtype == type_of(j, item))) {
        return ql_safetensors_writer_put(w, item->name, source->data);
    }
    QL_TRY(ql_merged_open(&j->merged, item, false));
    st = write_panels(j, w);
    ql_merged_close(&j->merged);
    return st;
}

static ql_status advance(job *j, const ql_merged_item *item)
{
    ql_shards_drop(j->merged.shards, item->base);
    j->done += bytes_of(j, item);
    if (j->opt->progress &&
        !j->opt->progress(j->done, j->report->bytes, j->opt->user)) {
        QL_FAIL(QL_ECANCELLED, "stopped; nothing was written");
    }
    return QL_OK;
}

static ql_status write_tensors(job *j, size_t shard, ql_safetensors_writer *w)
{
    const ql_merged *m = &j->merged;

    QL_TRY(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < m->n; i++) {
        const ql_merged_item *item = &m->items[i];

        if (ql_shard_plan_shard_of(j->shards, i) == shard) {
            QL_TRY(ql_safetensors_writer_add(w, item->name, type_of(j, item),
                                             item->shape, item->rank));
        }
    }
    QL_TRY(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < m->n; i++) {
        if (ql_shard_plan_shard_of(j->shards, i) == shard) {
            QL_TRY(write_tensor(j, &m->items[i], w));
            QL_TRY(advance(j, &m->items[i]));
        }
    }
    return ql_safetensors_writer_commit(w);
}

static ql_status write_shard(job *j, size_t shard, const char *dir)
{
    char *path = ql_path_join(dir, ql_shard_plan_file(j->shards, shard));
    ql_safetensors_writer *w = NULL;
    ql_status st = QL_ENOMEM;

    if (path) {
        QL_TRY_DONE(ql_safetensors_writer_open(&w, path));
        st = write_tensors(j, shard, w);
    }
done:
    ql_safetensors_writer_close(&w);
    ql_free(path);
    return st;
}

/* The model's configuration as it is now: dense, of the type that was written,
 * with a head of its own if it got one. */
static ql_status write_config(const job *j, const char *dir)
{
    static const char *const names[] = {
        [QL_EXPORT_TYPE_F32] = "float32",
        [QL_EXPORT_TYPE_F16] = "float16",
        [QL_EXPORT_TYPE_BF16] = "bfloat16",
    };
    json_t *o = NULL;
    ql_status st;
    int bad = 0;

    QL_TRY_DONE(ql_model_files_config(&o, j->model));
    QL_TRY_DONE(j->merged.new_head ? ql_model_files_classify(o) : QL_OK);
    json_object_del(o, "quantization_config");
    if (j->opt->type != QL_EXPORT_TYPE_AUTO) {
        const char *key = json_object_get(o, "dtype") ? "dtype" : "torch_dtype";

        bad |= json_object_set_new(o, key, json_string(names[j->opt->type]));
    }
    if (j->merged.untied) {
        bad |= json_object_set_new(o, "tie_word_embeddings", json_false());
    }
    st = bad ? ql_fail(QL_ENOMEM, "out of memory while writing config.json")
             : ql_model_files_put_config(o, dir);
done:
    json_decref(o);
    return st;
}

/* The template that the adapter was trained with goes before the model's. */
static ql_status carry_template(const job *j, const char *dir)
{
    char *to = ql_path_join(dir, "chat_template.jinja");
    char *text = NULL;
    ql_status st = to ? QL_OK : QL_ENOMEM;

    if (st == QL_OK) {
        st = ql_adapter_chat_template(&text, j->adapter, j->model);
    }
    if (st == QL_OK && text) {
        st = ql_file_write(to, text, strlen(text));
    }
    ql_free(text);
    ql_free(to);
    return st;
}

static ql_status write_all(job *j, const char *out_dir)
{
    uint64_t carried;
    ql_outdir out;
    ql_status st;

    QL_TRY(ql_model_files_carried(&carried, j->model));
    QL_TRY(ql_disk_need(out_dir, j->report->bytes + carried));
    QL_TRY(ql_outdir_init(&out, out_dir, j->opt->force));
    for (size_t i = 0; i < j->report->files; i++) {
        QL_TRY_DONE(write_shard(j, i, out.work));
    }
    QL_TRY_DONE(ql_shard_plan_write_index(j->shards, out.work));
    QL_TRY_DONE(write_config(j, out.work));
    QL_TRY_DONE(ql_model_files_carry(j->model, out.work));
    QL_TRY_DONE(carry_template(j, out.work));
    QL_TRY_DONE(ql_generation_config_end(out.work));
    st = ql_outdir_commit(&out);
done:
    ql_outdir_free(&out);
    return st;
}

/* The coarsest type that a merged weight was rounded to. */
static ql_dtype rounding_of(const job *j)
{
    ql_dtype coarsest = QL_DTYPE_F32;

    for (size_t i = 0; i < j->merged.n; i++) {
        const ql_merged_item *item = &j->merged.items[i];
        const ql_tensor *source = item->whole ? item->whole : item->base;
        const ql_dtype dtype = type_of(j, item);

        if (ql_merged_untouched(item) && source->dtype == dtype) {
            continue;
        }
        if (dtype == QL_DTYPE_BF16 ||
            (dtype == QL_DTYPE_F16 && coarsest == QL_DTYPE_F32)) {
            coarsest = dtype;
        }
    }
    return coarsest;
}

/* The result is there; that it cannot be compared is no failure of it, but for
 * a disk that is full. */
static ql_status compare(const job *j, const char *out_dir)
{
    const ql_dtype rounding = rounding_of(j);
    ql_export_difference *d = &j->report->difference;
    const ql_status st =
        ql_merge_compare(d, j->model, j->adapter, out_dir, &j->base, rounding);

    if (st == QL_ENOSPACE) {
        return ql_fail_prefix(
            st, "%s is written, but there is no room to compare it: ", out_dir);
    }
    if (st != QL_OK) {
        ql_warn("not compared with the model and its adapter: %s",
                ql_last_error());
        return QL_OK;
    }
    if (!(d->logit <= d->explained)) {
        QL_FAIL(QL_ENUMERIC,
                "%s is written, but is not what it was made of: its logits "
                "differ by up to %.2g, and rounding to %s explains %.2g%s",
                out_dir, d->logit, ql_dtype_name(rounding), d->explained,
                rounding == QL_DTYPE_F32 ? "" : "; try --type f32");
    }
    return QL_OK;
}

static ql_status check_type(ql_export_type type)
{
    if (type == QL_EXPORT_TYPE_Q8_0) {
        QL_FAIL(QL_EINVAL, "folders of weights in Q8_0 cannot be written: "
                           "choose --type f32, f16 or bf16, or the form gguf");
    }
    if ((size_t)type > QL_EXPORT_TYPE_Q8_0) {
        QL_FAIL(QL_EINVAL, "type %d: choose F32, F16 or BF16", (int)type);
    }
    return QL_OK;
}

/* What the class of a model and its code tell. */
typedef struct folder_kind {
    bool headless; /* "LlamaModel" has no head */
    bool own_code; /* and tensors as it likes */
} folder_kind;

static ql_status read_kind(folder_kind *kind, const char *dir)
{
    json_t *root;
    const char *name;

    QL_TRY(ql_model_files_config(&root, dir));
    name = json_string_value(
        json_array_get(json_object_get(root, "architectures"), 0));
    kind->headless = name && ql_name_ends(name, "Model") &&
                     !ql_name_ends(name, "LMHeadModel");
    kind->own_code = json_object_get(root, "auto_map") != NULL;
    json_decref(root);
    return QL_OK;
}

/* Whether the folder has blocks where the architecture has them. */
static ql_status find_blocks(bool *found, const char *dir, const ql_names *n)
{
    ql_shards *s;
    char stem[128];

    *found = false;
    QL_TRY(ql_shards_open(&s, dir));
    snprintf(stem, sizeof(stem), "%s%s.", ql_weights_base(s, n), n->layers);
    for (size_t i = 0; i < ql_shards_count(s); i++) {
        const char *name = ql_shards_at(s, i)->name;

        *found |= ql_name_after(name, stem) != NULL;
    }
    ql_shards_close(&s);
    return QL_OK;
}

/* Nothing is missing of a model that has its tensors where we know them, and
 * all is of the shape that config.json says. What it has beside, and what is of
 * a type that we do not read, is carried along. */
static ql_status check_whole(const char *dir, const ql_config *c)
{
    ql_config body = *c;
    folder_kind kind;
    bool found;
    ql_status st;

    QL_TRY(read_kind(&kind, dir));
    QL_TRY(find_blocks(&found, dir, c->arch->names));
    if (kind.own_code || !found) {
        return QL_OK;
    }
    body.tied |= kind.headless;
    st = ql_weights_check(&body, dir, true);
    return st == QL_EUNSUPPORTED ? QL_OK : st;
}

/* As loading does. A model that we cannot run can be merged into. */
static ql_status check_inputs(job *j)
{
    ql_config c;
    ql_status st = ql_config_init(&c, j->model);

    if (st != QL_OK) {
        return st == QL_ENOMEM ? st : QL_OK;
    }
    st = check_whole(j->model, &c);
    if (st == QL_OK) {
        st = ql_peft_fit(&j->folder, &c);
    }
    ql_config_free(&c);
    return st;
}

static ql_status run(job *j, const char *out_dir)
{
    QL_TRY(check_type(j->opt->type));
    QL_TRY(ql_dir_need(j->model, "give a Hugging Face model folder"));
    QL_TRY(
        ql_model_files_check(j->model, out_dir, ql_model_mark, j->opt->force));
    QL_TRY(ql_model_files_keep(j->adapter, out_dir));
    QL_TRY(ql_export_base_find(&j->base, j->adapter, j->opt));
    QL_TRY(ql_adapter_folder_init(&j->folder, j->adapter));
    QL_TRY(check_inputs(j));
    QL_TRY(ql_merged_init(&j->merged, j->model, &j->folder, &j->base));
    QL_TRY(ql_merged_restore_names(&j->merged));
    QL_TRY(ql_export_base_check(&j->merged, j->model, j->opt));
    QL_TRY(plan(j));
    QL_TRY(write_all(j, out_dir));
    return j->opt->compare ? compare(j, out_dir) : QL_OK;
}

ql_status ql_export_merge(const char *model_dir, const char *adapter_dir,
                          const char *out_dir, const ql_export_options *opt,
                          ql_export_report *report)
{
    ql_export_report own;
    job j = {.model = model_dir,
             .adapter = adapter_dir,
             .opt = opt,
             .report = report ? report : &own};
    ql_status st;

    *j.report = (ql_export_report){0};
    st = run(&j, out_dir);
    ql_shard_plan_close(&j.shards);
    ql_merged_free(&j.merged);
    ql_adapter_folder_free(&j.folder);
    return st;
}
