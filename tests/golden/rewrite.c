#include "tests/golden/rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/names.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"
#include "tests/golden/reference.h"

enum {
    NAME_BYTES = 400,
    TEXT_BYTES = 4096,
    ZEROS = 64 /* elements of a tensor that is added */
};

/* One way through all tensors: they are announced, then written. */
typedef struct pass {
    const rewrite *how;
    const ql_safetensors *f;
    ql_safetensors_writer *w;
    bool data;
} pass;

static void put(const pass *p, const ql_tensor *t)
{
    check_ok(p->data ? ql_safetensors_writer_put(p->w, t->name, t->data)
                     : ql_safetensors_writer_add(p->w, t->name, t->dtype,
                                                 t->shape, t->rank));
}

/* A tensor beside a weight; NULL: there is none. */
static const ql_tensor *beside(const pass *p, const char *weight,
                               const char *suffix)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%.300s.%s", weight, suffix);
    return ql_safetensors_find(p->f, name);
}

static const ql_tensor *state_of(const pass *p, const char *weight)
{
    const ql_tensor *nf4 = beside(p, weight, "quant_state.bitsandbytes__nf4");

    return nf4 ? nf4 : beside(p, weight, "quant_state.bitsandbytes__fp4");
}

static float float_at(const ql_tensor *t, size_t i)
{
    float x;

    memcpy(&x, t->data + i * sizeof(x), sizeof(x));
    return x;
}

/* By the definition of the format; what it stands for in F32. */
static float decode(const pass *p, const ql_tensor *t, const json_t *state,
                    size_t i)
{
    const size_t block =
        (size_t)json_integer_value(json_object_get(state, "blocksize"));
    const json_t *offset = json_object_get(state, "nested_offset");
    const ql_tensor *absmax = beside(p, t->name, "absmax");
    const unsigned byte = t->data[i / 2];
    const float code = float_at(beside(p, t->name, "quant_map"),
                                i % 2 == 0 ? byte >> 4 : byte & 15);
    size_t outer;

    if (!offset) {
        return code * float_at(absmax, i / block);
    }
    outer =
        i / block /
        (size_t)json_integer_value(json_object_get(state, "nested_blocksize"));
    return code * (float_at(beside(p, t->name, "nested_quant_map"),
                            absmax->data[i / block]) *
                       float_at(beside(p, t->name, "nested_absmax"), outer) +
                   (float)json_real_value(offset));
}

/* A 4-bit weight, as F32 under the name. */
static void put_dense(const pass *p, const ql_tensor *t, const char *name)
{
    const ql_tensor *text = state_of(p, t->name);
    json_t *state = NULL;
    const json_t *shape;
    float *x;
    ql_tensor out = {.name = name, .dtype = QL_DTYPE_F32, .rank = 2};

    check_ok(ql_json_parse(&state, (const char *)text->data, text->bytes,
                           text->name));
    assert_string_equal(json_string_value(json_object_get(state, "dtype")),
                        "float32");
    shape = json_object_get(state, "shape");
    out.shape[0] = (size_t)json_integer_value(json_array_get(shape, 0));
    out.shape[1] = (size_t)json_integer_value(json_array_get(shape, 1));
    out.elements = out.shape[0] * out.shape[1];
    x = malloc(out.elements * sizeof(*x));
    for (size_t i = 0; p->data && i < out.elements; i++) {
        x[i] = decode(p, t, state, i);
    }
    out.data = (const unsigned char *)x;
    put(p, &out);
    free(x);
    json_decref(state);
}

/* The weight that a tensor stands beside, in weight: "NAME.absmax". */
static bool is_beside(const pass *p, const char *name, char *weight)
{
    const char *end = strstr(name, ".weight.");

    snprintf(weight, NAME_BYTES, "%.*s",
             end ? (int)(end - name) + (int)strlen(".weight") : 0, name);
    return end && state_of(p, weight);
}

static void put_one(const pass *p, const ql_tensor *t)
{
    const rewrite *how = p->how;
    const size_t n = how->from ? strlen(how->from) : 0;
    const bool renamed = how->from && strncmp(t->name, how->from, n) == 0;
    ql_tensor out = *t;
    char weight[NAME_BYTES];
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s%s", renamed ? how->to : "",
             t->name + (renamed ? n : 0));
    out.name = name;
    if (how->dense && is_beside(p, t->name, weight) &&
        strstr(weight, how->dense)) {
        return;
    }
    if (!state_of(p, t->name)) {
        put(p, &out);
        return;
    }
    if (how->dense && strstr(t->name, how->dense)) {
        put_dense(p, t, name);
        return;
    }
    if (how->packed_as) {
        out.dtype = how->storage;
        out.shape[0] = t->bytes * 8 / ql_dtype_bits(how->storage);
    }
    put(p, &out);
}

static void put_more(const pass *p)
{
    static const float zeros[ZEROS];
    char names[TEXT_BYTES];
    char *rest;
    ql_tensor t = {.dtype = QL_DTYPE_F32,
                   .rank = 1,
                   .shape = {ZEROS},
                   .data = (const unsigned char *)zeros};

    snprintf(names, sizeof(names), "%s", p->how->more ? p->how->more : "");
    for (char *name = strtok_r(names, " ", &rest); name;
         name = strtok_r(NULL, " ", &rest)) {
        t.name = name;
        put(p, &t);
    }
    if (p->how->copy) {
        t = *ql_safetensors_find(p->f, p->how->copy);
        t.name = p->how->as;
        put(p, &t);
    }
}

/* The name of t with one word of it replaced. */
static void reword(char *name, const char *t, const char *from, const char *to)
{
    const char *at = strstr(t, from);

    assert_non_null(at);
    snprintf(name, NAME_BYTES, "%.*s%s%s", (int)(at - t), t, to,
             at + strlen(from));
}

/* Tensors of the names that t has with each part in place of the word, as one
 * of the name with whole; from t on, which has the first. */
static void put_joined(const pass *p, const ql_tensor *t, char **part, size_t n)
{
    unsigned char *data = malloc(n * 3 * t->bytes);
    char name[NAME_BYTES];
    ql_tensor out = *t;

    out.bytes = out.shape[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const ql_tensor *from;

        reword(name, t->name, part[0], part[i]);
        from = reference_need(p->f, name);
        assert_true(from->bytes <= t->bytes);
        memcpy(data + out.bytes, from->data, from->bytes);
        out.bytes += from->bytes;
        out.shape[0] += from->shape[0];
    }
    reword(name, t->name, part[0], p->how->whole);
    out.name = name;
    out.data = data;
    put(p, &out);
    free(data);
}

static void put_apart(const pass *p, const ql_tensor *t, char **part, size_t n)
{
    const size_t row = t->bytes / t->shape[0];
    char name[NAME_BYTES];
    ql_tensor out = *t;

    for (size_t i = 0; i < n; i++) {
        reword(name, t->name, p->how->whole, part[i]);
        out.name = name;
        out.shape[0] = p->how->rows[i];
        put(p, &out);
        out.data += row * out.shape[0];
    }
}

/* False: the tensor is of no such matrix. */
static bool put_fused(const pass *p, const ql_tensor *t)
{
    char text[NAME_BYTES];
    char *part[4];
    size_t n = 0;
    char *rest;

    if (!p->how->whole) {
        return false;
    }
    snprintf(text, sizeof(text), "%s", p->how->parts);
    for (char *w = strtok_r(text, " ", &rest); w;
         w = strtok_r(NULL, " ", &rest)) {
        part[n++] = w;
    }
    if (p->how->rows[0] > 0 && strstr(t->name, p->how->whole)) {
        put_apart(p, t, part, n);
        return true;
    }
    for (size_t i = 0; p->how->rows[0] == 0 && i < n; i++) {
        if (strstr(t->name, part[i])) {
            if (i == 0) {
                put_joined(p, t, part, n);
            }
            return true;
        }
    }
    return false;
}

static void put_all(const pass *p)
{
    for (size_t i = 0; i < ql_safetensors_count(p->f); i++) {
        if (!put_fused(p, ql_safetensors_at(p->f, i))) {
            put_one(p, ql_safetensors_at(p->f, i));
        }
    }
    put_more(p);
}

static void write_tensors(const char *from, const char *dir, const rewrite *how)
{
    ql_safetensors *f = NULL;
    pass p = {.how = how};

    check_ok(
        ql_safetensors_open(&f, reference_path(from, "model.safetensors")));
    check_ok(ql_safetensors_writer_open(
        &p.w, reference_path(dir, "model.safetensors")));
    p.f = f;
    put_all(&p);
    check_ok(ql_safetensors_writer_begin(p.w));
    p.data = true;
    put_all(&p);
    check_ok(ql_safetensors_writer_commit(p.w));
    ql_safetensors_writer_close(&p.w);
    ql_safetensors_close(&f);
}

static void write_config(const char *from, const char *dir, const char *edits)
{
    char text[TEXT_BYTES];
    json_t *config = NULL;
    json_t *set;
    json_t *value;
    const char *key;
    char *out;

    check_ok(
        ql_json_load(&config, reference_path(from, "config.json"), 1 << 20));
    snprintf(text, sizeof(text), "%s", edits ? edits : "{}");
    for (char *c = text; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    set = json_loads(text, 0, NULL);
    assert_non_null(set);
    json_object_foreach(set, key, value)
    {
        if (json_is_string(value) &&
            strcmp(json_string_value(value), "-") == 0) {
            assert_int_equal(json_object_del(config, key), 0);
        } else {
            json_object_set(config, key, value);
        }
    }
    out = json_dumps(config, JSON_INDENT(1));
    check_ok(
        ql_file_write(reference_path(dir, "config.json"), out, strlen(out)));
    free(out);
    json_decref(set);
    json_decref(config);
}

void rewrite_folder(const char *from, const char *dir, const rewrite *how)
{
    char **names;
    size_t n;

    check_ok(ql_dir_remove(dir));
    check_ok(ql_dir_make(dir));
    check_ok(ql_dir_list(from, &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "config.json") != 0 &&
            strcmp(names[i], "model.safetensors") != 0) {
            check_ok(ql_file_copy(reference_path(from, names[i]),
                                  reference_path(dir, names[i])));
        }
    }
    ql_dir_list_free(names, n);
    write_config(from, dir, how->config);
    write_tensors(from, dir, how);
}
