#include "tests/golden/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/model/labels.h"
#include "tests/check/check.h"

const ql_tensor *reference_need(const ql_safetensors *f, const char *name)
{
    const ql_tensor *t = ql_safetensors_find(f, name);

    if (!t) {
        fail_msg("the golden file has no %s", name);
    }
    return t;
}

int64_t reference_integer(const ql_tensor *t, size_t i)
{
    int64_t x;

    memcpy(&x, t->data + 8 * i, 8);
    return x;
}

double *reference_doubles(const ql_safetensors *f, const char *name)
{
    const ql_tensor *t = reference_need(f, name);
    double *out = malloc(t->elements * sizeof(double));

    assert_int_equal(t->dtype, QL_DTYPE_F64);
    memcpy(out, t->data, t->bytes);
    return out;
}

const char *reference_path(const char *dir, const char *name)
{
    static char paths[8][4200];
    static size_t next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%.4000s/%s", dir, name);
    return path;
}

bool reference_elsewhere(void)
{
    const char *elsewhere = getenv("QL_GOLDEN_MODELS");

    return elsewhere && *elsewhere;
}

const char *reference_models(void)
{
    return reference_elsewhere() ? getenv("QL_GOLDEN_MODELS")
                                 : check_shared("golden/models");
}

static bool is_classifier(const char *dir)
{
    ql_labels labels;
    bool is;

    check_ok(ql_labels_init(&labels, dir));
    is = labels.n > 0;
    ql_labels_free(&labels);
    return is;
}

/* Checks the folders that are classifiers, or those that are not. */
static size_t check_some(const char *where, bool classifiers,
                         void (*check)(const char *dir))
{
    char dir[4000];
    char **names;
    size_t n;
    size_t found = 0;

    snprintf(dir, sizeof(dir), "%s", where); /* a buffer used in turn */
    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char sub[4300];

        snprintf(sub, sizeof(sub), "%s/%s", dir, names[i]);
        if (ql_path_exists(reference_path(sub, "golden.safetensors")) &&
            is_classifier(sub) == classifiers) {
            check(sub);
            found++;
        }
    }
    ql_dir_list_free(names, n);
    return found;
}

static void is_there(const char *dir)
{
    (void)dir;
}

void reference_each(const char *where, void (*check)(const char *dir))
{
    if (check_some(where, false, check) == 0) {
        assert_true(check_some(where, true, is_there) > 0); /* only such */
    }
}

size_t reference_classifiers(const char *where, void (*check)(const char *dir))
{
    return check_some(where, true, check);
}

/* Adds row r of the padded batch: its tokens under the mask. */
static void add_row(reference_rows *b, const ql_safetensors *f, size_t r,
                    size_t width)
{
    const ql_tensor *ids = reference_need(f, "input_ids");
    const ql_tensor *mask = reference_need(f, "attention_mask");
    const ql_tensor *labels = reference_need(f, "labels");
    const ql_tensor *types = ql_safetensors_find(f, "token_type_ids");
    const bool classes = labels->rank == 1;

    for (size_t i = 0; i < width; i++) {
        const size_t at = r * width + i;
        const int64_t next = classes && i == 0 ? reference_integer(labels, r)
                             : !classes && i + 1 < width
                                 ? reference_integer(labels, at + 1)
                                 : -100;

        if (reference_integer(mask, at) == 0) {
            break;
        }
        b->ids[b->batch.T] = (int32_t)reference_integer(ids, at);
        b->target[b->batch.T] = next >= 0 ? (int32_t)next : -1;
        b->place[b->batch.T] = at;
        b->type[b->batch.T] = types ? (uint8_t)reference_integer(types, at) : 0;
        b->trained += next >= 0;
        b->batch.T++;
    }
    b->start[r + 1] = b->batch.T;
    b->batch.sequences = r + 1;
}

void reference_rows_load(reference_rows *b, const ql_safetensors *f)
{
    const ql_tensor *ids = reference_need(f, "input_ids");

    *b = (reference_rows){0};
    assert_true(ids->shape[0] <= REFERENCE_ROWS);
    b->ids = malloc(ids->elements * sizeof(int32_t));
    b->target = malloc(ids->elements * sizeof(int32_t));
    b->place = malloc(ids->elements * sizeof(size_t));
    b->type = malloc(ids->elements);
    for (size_t r = 0; r < ids->shape[0]; r++) {
        add_row(b, f, r, ids->shape[1]);
    }
    b->batch.ids = b->ids;
    b->batch.target = b->target;
    b->batch.type = b->type;
    b->batch.start = b->start;
}

void reference_rows_free(reference_rows *b)
{
    free(b->ids);
    free(b->target);
    free(b->place);
    free(b->type);
}

/* Adds a text to a list under construction, the last one that was begun. */
static void add_name(reference_adapter *a, ql_list *list, const char *text)
{
    assert_true(a->n < REFERENCE_NAMES);
    snprintf(a->texts[a->n], sizeof(a->texts[0]), "%s", text);
    a->names[a->n] = a->texts[a->n];
    if (list->n++ == 0) {
        list->items = &a->names[a->n];
    }
    a->n++;
}

/* A list of names, or one. */
static void add_names(reference_adapter *a, ql_list *list, const json_t *v)
{
    if (json_is_string(v)) {
        add_name(a, list, json_string_value(v));
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *e = json_array_get(v, i);
        char number[32];

        snprintf(number, sizeof(number), "%lld",
                 (long long)json_integer_value(e));
        add_name(a, list, json_is_string(e) ? json_string_value(e) : number);
    }
}

static void add_pattern(reference_adapter *a, ql_list *list, json_t *v)
{
    const char *key;
    json_t *x;

    json_object_foreach(v, key, x)
    {
        char text[128];

        snprintf(text, sizeof(text), "%s=%g", key, json_number_value(x));
        add_name(a, list, text);
    }
}

static void read_config(reference_adapter *a, const char *path)
{
    const json_t *c;
    json_t *list;

    check_ok(ql_json_load(&a->root, path, 1 << 20));
    c = json_object_get(a->root, "adapter_config");
    check_ok(ql_json_size(c, "r", path, &a->o.lora_r));
    check_ok(ql_json_real(c, "lora_alpha", path, &a->o.lora_alpha));
    check_ok(ql_json_bool(c, "use_rslora", path, &a->o.use_rslora));
    check_ok(ql_json_bool(c, "use_dora", path, &a->o.use_dora));
    add_names(a, &a->o.lora_target_modules,
              json_object_get(c, "target_modules"));
    add_names(a, &a->o.modules_to_save, json_object_get(c, "modules_to_save"));
    list = json_object_get(c, "layers_to_transform");
    add_names(a, &a->o.layers_to_transform, list);
    add_pattern(a, &a->o.rank_pattern, json_object_get(c, "rank_pattern"));
    add_pattern(a, &a->o.alpha_pattern, json_object_get(c, "alpha_pattern"));
}

void reference_adapter_load(reference_adapter *a, const char *json,
                            const ql_safetensors *f, const ql_arch *arch)
{
    *a = (reference_adapter){0};
    ql_train_options_init(&a->o);
    a->o.lora_r = 4;
    a->o.lora_alpha = 8;
    a->o.lora_dropout = 0;
    if (json) {
        read_config(a, json);
        return;
    }
    for (int m = 0; m < QL_MODULES; m++) {
        char path[200];
        char name[300];

        ql_arch_path(arch, 0, (ql_module)m, path, sizeof(path));
        snprintf(name, sizeof(name), "init.base_model.model.%s.lora_A.weight",
                 path);
        if (ql_safetensors_find(f, name)) {
            add_name(a, &a->o.lora_target_modules, ql_name_leaf(path));
        }
    }
}

void reference_adapter_free(reference_adapter *a)
{
    json_decref(a->root);
}

void reference_name(const ql_adapter *a, size_t i, const char *prefix,
                    char *name, size_t bytes)
{
    const ql_part part = a->tensors[i].part;
    char saved[256];
    char *leaf;

    ql_adapter_name(a, i, saved, sizeof(saved));
    leaf = strrchr(saved, '.');
    if (part == QL_PART_WHOLE) {
        snprintf(name, bytes, "%s%.*s.modules_to_save%s", prefix,
                 (int)(leaf - saved), saved, leaf);
    } else {
        snprintf(name, bytes, "%s%s%s", prefix, saved,
                 part == QL_PART_MAGNITUDE ? ".weight" : "");
    }
}

/* Biases of keys have gradients that are small differences of large terms:
 * what a bias adds to all scores of a query alike does nothing, and turned keys
 * of a narrow window are nearly alike. */
double reference_tolerance(const ql_adapter *a, size_t i)
{
    const ql_site s = a->entries[a->tensors[i].entry].site;

    return s.place == QL_PLACE_BLOCK && s.module == QL_MODULE_K && s.bias
               ? 3e-5
               : 5e-6;
}

void reference_adapter_init(ql_adapter *a, const ql_safetensors *f)
{
    char name[300];

    for (size_t i = 0; i < a->n_tensors; i++) {
        const ql_tensor *t;

        reference_name(a, i, "init.", name, sizeof(name));
        t = reference_need(f, name);
        assert_int_equal(t->elements, a->sizes[i]);
        check_ok(ql_tensor_to_f32(a->param + a->tensors[i].at, t));
    }
}

size_t reference_longest(const ql_batch *b)
{
    size_t longest = 0;

    for (size_t s = 0; s < b->sequences; s++) {
        const size_t n = b->start[s + 1] - b->start[s];

        longest = n > longest ? n : longest;
    }
    return longest;
}

ql_run *reference_run(ql_model *m, const ql_batch *b, size_t keep)
{
    const ql_run_options opt = {.max_tokens = b->T,
                                .max_length = reference_longest(b),
                                .max_sequences = b->sequences,
                                .training = true,
                                .keep_layers = keep};
    ql_run *run = NULL;

    check_ok(ql_run_open(&run, m, &opt));
    return run;
}

ql_tokenizer *reference_tok;

int reference_tok_setup(void **state)
{
    (void)state;
    check_ok(
        ql_tokenizer_open(&reference_tok, check_shared("models/stories3M")));
    return 0;
}

int reference_tok_teardown(void **state)
{
    (void)state;
    ql_tokenizer_close(&reference_tok);
    return 0;
}
