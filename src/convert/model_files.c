#include "src/convert/model_files.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/format/names.h"

enum {
    MAX_CONFIG_BYTES = 16 << 20
};

const char ql_model_mark[] = "config.json";

/* True for files that hold weights, which are written anew or left behind; and
 * for that by which transformers would take the folder for an adapter's. */
static bool holds_weights(const char *name)
{
    static const char *const endings[] = {
        ".safetensors", ".index.json", ".bin", ".pth",  ".pt",   ".gguf",
        ".h5",          ".msgpack",    ".ot",  ".onnx", ".part",
    };

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (ql_name_ends(name, endings[i])) {
            return true;
        }
    }
    return name[0] == '.' || strcmp(name, ql_model_mark) == 0 ||
           strcmp(name, "adapter_config.json") == 0;
}

static bool is_carried(const char *name, const char *path)
{
    return !holds_weights(name) && !ql_path_is_dir(path);
}

ql_status ql_model_files_carried(uint64_t *bytes, const char *dir)
{
    ql_status st;
    char **names;
    size_t n;

    *bytes = 0;
    QL_TRY(ql_dir_list(dir, &names, &n));
    st = QL_OK;
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        char *path = ql_path_join(dir, names[i]);

        st = path ? QL_OK : QL_ENOMEM;
        if (path && is_carried(names[i], path)) {
            *bytes += ql_disk_used(path);
        }
        ql_free(path);
    }
    ql_dir_list_free(names, n);
    return st;
}

/* One that cannot be read is no reason to lose what it was to go along with. */
ql_status ql_model_files_carry_file(const char *from, const char *to,
                                    bool *copied)
{
    ql_infile f;
    const ql_status st = ql_infile_init(&f, from);

    *copied = st == QL_OK;
    if (st == QL_ENOMEM) {
        return st;
    }
    if (st != QL_OK) {
        ql_warn("not copied: %s", ql_last_error());
        return QL_OK;
    }
    ql_infile_free(&f);
    return ql_file_copy(from, to);
}

ql_status ql_model_files_carry(const char *in_dir, const char *out_dir)
{
    ql_status st;
    char **names;
    bool copied;
    size_t n;

    QL_TRY(ql_dir_list(in_dir, &names, &n));
    st = QL_OK;
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        char *from = ql_path_join(in_dir, names[i]);
        char *to = ql_path_join(out_dir, names[i]);

        if (!from || !to) {
            st = QL_ENOMEM;
        } else if (is_carried(names[i], from)) {
            st = ql_model_files_carry_file(from, to, &copied);
        }
        ql_free(from);
        ql_free(to);
    }
    ql_dir_list_free(names, n);
    return st;
}

ql_status ql_model_files_keep(const char *in_dir, const char *out_dir)
{
    if (ql_path_within(in_dir, out_dir)) {
        QL_FAIL(QL_EINVAL,
                "%s would be replaced, but %s is the same folder or lies in "
                "it; name another folder",
                out_dir, in_dir);
    }
    return QL_OK;
}

/* Refuses a symbolic link that leads nowhere. */
static ql_status check_link(const char *path)
{
    char *real;
    const ql_status st = ql_path_follow(path, &real);

    ql_free(real);
    return st;
}

/* What is there is replaced only on demand, and only if it is a model (or
 * nothing) and not the one that is read. */
ql_status ql_model_files_check(const char *in_dir, const char *out_dir,
                               const char *mark, bool force)
{
    ql_status st = QL_OK;
    char *marked;
    char **names;
    size_t n;

    if (!ql_path_exists(out_dir)) {
        return check_link(out_dir);
    }
    if (!force) {
        QL_FAIL(QL_EINVAL,
                "%s exists already; name another folder or use --force",
                out_dir);
    }
    if (!ql_path_is_dir(out_dir)) {
        QL_FAIL(QL_EINVAL, "%s is a file, not a folder", out_dir);
    }
    QL_TRY(ql_model_files_keep(in_dir, out_dir));
    QL_TRY(ql_dir_list(out_dir, &names, &n));
    marked = ql_path_join(out_dir, mark);
    if (!marked) {
        st = QL_ENOMEM;
    } else if (n > 0 && !ql_path_exists(marked)) {
        st = ql_fail(QL_EINVAL,
                     "%s holds something else, for there is no %s in it; name "
                     "another folder",
                     out_dir, mark);
    }
    ql_free(marked);
    ql_dir_list_free(names, n);
    return st;
}

static bool begins_as_gguf(const char *path)
{
    char magic[4] = {0};
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(magic, 1, sizeof(magic), f) : 0;

    if (f) {
        fclose(f);
    }
    return n == sizeof(magic) && memcmp(magic, "GGUF", n) == 0;
}

ql_status ql_model_files_check_file(const char *path, bool force)
{
    if (!ql_path_exists(path)) {
        return check_link(path);
    }
    if (ql_path_is_dir(path)) {
        QL_FAIL(QL_EINVAL, "%s is a folder; name a file", path);
    }
    if (!force) {
        QL_FAIL(QL_EINVAL,
                "%s exists already; name another file or use --force", path);
    }
    if (!begins_as_gguf(path)) {
        QL_FAIL(QL_EINVAL,
                "%s is no GGUF file and is not replaced; name another file",
                path);
    }
    return QL_OK;
}

ql_status ql_model_files_config(json_t **out, const char *dir)
{
    char *path = ql_path_join(dir, ql_model_mark);
    ql_status st = QL_ENOMEM;

    *out = NULL;
    if (path) {
        st = ql_json_load(out, path, MAX_CONFIG_BYTES);
    }
    ql_free(path);
    return st;
}

ql_status ql_model_files_put_config(const json_t *config, const char *dir)
{
    char *path = ql_path_join(dir, ql_model_mark);
    ql_status st = path ? ql_json_save(config, true, path) : QL_ENOMEM;

    ql_free(path);
    return st;
}

ql_status ql_model_files_classify(json_t *config)
{
    const json_t *list = json_object_get(config, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    const char *end = name ? strstr(name, "For") : NULL;

    end = name && !end ? strstr(name, "Model") : end;
    if (end &&
        json_object_set_new(
            config, "architectures",
            json_pack("[o]", json_sprintf("%.*sForSequenceClassification",
                                          (int)(end - name), name)))) {
        QL_FAIL(QL_ENOMEM, "out of memory while writing config.json");
    }
    return QL_OK;
}
