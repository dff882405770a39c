#include "tests/check/toy_adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

enum {
    PATH_BYTES = 4300,
    MAX_JSON = 1 << 24
};

static void put_tensor(ql_safetensors_writer *w, const toy_tensor *t,
                       uint64_t salt)
{
    size_t n = t->shape[0];
    float *x;

    if (t->rank != 1) {
        n *= t->shape[1];
    }
    x = malloc(n * sizeof(*x) + 1);
    check_fill(x, n, salt);
    check_ok(ql_safetensors_writer_put(w, t->name, t->values ? t->values : x));
    free(x);
}

void toy_tensors_write(const char *path, const toy_tensor *t, size_t n)
{
    ql_safetensors_writer *w = NULL;

    check_ok(ql_safetensors_writer_open(&w, path));
    check_ok(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < n; i++) {
        check_ok(ql_safetensors_writer_add(
            w, t[i].name, QL_DTYPE_F32, t[i].shape, t[i].rank ? t[i].rank : 2));
    }
    check_ok(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < n; i++) {
        put_tensor(w, &t[i], 100 + i);
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
}

void toy_json_write(const char *dir, const char *name, const char *text)
{
    char path[PATH_BYTES];
    const size_t n = strlen(text);
    char *copy = malloc(n + 1);

    memcpy(copy, text, n + 1);
    for (size_t i = 0; i < n; i++) {
        copy[i] = copy[i] == '\'' ? '"' : copy[i];
    }
    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    check_ok(ql_file_write(path, copy, n));
    free(copy);
}

void toy_adapter_write(const char *dir, const char *config, const toy_tensor *t,
                       size_t n)
{
    char path[PATH_BYTES];

    check_ok(ql_dir_remove(dir));
    check_ok(ql_dir_make(dir));
    snprintf(path, sizeof(path), "%.4000s/adapter_model.safetensors", dir);
    toy_tensors_write(path, t, n);
    toy_json_write(dir, "adapter_config.json", config);
}

/* Takes a part out of a name. */
static void cut(char *name, const char *part)
{
    char *at = strstr(name, part);

    if (at) {
        memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
    }
}

/* The tensors "after3.NAME" under the names that PEFT saves. */
static void write_after3(const char *path, const ql_safetensors *from)
{
    static const char prefix[] = "after3.";
    const size_t n = ql_safetensors_count(from);
    toy_tensor *t = calloc(n, sizeof(*t));
    char(*names)[256] = calloc(n, sizeof(*names));
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        const ql_tensor *in = ql_safetensors_at(from, i);
        float *values;

        if (strncmp(in->name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        snprintf(names[used], sizeof(names[used]), "%s",
                 in->name + strlen(prefix));
        cut(names[used], ".modules_to_save");
        if (strstr(names[used], "lora_magnitude_vector")) {
            cut(names[used], ".weight");
        }
        values = malloc(in->elements * sizeof(*values));
        check_ok(ql_tensor_to_f32(values, in));
        t[used] = (toy_tensor){
            .name = names[used], .rank = in->rank, .values = values};
        memcpy(t[used].shape, in->shape, in->rank * sizeof(*in->shape));
        used++;
    }
    toy_tensors_write(path, t, used);
    for (size_t i = 0; i < used; i++) {
        free((void *)(uintptr_t)t[i].values);
    }
    free(names);
    free(t);
}

void toy_golden_adapter(const char *dir, const char *name, const char *variant)
{
    char path[PATH_BYTES];
    ql_safetensors *from = NULL;
    json_t *root;

    check_ok(ql_dir_remove(dir));
    check_ok(ql_dir_make(dir));
    snprintf(path, sizeof(path), "golden/models/%s/%s.json", name, variant);
    check_ok(ql_json_load(&root, check_shared(path), MAX_JSON));
    snprintf(path, sizeof(path), "%.4000s/adapter_config.json", dir);
    check_ok(
        ql_json_save(json_object_get(root, "adapter_config"), false, path));
    json_decref(root);
    snprintf(path, sizeof(path), "golden/models/%s/%s.safetensors", name,
             variant);
    check_ok(ql_safetensors_open(&from, check_shared(path)));
    snprintf(path, sizeof(path), "%.4000s/adapter_model.safetensors", dir);
    write_after3(path, from);
    ql_safetensors_close(&from);
}
