#include "src/text/chat_file.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"

enum {
    FILE_BYTES = 1 << 26
};

void ql_chat_source_free(ql_chat_source *s)
{
    ql_free(s->text);
    ql_free(s->where);
    *s = (ql_chat_source){0};
}

/* What is looked for, and the search's outcome. */
typedef struct search {
    const char *dir;
    const char *name; /* NULL: the folder's choice */
    bool tools;
    bool named; /* there is a template, whatever its name */
    int best;   /* rank of the one in found; 0: none */
    ql_chat_source *found;
} search;

/* How good a template of this name is; 0 for one that is not wanted. */
static int rank(const search *s, const char *name)
{
    if (s->name) {
        return strcmp(name, s->name) == 0;
    }
    if (s->tools && strcmp(name, "tool_use") == 0) {
        return 2;
    }
    return strcmp(name, "default") == 0;
}

/* Keeps a template if it is better than what was found before. */
static ql_status offer(search *s, const char *name, const char *text,
                       size_t len, const char *where)
{
    const int r = rank(s, name);

    s->named = true;
    if (r <= s->best) {
        return QL_OK;
    }
    ql_chat_source_free(s->found);
    s->found->text = ql_strndup(QL_TAG_TEXT, text, len);
    s->found->len = len;
    s->found->where = ql_strdup(QL_TAG_TEXT, where);
    s->best = r;
    return s->found->text && s->found->where ? QL_OK : QL_ENOMEM;
}

static ql_status offer_file(search *s, const char *name, const char *path)
{
    char *text = NULL;
    size_t len;
    ql_status st = ql_file_read(path, FILE_BYTES, &text, &len);

    if (st == QL_OK) {
        st = offer(s, name, text, len, path);
    }
    ql_free(text);
    return st;
}

/* A file of the additional ones; name is cut where its suffix begins. */
static ql_status offer_additional(search *s, const char *dir, char *name)
{
    const size_t n = strlen(name);
    const char *suffix = ".jinja";
    const size_t m = strlen(suffix);
    char *path;
    ql_status st;

    if (n <= m || strcmp(name + n - m, suffix) != 0) {
        return QL_OK;
    }
    path = ql_path_join(dir, name);
    if (!path) {
        return QL_ENOMEM;
    }
    name[n - m] = '\0';
    st = offer_file(s, name, path);
    ql_free(path);
    return st;
}

static ql_status search_additional(search *s)
{
    char *dir = ql_path_join(s->dir, "additional_chat_templates");
    char **names = NULL;
    size_t n = 0;
    ql_status st = dir ? QL_OK : QL_ENOMEM;

    if (dir && ql_path_is_dir(dir)) {
        st = ql_dir_list(dir, &names, &n);
    }
    for (size_t i = 0; i < n && st == QL_OK; i++) {
        st = offer_additional(s, dir, names[i]);
    }
    ql_dir_list_free(names, n);
    ql_free(dir);
    return st;
}

static ql_status search_files(search *s)
{
    char *path = ql_path_join(s->dir, "chat_template.jinja");
    ql_status st = path ? QL_OK : QL_ENOMEM;

    if (path && ql_path_exists(path)) {
        st = offer_file(s, "default", path);
    }
    ql_free(path);
    return st == QL_OK ? search_additional(s) : st;
}

/* One template of the key; item is NULL where it is the only one. */
static ql_status offer_value(search *s, const json_t *item,
                             const json_t *template, const char *path)
{
    const json_t *name = json_object_get(item, "name");
    const char *called = json_string_value(name);
    ql_status st;
    ql_buf where;

    if (!json_is_string(template) || (item && !called)) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"chat_template\" must be a string, or a list of "
                "{\"name\", \"template\"}",
                path);
    }
    ql_buf_init(&where, QL_TAG_TEXT, FILE_BYTES);
    st = called
             ? ql_buf_printf(&where, "%s, chat template \"%s\"", path, called)
             : ql_buf_printf(&where, "%s, chat template", path);
    if (st == QL_OK) {
        st = offer(s, called ? called : "default", json_string_value(template),
                   json_string_length(template), where.data);
    }
    ql_buf_free(&where);
    return st;
}

static ql_status offer_values(search *s, const json_t *v, const char *path)
{
    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_array(v)) {
        return offer_value(s, NULL, v, path);
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);

        if (!json_is_object(item)) {
            return offer_value(s, item, NULL, path);
        }
        QL_TRY(offer_value(s, item, json_object_get(item, "template"), path));
    }
    return QL_OK;
}

static ql_status search_json(search *s, const char *name)
{
    json_t *root;
    char *path;
    ql_status st =
        ql_json_load_optional(&root, &path, s->dir, name, FILE_BYTES);

    if (st == QL_OK) {
        st = offer_values(s, json_object_get(root, "chat_template"), path);
    }
    json_decref(root);
    ql_free(path);
    return st;
}

static ql_status search_folder(search *s)
{
    QL_TRY(search_files(s));
    if (!s->named) {
        QL_TRY(search_json(s, "tokenizer_config.json"));
    }
    if (!s->named) {
        QL_TRY(search_json(s, "chat_template.json"));
    }
    if (s->best > 0) {
        return QL_OK;
    }
    if (s->name) {
        QL_FAIL(QL_ENOTFOUND,
                "%s: there is no file and no chat template of the model in %s "
                "by this name",
                s->name, s->dir);
    }
    if (s->named) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: none of the chat templates is named \"default\"; say by "
                "its name which to use",
                s->dir);
    }
    QL_FAIL(QL_ENOTFOUND, "%s: the model has no chat template; give one",
            s->dir);
}

ql_status ql_chat_source_find(ql_chat_source *s, const char *dir,
                              const char *given, bool tools)
{
    search q = {.dir = dir, .name = given, .tools = tools, .found = s};
    ql_status st;

    *s = (ql_chat_source){0};
    if (given && strchr(given, '{')) {
        q.name = NULL;
        st = offer(&q, "default", given, strlen(given), "the chat template");
    } else if (given && ql_path_exists(given) && !ql_path_is_dir(given)) {
        q.name = NULL;
        st = offer_file(&q, "default", given);
    } else {
        st = search_folder(&q);
    }
    if (st != QL_OK) {
        ql_chat_source_free(s);
    }
    return st;
}

/* A token as a string, or as {"content": ...}. NULL for anything else. */
static json_t *content_of(json_t *v)
{
    json_t *s = json_is_object(v) ? json_object_get(v, "content") : v;

    return json_is_string(s) ? s : NULL;
}

static ql_status put(json_t *out, const char *key, json_t *v)
{
    return json_object_set(out, key, v) == 0
               ? QL_OK
               : ql_fail(QL_ENOMEM, "out of memory for special tokens");
}

static ql_status put_list(json_t *out, const char *key, const json_t *list,
                          const char *path)
{
    json_t *contents = json_array();
    ql_status st = QL_OK;

    for (size_t i = 0; i < json_array_size(list) && st == QL_OK; i++) {
        json_t *s = content_of(json_array_get(list, i));

        if (!s) {
            st = ql_fail(QL_EFORMAT, "%s: \"%s\" must be a list of tokens",
                         path, key);
        } else if (json_array_append(contents, s) != 0) {
            st = ql_fail(QL_ENOMEM, "out of memory for special tokens");
        }
    }
    if (st == QL_OK) {
        st = put(out, key, contents);
    }
    json_decref(contents);
    return st;
}

static const char *const names[] = {"bos_token", "eos_token", "unk_token",
                                    "sep_token", "pad_token", "cls_token",
                                    "mask_token"};

/* Tokens that models have beside the usual ones: {"image_token": ...}. */
static ql_status put_extra(json_t *out, json_t *extra, const char *path)
{
    for (void *it = json_object_iter(extra); it;
         it = json_object_iter_next(extra, it)) {
        const char *key = json_object_iter_key(it);
        json_t *s = content_of(json_object_iter_value(it));

        if (!s) {
            QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be a token", path, key);
        }
        QL_TRY(put(out, key, s));
    }
    return QL_OK;
}

/* Takes over the tokens of a file that are not known yet, a null included. */
static ql_status put_tokens(json_t *out, const json_t *root, const char *path)
{
    const char *more = "additional_special_tokens";
    const json_t *list = json_object_get(root, more);

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        json_t *v = json_object_get(root, names[i]);
        json_t *s = json_is_null(v) ? v : content_of(v);

        if (!v || json_object_get(out, names[i])) {
            continue;
        }
        if (!s) {
            QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be a token", path, names[i]);
        }
        QL_TRY(put(out, names[i], s));
    }
    if (json_is_array(list) && !json_object_get(out, more)) {
        QL_TRY(put_list(out, more, list, path));
    }
    return put_extra(out, json_object_get(root, "extra_special_tokens"), path);
}

static ql_status read_file(json_t *out, const char *dir, const char *name)
{
    json_t *root;
    char *path;
    ql_status st = ql_json_load_optional(&root, &path, dir, name, FILE_BYTES);

    if (st == QL_OK) {
        st = put_tokens(out, root, path);
    }
    json_decref(root);
    ql_free(path);
    return st;
}

/* A token that a file calls null is none: the variable does not exist. */
static void drop_nulls(json_t *tokens)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (json_is_null(json_object_get(tokens, names[i]))) {
            json_object_del(tokens, names[i]);
        }
    }
}

ql_status ql_chat_tokens_read(json_t **out, const char *dir)
{
    json_t *tokens = json_object();
    ql_status st;

    *out = NULL;
    if (!tokens) {
        QL_FAIL(QL_ENOMEM, "out of memory for special tokens");
    }
    st = read_file(tokens, dir, "tokenizer_config.json");
    if (st == QL_OK) {
        st = read_file(tokens, dir, "special_tokens_map.json");
    }
    if (st != QL_OK) {
        json_decref(tokens);
        return st;
    }
    drop_nulls(tokens);
    *out = tokens;
    return QL_OK;
}
