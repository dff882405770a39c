#include "src/convert/trained_folder.h"

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/model_files.h"
#include "src/convert/peft.h"
#include "src/convert/trained_pieces.h"
#include "src/model/full.h"

enum {
    NAME_BYTES = 256
};

const char *ql_trained_config(bool full)
{
    return full ? ql_model_mark : "adapter_config.json";
}

const char *ql_trained_weights(bool full)
{
    return full ? "model.safetensors" : "adapter_model.safetensors";
}

/* All weights on their way to a file. */
typedef struct job {
    const ql_adapter *a;
    const ql_model *m;
    bool exact;
    ql_safetensors_writer *w;
} job;

static ql_dtype type_of(const job *j, size_t i)
{
    const ql_tensor *t = ql_full_find(j->a, i, j->m->weights.shards);
    const ql_dtype own = i < j->a->n_half ? QL_DTYPE_BF16 : QL_DTYPE_F32;

    return j->exact || !t ? own : t->dtype;
}

static ql_status announce(const job *j)
{
    QL_TRY(ql_safetensors_writer_metadata(j->w, "format", "pt"));
    for (size_t i = 0; i < j->a->n_tensors; i++) {
        const ql_adapter_tensor *t = &j->a->tensors[i];
        const bool turned = ql_full_turned(j->a, i);
        const size_t shape[2] = {t->shape[turned], t->shape[!turned]};
        char name[NAME_BYTES];

        ql_adapter_name(j->a, i, name, sizeof(name));
        QL_TRY(ql_safetensors_writer_add(j->w, name, type_of(j, i), shape,
                                         t->rank));
    }
    return ql_safetensors_writer_begin(j->w);
}

static ql_status put_tensor(const job *j, size_t i)
{
    const bool half = i < j->a->n_half;
    char name[NAME_BYTES];

    ql_adapter_name(j->a, i, name, sizeof(name));
    if (type_of(j, i) == (half ? QL_DTYPE_BF16 : QL_DTYPE_F32) &&
        !ql_full_turned(j->a, i)) {
        return ql_safetensors_writer_put(j->w, name,
                                         j->a->param + j->a->tensors[i].at);
    }
    return ql_trained_put_pieces(j->a, i, type_of(j, i), name, j->w);
}

static ql_status write_weights(const job *j)
{
    QL_TRY(announce(j));
    for (size_t i = 0; i < j->a->n_tensors; i++) {
        QL_TRY(put_tensor(j, i));
    }
    return ql_safetensors_writer_commit(j->w);
}

/* That of the model, but for the type; and without code of its own, which is
 * not there, and may call the tensors by other names than transformers. */
static ql_status write_config(const job *j, const char *dir)
{
    json_t *o;
    ql_status st = QL_OK;

    QL_TRY(ql_model_files_config(&o, j->m->dir));
    json_object_del(o, "auto_map");
    if (j->exact) {
        const char *key = json_object_get(o, "dtype") ? "dtype" : "torch_dtype";

        const char *type = j->a->opt.half ? "bfloat16" : "float32";

        if (json_object_set_new(o, key, json_string(type)) != 0) {
            st = ql_fail(QL_ENOMEM, "out of memory while writing config.json");
        }
    }
    if (st == QL_OK && j->m->config.arch->classifier) {
        st = ql_model_files_classify(o);
    }
    if (st == QL_OK) {
        st = ql_model_files_put_config(o, dir);
    }
    json_decref(o);
    return st;
}

static ql_status save_full(job *j, const char *dir)
{
    char *path = ql_path_join(dir, ql_trained_weights(true));
    ql_status st = QL_ENOMEM;

    if (path) {
        QL_TRY_DONE(ql_safetensors_writer_open(&j->w, path));
        QL_TRY_DONE(write_weights(j));
        st = write_config(j, dir);
    }
done:
    ql_safetensors_writer_close(&j->w);
    ql_free(path);
    return st;
}

ql_status ql_trained_save(const ql_adapter *a, const ql_model *m, bool exact,
                          const char *dir)
{
    job j = {.a = a, .m = m, .exact = exact};

    return a->opt.full ? save_full(&j, dir) : ql_peft_save(a, m->dir, dir);
}

ql_status ql_trained_copy(bool full, const char *from, const char *to)
{
    const char *const names[] = {ql_trained_weights(full),
                                 ql_trained_config(full)};
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

ql_status ql_trained_read(ql_adapter *a, const char *dir)
{
    ql_shards *s;
    ql_status st;

    QL_TRY(ql_shards_open(&s, dir));
    st = ql_full_read(a, s, NULL);
    ql_shards_close(&s);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: ", dir);
}
