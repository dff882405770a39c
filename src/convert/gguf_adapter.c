/* An adapter as llama.cpp loads it beside a model: the matrices of PEFT, in
 * the rows that llama.cpp's own weights have.
 *
 * llama.cpp multiplies each pair by alpha / r with one alpha for all, where r
 * is the pair's own. What PEFT scales otherwise (rsLoRA, patterns) goes into
 * alpha where that serves all pairs, else into B. */
#include "src/convert/gguf_adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/convert/adapter_base.h"
#include "src/convert/export_base.h"
#include "src/convert/gguf_general.h"
#include "src/convert/gguf_inputs.h"
#include "src/format/names.h"

struct ql_gguf_adapter {
    const ql_export_options *opt;
    ql_export_report *report;
    ql_gguf_inputs in;
    double alpha;
    ql_gguf_writer *w;
};

typedef ql_gguf_adapter job;

/* The path of the embedding, or of the head. */
static bool is_end(const job *j, const char *path)
{
    const ql_names *n = j->in.config.arch->names;

    return ql_name_ends(path, n->embed) || strcmp(path, n->head) == 0;
}

/* The same of a tensor. */
static bool is_end_tensor(const job *j, const char *name)
{
    const size_t n = strlen(name) - strlen(".weight");
    char path[1024];

    if (!ql_name_ends(name, ".weight") || n >= sizeof(path)) {
        return false;
    }
    memcpy(path, name, n);
    path[n] = '\0';
    return is_end(j, path);
}

/* Merging makes two matrices of the one that is embedding and head. */
static bool unties(const job *j)
{
    const ql_adapter_folder *f = &j->in.folder;
    bool changes = false;

    for (size_t i = 0; i < f->n_pairs; i++) {
        changes |= is_end(j, f->pairs[i].path);
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        changes |= !f->wholes[i].repeats && is_end_tensor(j, f->wholes[i].name);
    }
    return changes && j->in.config.tied && !f->tied;
}

static ql_status refuse(const job *j, const char *what)
{
    if (unties(j) && !ql_gguf_arch_own_head(j->in.arch)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: %s cannot be said in a GGUF adapter, and GGUF files of "
                "architecture %s have no place for a head of its own: merge "
                "it into a folder (qlora-export merge)",
                j->in.folder.path, what, ql_gguf_arch_name(j->in.arch));
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: %s cannot be said in a GGUF adapter; merge it into the model "
            "(qlora-export gguf --adapter, or merge)",
            j->in.folder.path, what);
}

/* Where a pair goes; the name of its weight stands for the pair. */
static ql_status place_of(const job *j, const ql_adapter_pair *p,
                          ql_gguf_place *place)
{
    char name[1024];

    snprintf(name, sizeof(name), "%s.weight", p->path);
    QL_TRY(ql_gguf_place_find(place, j->in.arch, &j->in.config, name));
    if (strlen(place->name) + strlen(".lora_a") >= sizeof(place->name)) {
        QL_FAIL(QL_EUNSUPPORTED, "tensor name %s is too long", place->name);
    }
    return QL_OK;
}

/* llama.cpp looks a change of the embedding up by the name of the tensor,
 * which serves as the head as well; but the pair does not. */
static ql_status check_plain(const job *j)
{
    const ql_adapter_folder *f = &j->in.folder;

    if (f->dora) {
        return refuse(j, "DoRA (\"use_dora\")");
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (!f->wholes[i].repeats) {
            return refuse(j, f->wholes[i].name);
        }
    }
    for (size_t i = 0; i < f->n_pairs; i++) {
        if (is_end(j, f->pairs[i].path) && j->in.config.tied) {
            return refuse(j,
                          "a change of the embedding that is the head, too,");
        }
    }
    return QL_OK;
}

/* Every pair fits a module of the model. */
static ql_status check_shape(const job *j, const ql_adapter_pair *p)
{
    const ql_config *c = &j->in.config;
    char name[1024];
    size_t want[2] = {c->V, c->C};
    ql_module m;

    snprintf(name, sizeof(name), "%s.weight", p->path);
    m = ql_arch_module(c->arch, name);
    if (m < QL_MODULES) {
        ql_config_module(c, m, &want[0], &want[1]);
    } else if (p->embedding) {
        want[0] = c->C;
        want[1] = c->V;
    }
    if (p->out != want[0] || p->in != want[1]) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s has shape [%zu, %zu], but the model's weight is [%zu, "
                "%zu]; the adapter was made for another model",
                j->in.folder.path, p->path, p->out, p->in, want[0], want[1]);
    }
    return QL_OK;
}

/* Announces A and B of a pair; of an embedding, A goes in transposed. */
static ql_status announce(job *j, const ql_adapter_pair *p)
{
    const size_t a[2] = {p->embedding ? p->r : p->in,
                         p->embedding ? p->in : p->r};
    const size_t b[2] = {p->r, p->out};
    char name[QL_GGUF_NAME_BYTES + 8];
    ql_gguf_place place;

    QL_TRY(place_of(j, p, &place));
    QL_TRY(check_shape(j, p));
    snprintf(name, sizeof(name), "%s.lora_a", place.name);
    QL_TRY(ql_gguf_writer_add(j->w, name, ql_gguf_inputs_type(&j->in, a[0]), a,
                              2));
    snprintf(name, sizeof(name), "%s.lora_b", place.name);
    QL_TRY(ql_gguf_writer_add(j->w, name, ql_gguf_inputs_type(&j->in, b[0]), b,
                              2));
    j->report->tensors += 2;
    j->report->merged++;
    return QL_OK;
}

/* Writes a matrix [rows, cols], its rows in the order of the place. */
static ql_status write_matrix(job *j, const float *x, size_t rows, size_t cols,
                              const ql_gguf_place *place)
{
    const ql_gguf_type type = ql_gguf_inputs_type(&j->in, cols);
    const size_t bytes = ql_gguf_bytes(type, cols);
    unsigned char *row = ql_alloc(QL_TAG_WORK, bytes, 1);
    ql_status st = row ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; st == QL_OK && i < rows; i++) {
        const size_t from = place ? ql_gguf_row(place, i, rows) : i;

        if (!ql_gguf_pack(type, row, x + from * cols, cols)) {
            st =
                ql_fail(QL_EUNSUPPORTED,
                        "%s: a number is beyond the range of %s; choose --type "
                        "f32",
                        j->in.folder.path, ql_gguf_type_name(type));
            break;
        }
        st = ql_gguf_writer_write(j->w, row, bytes);
    }
    ql_free(row);
    return st;
}

static ql_status write_pair(job *j, const ql_adapter_pair *p)
{
    const double factor = p->scale * (double)p->r / j->alpha;
    float *a = ql_alloc(QL_TAG_WORK, p->a.elements, sizeof(float));
    float *b = ql_alloc(QL_TAG_WORK, p->b.elements, sizeof(float));
    ql_status st = a && b ? QL_OK : QL_ENOMEM;
    ql_gguf_place place;

    QL_TRY_DONE(st);
    QL_TRY_DONE(place_of(j, p, &place));
    QL_TRY_DONE(p->embedding ? ql_tensor_turn(a, &p->a)
                             : ql_tensor_to_f32(a, &p->a));
    QL_TRY_DONE(ql_tensor_to_f32(b, &p->b));
    for (size_t i = 0; fabs(factor - 1) > 1e-12 && i < p->b.elements; i++) {
        b[i] = (float)(factor * (double)b[i]);
    }
    QL_TRY_DONE(write_matrix(j, a, p->embedding ? p->in : p->r,
                             p->embedding ? p->r : p->in, NULL));
    st = write_matrix(j, b, p->out, p->r, &place);
done:
    ql_free(a);
    ql_free(b);
    return st;
}

/* One alpha for all pairs, if rsLoRA with one rank allows it. An alpha of 0
 * would mean to llama.cpp that there is none; a sign goes into B. */
static void choose_alpha(job *j)
{
    const ql_adapter_folder *f = &j->in.folder;

    j->alpha = fabs(f->rslora ? f->alpha * sqrt((double)f->r) : f->alpha);
    j->alpha = j->alpha != 0 ? j->alpha : 1;
}

static ql_status put_values(job *j, const char *adapter_dir)
{
    char title[QL_GGUF_TITLE_BYTES];

    ql_gguf_title(adapter_dir, title);
    QL_TRY(ql_gguf_put_string(j->w, "general.architecture",
                              ql_gguf_arch_name(j->in.arch)));
    QL_TRY(ql_gguf_put_string(j->w, "general.type", "adapter"));
    QL_TRY(ql_gguf_put_string(j->w, "adapter.type", "lora"));
    if (title[0]) {
        QL_TRY(ql_gguf_put_string(j->w, "general.name", title));
    }
    QL_TRY(ql_gguf_put_f32(j->w, "adapter.lora.alpha", j->alpha));
    return ql_gguf_put_u32(j->w, "general.quantization_version",
                           QL_GGUF_QUANTIZATION);
}

static ql_status plan(job *j, const char *adapter_dir)
{
    QL_TRY(put_values(j, adapter_dir));
    for (size_t i = 0; i < j->in.folder.n_pairs; i++) {
        QL_TRY(announce(j, &j->in.folder.pairs[i]));
    }
    j->report->bytes = ql_gguf_writer_size(j->w);
    j->report->files = 1;
    return QL_OK;
}

/* What the adapter repeats of its base is compared where that has weights:
 * nothing else here needs them. */
static ql_status check_base(job *j, const char *model_dir)
{
    ql_shards *s = NULL;
    bool compared = false;
    ql_status st;

    for (size_t i = 0; i < j->in.folder.n_wholes; i++) {
        const ql_adapter_whole *w = &j->in.folder.wholes[i];

        compared |= w->repeats || w->end;
    }
    if (!compared) {
        return QL_OK;
    }
    st = ql_shards_open(&s, model_dir);
    if (st != QL_OK && st != QL_ENOMEM) {
        ql_warn("whether the adapter was made for these embeddings is not "
                "seen: %s",
                ql_last_error());
        return QL_OK;
    }
    st = st == QL_OK ? ql_adapter_base_check(&j->in.folder, s) : st;
    ql_shards_close(&s);
    return st;
}

ql_status ql_gguf_adapter_open(ql_gguf_adapter **out, const char *model_dir,
                               const char *adapter_dir, const char *out_path,
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
    *j = (job){.opt = opt, .report = report};
    QL_TRY_DONE(ql_gguf_inputs_init(&j->in, model_dir, adapter_dir, out_path,
                                    opt, QL_GGUF_F32));
    QL_TRY_DONE(check_base(j, model_dir));
    QL_TRY_DONE(check_plain(j));
    choose_alpha(j);
    QL_TRY_DONE(ql_gguf_writer_open(&j->w, out_path));
    st = plan(j, adapter_dir);
done:
    if (st != QL_OK) {
        ql_gguf_adapter_close(out);
    }
    return st;
}

uint64_t ql_gguf_adapter_bytes(const ql_gguf_adapter *a)
{
    return ql_gguf_writer_size(a->w);
}

ql_status ql_gguf_adapter_finish(ql_gguf_adapter *a)
{
    QL_TRY(ql_gguf_writer_begin(a->w));
    for (size_t i = 0; i < a->in.folder.n_pairs; i++) {
        QL_TRY(write_pair(a, &a->in.folder.pairs[i]));
    }
    return ql_gguf_writer_commit(a->w);
}

void ql_gguf_adapter_close(ql_gguf_adapter **a)
{
    if (*a) {
        ql_gguf_writer_close(&(*a)->w);
        ql_gguf_inputs_free(&(*a)->in);
        ql_free(*a);
    }
    *a = NULL;
}

ql_status ql_export_gguf_adapter(const char *model_dir, const char *adapter_dir,
                                 const char *out_path,
                                 const ql_export_options *opt,
                                 ql_export_report *report)
{
    ql_export_report own;
    ql_gguf_adapter *a;
    ql_status st;

    QL_TRY(ql_gguf_adapter_open(&a, model_dir, adapter_dir, out_path, opt,
                                report ? report : &own));
    st = ql_export_base_tell(&a->in.config, model_dir, adapter_dir);
    if (st == QL_OK) {
        st = ql_gguf_adapter_finish(a);
    }
    ql_gguf_adapter_close(&a);
    return st;
}
