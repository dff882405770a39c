#include "src/convert/adapter_texts.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/convert/adapter_folder.h"
#include "src/convert/adapter_settings.h"
#include "src/format/names.h"

enum {
    LISTS = 5,
    MAX_TEXT = 1 << 16
};

/* Texts of one list; n are filled in. */
typedef struct text_list {
    char **items;
    size_t n;
} text_list;

struct ql_adapter_texts {
    text_list list[LISTS];
};

static ql_status make_room(text_list *t, size_t n)
{
    t->items = ql_calloc(QL_TAG_MISC, n, sizeof(*t->items));
    return t->items ? QL_OK : QL_ENOMEM;
}

static ql_status add(text_list *t, const char *text)
{
    t->items[t->n] = ql_strdup(QL_TAG_MISC, text);
    return t->items[t->n++] ? QL_OK : QL_ENOMEM;
}

/* A number as JSON has it, behind key and a sign of equality where there is a
 * key. */
static ql_status add_number(text_list *t, const char *key, const json_t *v)
{
    ql_status st;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, MAX_TEXT);
    QL_TRY_DONE(key ? ql_buf_printf(&b, "%s=", key) : QL_OK);
    QL_TRY_DONE(
        json_is_integer(v)
            ? ql_buf_printf(&b, "%lld", (long long)json_integer_value(v))
            : ql_json_put_real(&b, json_number_value(v)));
    QL_TRY_DONE(ql_buf_puts(&b, ""));
    st = add(t, b.data);
done:
    ql_buf_free(&b);
    return st;
}

/* A text, a number, or a list of them. */
static ql_status add_list(text_list *t, const json_t *v)
{
    const size_t n = ql_json_count(v);

    QL_TRY(make_room(t, n));
    for (size_t i = 0; i < n; i++) {
        const json_t *e = ql_json_item(v, i);

        QL_TRY(json_is_string(e) ? add(t, json_string_value(e))
                                 : add_number(t, NULL, e));
    }
    return QL_OK;
}

static ql_status add_pattern(text_list *t, json_t *v)
{
    const char *key;
    json_t *x;

    QL_TRY(make_room(t, json_object_size(v)));
    json_object_foreach(v, key, x)
    {
        QL_TRY(add_number(t, key, x));
    }
    return QL_OK;
}

static ql_status read_lists(ql_adapter_texts *t, const json_t *c)
{
    QL_TRY(add_list(&t->list[0], json_object_get(c, "target_modules")));
    QL_TRY(add_list(&t->list[1], json_object_get(c, "modules_to_save")));
    QL_TRY(add_list(&t->list[2], json_object_get(c, "layers_to_transform")));
    QL_TRY(add_pattern(&t->list[3], json_object_get(c, "rank_pattern")));
    return add_pattern(&t->list[4], json_object_get(c, "alpha_pattern"));
}

static void hand_out(const ql_adapter_texts *t, ql_train_options *o)
{
    ql_list *const lists[LISTS] = {
        &o->lora_target_modules, &o->modules_to_save, &o->layers_to_transform,
        &o->rank_pattern,        &o->alpha_pattern,
    };

    for (size_t i = 0; i < LISTS; i++) {
        *lists[i] =
            (ql_list){(const char *const *)t->list[i].items, t->list[i].n};
    }
}

ql_status ql_adapter_texts_open(ql_adapter_texts **out, const json_t *config,
                                const char *where, ql_train_options *o)
{
    ql_adapter_texts *t = ql_calloc(QL_TAG_MISC, 1, sizeof(*t));
    ql_status st;

    *out = NULL;
    if (!t) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_json_size(config, "r", where, &o->lora_r));
    QL_TRY_DONE(ql_json_real(config, "lora_alpha", where, &o->lora_alpha));
    QL_TRY_DONE(ql_json_real(config, "lora_dropout", where, &o->lora_dropout));
    QL_TRY_DONE(ql_json_bool(config, "use_rslora", where, &o->use_rslora));
    QL_TRY_DONE(ql_json_bool(config, "use_dora", where, &o->use_dora));
    QL_TRY_DONE(read_lists(t, config));
    hand_out(t, o);
    *out = t;
    t = NULL;
done:
    ql_adapter_texts_close(&t);
    return st;
}

void ql_adapter_texts_close(ql_adapter_texts **texts)
{
    for (size_t i = 0; *texts && i < LISTS; i++) {
        for (size_t j = 0; j < (*texts)->list[i].n; j++) {
            ql_free((*texts)->list[i].items[j]);
        }
        ql_free((*texts)->list[i].items);
    }
    ql_free(*texts);
    *texts = NULL;
}

/* What an adapter_config.json would say of a folder of MLX's. */
static json_t *describe(const ql_adapter_folder *f)
{
    return json_pack("{si sf sf sb}", "r", (int)f->r, "lora_alpha", f->alpha,
                     "lora_dropout", f->dropout, "use_dora", (int)f->dora);
}

/* The modules are those that target_modules names, and all of them. */
static bool names_modules(const json_t *config)
{
    const json_t *targets = json_object_get(config, "target_modules");
    const json_t *excluded = json_object_get(config, "exclude_modules");
    const char *text = json_string_value(targets);

    return json_array_size(excluded) == 0 && !json_is_string(excluded) &&
           (json_array_size(targets) > 0 ||
            (text && strcmp(text, "all-linear") != 0));
}

static bool stands_for_pair(const ql_adapter_folder *f, const char *name)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        if (ql_name_ends_path(f->pairs[i].path, name)) {
            return true;
        }
    }
    return false;
}

static bool stands_for_whole(const ql_adapter_folder *f, const char *name)
{
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (ql_adapter_settings_is_in(f->wholes[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Leaves out of a list what stands for nothing: settings that are used with
 * many models name modules of others, which PEFT reads over. Nonzero: out of
 * memory. */
static int
keep_names(json_t *config, const char *key, const ql_adapter_folder *f,
           bool (*stands)(const ql_adapter_folder *f, const char *name))
{
    const json_t *list = json_object_get(config, key);
    json_t *kept;
    int failed = 0;

    if (!json_is_array(list)) {
        return 0;
    }
    kept = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *name = json_array_get(list, i);

        if (stands(f, json_string_value(name))) {
            failed |= json_array_append(kept, name);
        }
    }
    return json_object_set_new(config, key, kept) | failed;
}

/* The settings of a folder; the modules are named one by one where the settings
 * have no list of them that an option could be. Owned. */
static json_t *settings_of(const ql_adapter_folder *f)
{
    json_t *config = f->settings ? json_copy(f->settings) : describe(f);
    json_t *paths = json_array();
    int failed = keep_names(config, "target_modules", f, stands_for_pair) |
                 keep_names(config, "modules_to_save", f, stands_for_whole);

    for (size_t i = 0; i < f->n_pairs; i++) {
        failed |= json_array_append_new(paths, json_string(f->pairs[i].path));
    }
    if (!failed && !names_modules(config)) {
        failed = json_object_set(config, "target_modules", paths);
    }
    json_decref(paths);
    if (failed) {
        json_decref(config);
    }
    return failed ? NULL : config;
}

ql_status ql_train_options_adapter(ql_train_options *opt, const char *dir,
                                   ql_adapter_texts **texts)
{
    ql_adapter_folder f;
    json_t *config;
    ql_status st;

    *texts = NULL;
    QL_TRY(ql_adapter_folder_init(&f, dir));
    opt->lora_r = f.r; /* what the folder does not say */
    opt->lora_alpha = f.alpha;
    opt->use_rslora = false;
    opt->use_dora = false;
    opt->init_lora_weights = "true";
    opt->lora_dropout = 0;
    opt->adapter = dir;
    config = settings_of(&f);
    st = config ? ql_adapter_texts_open(texts, config, f.path, opt) : QL_ENOMEM;
    json_decref(config);
    ql_adapter_folder_free(&f);
    return st;
}
