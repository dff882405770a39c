/* Only the keys that every PEFT of the last years knows are written, since an
 * older one refuses a key that it does not know. */
#include "src/convert/peft.h"

#include <math.h>
#include <string.h>

#include "qlora/model.h"
#include "qlora/train.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/adapter_folder.h"
#include "src/model/model_handle.h"

enum {
    NAME_BYTES = 256
};

/* Leaf names of the targets, sorted. */
static json_t *list_targets(const ql_arch *arch, unsigned targets)
{
    static const ql_module sorted[] = {
        QL_MODULE_DOWN, QL_MODULE_GATE, QL_MODULE_K, QL_MODULE_O,
        QL_MODULE_Q,    QL_MODULE_UP,   QL_MODULE_V,
    };
    json_t *list = json_array();

    for (int i = 0; i < QL_MODULES; i++) {
        if (targets & 1U << sorted[i]) {
            json_array_append_new(list, json_string(ql_name_leaf(
                                            arch->names->module[sorted[i]])));
        }
    }
    return list;
}

/* A number as Python has it: the integer 16, not 16.0, where it is whole. */
static json_t *number(double x)
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x)
                                           : json_real(x);
}

static ql_status save_config(const ql_adapter *a, const char *base,
                             const char *dir)
{
    const ql_adapter_options *o = &a->opt;
    char *path = ql_path_join(dir, "adapter_config.json");
    json_t *config = json_pack(
        "{s{} sn ss* ss sb sb sb sn sn so sf sn ss si s{} sn so ss sb sb}",
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", base,
        "bias", "none", "fan_in_fan_out", 0, "inference_mode", 1,
        "init_lora_weights", 1, "layers_pattern", "layers_to_transform",
        "lora_alpha", number(o->alpha), "lora_dropout", o->dropout,
        "modules_to_save", "peft_type", "LORA", "r", (int)o->r, "rank_pattern",
        "revision", "target_modules", list_targets(a->arch, o->targets),
        "task_type", "CAUSAL_LM", "use_dora", 0, "use_rslora", (int)o->rslora);
    ql_status st = QL_ENOMEM;

    if (!config) {
        ql_fail(QL_ENOMEM, "out of memory, or the model's path is not UTF-8");
    } else if (path) {
        st = ql_json_save(config, false, path);
    }
    json_decref(config);
    ql_free(path);
    return st;
}

/* Shape and first parameter of A or B of entry i. */
static size_t half(const ql_adapter *a, size_t i, bool b, size_t shape[2])
{
    const ql_adapter_entry *e = &a->entries[i];

    shape[0] = b ? e->out : a->opt.r;
    shape[1] = b ? a->opt.r : e->in;
    return b ? e->b : e->a;
}

static ql_status write_halves(const ql_adapter *a, ql_safetensors_writer *w)
{
    char name[NAME_BYTES];
    size_t shape[2];

    QL_TRY(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < 2 * a->n; i++) {
        half(a, i / 2, i % 2, shape);
        ql_adapter_name(a, i / 2, i % 2, name, sizeof(name));
        QL_TRY(ql_safetensors_writer_add(w, name, QL_DTYPE_F32, shape, 2));
    }
    QL_TRY(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < 2 * a->n; i++) {
        const size_t first = half(a, i / 2, i % 2, shape);

        ql_adapter_name(a, i / 2, i % 2, name, sizeof(name));
        QL_TRY(ql_safetensors_writer_put(w, name, a->param + first));
    }
    return ql_safetensors_writer_commit(w);
}

ql_status ql_peft_save(const ql_adapter *a, const char *base, const char *dir)
{
    ql_status st = QL_ENOMEM;
    ql_safetensors_writer *w = NULL;
    char *path = ql_path_join(dir, "adapter_model.safetensors");

    if (path) {
        QL_TRY_DONE(ql_safetensors_writer_open(&w, path));
        QL_TRY_DONE(write_halves(a, w));
        st = save_config(a, base, dir);
    }
done:
    ql_safetensors_writer_close(&w);
    ql_free(path);
    return st;
}

ql_status ql_peft_copy(const char *from, const char *to)
{
    static const char *const names[] = {"adapter_model.safetensors",
                                        "adapter_config.json"};
    ql_status st = ql_dir_make(to);

    for (size_t i = 0; st == QL_OK && i < 2; i++) {
        char *source = ql_path_join(from, names[i]);
        char *target = ql_path_join(to, names[i]);

        st = source && target ? ql_file_copy(source, target) : QL_ENOMEM;
        ql_free(source);
        ql_free(target);
    }
    return st == QL_OK ? ql_dir_sync(to) : st;
}

/* What an adapter in memory cannot be, though a folder can. */
static ql_status check_plain(const ql_adapter_folder *f)
{
    const char *merge = "fold it into the model (qlora-export merge)";

    if (f->dora) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: \"use_dora\" is set; %s", f->path, merge);
    }
    if (f->fan_in_fan_out) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: \"fan_in_fan_out\" is set; %s", f->path,
                merge);
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (!f->wholes[i].repeats) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: %s is trained whole (\"modules_to_save\" or "
                    "\"bias\"); %s",
                    f->path, f->wholes[i].name, merge);
        }
    }
    for (size_t i = 0; i < f->n_pairs; i++) {
        const ql_adapter_pair *p = &f->pairs[i];

        if (p->r != f->r || p->alpha != f->alpha) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: %s has a rank or alpha of its own (\"rank_pattern\", "
                    "\"alpha_pattern\"); %s",
                    f->path, p->path, merge);
        }
    }
    return QL_OK;
}

/* The modules that the pairs adapt. */
static ql_status read_targets(const ql_adapter_folder *f, unsigned *mask)
{
    *mask = 0;
    for (size_t i = 0; i < f->n_pairs; i++) {
        const char *path = f->pairs[i].path;
        const char *dot = strrchr(path, '.');
        const char *name = dot ? dot + 1 : path;
        unsigned one = 0;

        if (ql_targets_parse(&name, 1, &one) != QL_OK) {
            return ql_fail_prefix(QL_EUNSUPPORTED, "%s: ", f->path);
        }
        *mask |= one;
    }
    return QL_OK;
}

/* One half of an entry, from the pair of its module. */
static ql_status read_half(ql_adapter *a, size_t i, bool b,
                           const ql_adapter_folder *f)
{
    char name[NAME_BYTES];
    size_t shape[2];
    const size_t first = half(a, i, b, shape);
    const ql_adapter_pair *p;
    const ql_tensor *t;

    ql_adapter_path(a, i, name, sizeof(name));
    p = ql_adapter_folder_pair(f, name);
    t = !p ? NULL : b ? &p->b : &p->a;
    if (!t || t->shape[0] != shape[0] || t->shape[1] != shape[1]) {
        ql_adapter_name(a, i, b, name, sizeof(name));
        QL_FAIL(QL_EMISMATCH,
                "%s: %s must be there with shape [%zu, %zu]; the adapter "
                "was made for another model",
                f->path, name, shape[0], shape[1]);
    }
    return ql_tensor_to_f32(a->param + first, t);
}

static ql_status read_pairs(ql_adapter *a, const ql_adapter_folder *f)
{
    for (size_t i = 0; i < 2 * a->n; i++) {
        QL_TRY(read_half(a, i / 2, i % 2, f));
    }
    if (f->n_pairs != a->n) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %zu modules are adapted, but the model has %zu of that "
                "name",
                f->path, f->n_pairs, a->n);
    }
    return QL_OK;
}

/* The settings of an adapter in memory. */
static ql_status read_options(const ql_adapter_folder *f,
                              ql_adapter_options *opt)
{
    *opt = (ql_adapter_options){.r = f->r,
                                .alpha = f->alpha,
                                .dropout = f->dropout,
                                .rslora = f->rslora};
    QL_TRY(check_plain(f));
    return read_targets(f, &opt->targets);
}

ql_status ql_peft_options(ql_adapter_options *opt, const char *dir)
{
    ql_adapter_folder f;
    ql_status st;

    QL_TRY(ql_adapter_folder_init(&f, dir));
    st = read_options(&f, opt);
    ql_adapter_folder_free(&f);
    return st;
}

ql_status ql_peft_load(ql_adapter *a, const ql_config *c, const char *dir)
{
    ql_adapter_options opt;
    ql_adapter_folder f;
    ql_status st;

    *a = (ql_adapter){0};
    QL_TRY(ql_adapter_folder_init(&f, dir));
    QL_TRY_DONE(read_options(&f, &opt));
    QL_TRY_DONE(ql_adapter_init(a, c, &opt, 0, false));
    st = read_pairs(a, &f);
done:
    ql_adapter_folder_free(&f);
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    return st;
}

ql_status ql_model_load_adapter(ql_model *model, const char *dir)
{
    ql_adapter fresh;

    QL_TRY(ql_peft_load(&fresh, &model->config, dir));
    ql_adapter_free(&model->adapter);
    model->adapter = fresh;
    ql_model_use_adapter(model, NULL);
    return QL_OK;
}
