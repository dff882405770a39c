#include "src/model/labels.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/model/arch.h"

enum {
    MAX_LABELS = 1 << 16,
    MAX_CONFIG_BYTES = 16 << 20
};

static ql_status make_room(ql_labels *l, size_t n, const char *path)
{
    if (n < 2 || n > MAX_LABELS) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: a head with %zu labels is not supported: a classifier has "
                "2 to %d classes, of which a text has one",
                path, n, MAX_LABELS);
    }
    l->name = ql_calloc(QL_TAG_MISC, n, sizeof(*l->name));
    l->n = l->name ? n : 0;
    return l->name ? QL_OK : QL_ENOMEM;
}

/* Classes by their numbers, {"0": "bad", "1": "good"}. */
static ql_status read_names(ql_labels *l, const json_t *names, const char *path)
{
    QL_TRY(make_room(l, json_object_size(names), path));
    for (size_t i = 0; i < l->n; i++) {
        char key[24];
        const char *name;

        snprintf(key, sizeof(key), "%zu", i);
        name = json_string_value(json_object_get(names, key));
        if (!name) {
            QL_FAIL(QL_EFORMAT,
                    "%s: \"id2label\" must name the classes 0 to "
                    "%zu by strings",
                    path, l->n - 1);
        }
        l->name[i] = ql_strdup(QL_TAG_MISC, name);
        QL_TRY(l->name[i] ? QL_OK : QL_ENOMEM);
    }
    return QL_OK;
}

static ql_status number_names(ql_labels *l, size_t n, const char *path)
{
    QL_TRY(make_room(l, n, path));
    for (size_t i = 0; i < l->n; i++) {
        char name[32];

        snprintf(name, sizeof(name), "LABEL_%zu", i);
        l->name[i] = ql_strdup(QL_TAG_MISC, name);
        QL_TRY(l->name[i] ? QL_OK : QL_ENOMEM);
    }
    return QL_OK;
}

ql_status ql_labels_read(ql_labels *l, const json_t *config, const char *path)
{
    static const char one[] = "single_label_classification";
    const json_t *names = json_object_get(config, "id2label");
    const char *kind = one;
    size_t n = 2;
    ql_status st;

    *l = (ql_labels){.longest = 512};
    QL_TRY(ql_json_string(config, "problem_type", path, &kind));
    if (strcmp(kind, one) != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"problem_type\" %s is not supported; known is %s", path,
                kind, one);
    }
    QL_TRY(ql_json_size(config, "num_labels", path, &n));
    QL_TRY(ql_json_size(config, "max_position_embeddings", path, &l->longest));
    st = json_is_object(names) ? read_names(l, names, path)
                               : number_names(l, n, path);
    if (st != QL_OK) {
        ql_labels_free(l);
    }
    return st;
}

ql_status ql_labels_init(ql_labels *l, const char *dir)
{
    char *path = ql_path_join(dir, "config.json");
    json_t *config = NULL;
    const char *type = NULL;
    const ql_arch *arch;
    ql_status st = path ? QL_OK : QL_ENOMEM;

    *l = (ql_labels){0};
    if (st == QL_OK && ql_path_exists(path) &&
        ql_json_load(&config, path, MAX_CONFIG_BYTES) == QL_OK) {
        type = json_string_value(json_object_get(config, "model_type"));
        arch = type ? ql_arch_find(type) : NULL;
        st = arch && arch->classifier ? ql_labels_read(l, config, path) : QL_OK;
    }
    json_decref(config);
    ql_free(path);
    return st;
}

void ql_labels_free(ql_labels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        ql_free(l->name[i]);
    }
    ql_free(l->name);
    *l = (ql_labels){0};
}

size_t ql_labels_find(const ql_labels *l, const char *name)
{
    size_t i = 0;

    while (i < l->n && strcmp(l->name[i], name) != 0) {
        i++;
    }
    return i;
}
