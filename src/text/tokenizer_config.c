/* The files beside tokenizer.json: which tokens begin and end a text, whether
 * they are put there, and the chat template.
 *
 * The first file that has something to say about a token decides, a null
 * included: tokenizer_config.json (by content), special_tokens_map.json (by
 * content), config.json and generation_config.json (by id; of a list the
 * first). */
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/tokenizer_handle.h"

enum {
    FILE_BYTES = 1 << 26
};

/* A token given by content, as a string or {"content": ...}, or null. */
static ql_status by_content(const ql_tokenizer *t, const json_t *v,
                            const char *path, const char *key, int32_t *id)
{
    const json_t *s = json_is_object(v) ? json_object_get(v, "content") : v;

    *id = -1;
    if (json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_string(s)) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be a token", path, key);
    }
    *id = ql_vocab_find(&t->vocab, json_string_value(s), json_string_length(s));
    if (*id < 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"%s\" is \"%s\", which tokenizer.json does "
                "not know",
                path, key, json_string_value(s));
    }
    return QL_OK;
}

/* A token given by id, or a list of them, or null. */
static ql_status by_id(const ql_tokenizer *t, const json_t *v, const char *path,
                       const char *key, int32_t *id)
{
    *id = -1;
    if (json_is_null(v)) {
        return QL_OK;
    }
    v = json_is_array(v) ? json_array_get(v, 0) : v;
    if (!json_is_integer(v) ||
        !ql_vocab_get(&t->vocab, json_integer_value(v), NULL)) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be the id of a token", path, key);
    }
    *id = (int32_t)json_integer_value(v);
    return QL_OK;
}

typedef ql_status find_fn(const ql_tokenizer *t, const json_t *v,
                          const char *path, const char *key, int32_t *id);

static const struct {
    const char *file;
    const char *keys[2]; /* of bos and eos */
    find_fn *find;
} sources[] = {
    {"tokenizer_config.json", {"bos_token", "eos_token"}, by_content},
    {"special_tokens_map.json", {"bos_token", "eos_token"}, by_content},
    {"config.json", {"bos_token_id", "eos_token_id"}, by_id},
    {"generation_config.json", {"bos_token_id", "eos_token_id"}, by_id},
};

static ql_status read_tokens(ql_tokenizer *t, const char *dir)
{
    int32_t *const ids[2] = {&t->bos, &t->eos};
    bool decided[2] = {false, false};
    ql_status st = QL_OK;

    t->bos = t->eos = -1;
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        json_t *root = NULL;
        char *path = NULL;

        st = ql_json_load_optional(&root, &path, dir, sources[i].file,
                                   FILE_BYTES);
        for (size_t k = 0; k < 2 && st == QL_OK; k++) {
            const char *key = sources[i].keys[k];
            const json_t *v = json_object_get(root, key);

            if (v && !decided[k]) {
                decided[k] = true;
                st = sources[i].find(t, v, path, key, ids[k]);
            }
        }
        json_decref(root);
        ql_free(path);
        QL_TRY(st);
    }
    return st;
}

/* Classes of transformers that make their post-processor of the settings
 * add_bos_token and add_eos_token, whatever tokenizer.json says, and the tokens
 * that they put there where no file names others. All other classes take the
 * post-processor of tokenizer.json. */
static const struct class
{
    const char *name;
    const char *tokens[2];
} classes[] = {
    {"CodeLlamaTokenizer", {"<s>", "</s>"}},
    {"CodeLlamaTokenizerFast", {"<s>", "</s>"}},
    {"GemmaTokenizer", {"<bos>", "<eos>"}},
    {"GemmaTokenizerFast", {"<bos>", "<eos>"}},
    {"LlamaTokenizer", {"<s>", "</s>"}},
    {"LlamaTokenizerFast", {"<s>", "</s>"}},
};

static ql_status set_specials(ql_tokenizer *t, const json_t *root,
                              const struct class *c, const char *path)
{
    static const char *const keys[] = {"add_bos_token", "add_eos_token"};
    int32_t ids[] = {t->bos, t->eos};
    bool add[] = {true, false};

    for (size_t i = 0; i < 2; i++) {
        QL_TRY(ql_json_bool(root, keys[i], path, &add[i]));
        if (ids[i] < 0) {
            ids[i] = ql_tokenizer_id(t, c->tokens[i]);
        }
        if (add[i] && ids[i] < 0) {
            QL_FAIL(QL_EFORMAT,
                    "%s: \"%s\" holds for a %s, but no file names the token",
                    path, keys[i], c->name);
        }
    }
    return ql_postprocessor_set(&t->postprocessor, add[0] ? ids[0] : -1,
                                add[1] ? ids[1] : -1);
}

static ql_status read_specials(ql_tokenizer *t, const char *dir)
{
    json_t *root = NULL;
    char *path = NULL;
    const char *name = "";
    ql_status st;

    QL_TRY_DONE(ql_json_load_optional(&root, &path, dir,
                                      "tokenizer_config.json", FILE_BYTES));
    QL_TRY_DONE(ql_json_string(root, "tokenizer_class", path, &name));
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strcmp(name, classes[i].name) == 0) {
            QL_TRY_DONE(set_specials(t, root, &classes[i], path));
        }
    }
done:
    json_decref(root);
    ql_free(path);
    return st;
}

/* "chat_template" is a string, or a list of {"name", "template"}, of which
 * the one named default counts. */
static ql_status pick_template(const json_t *v, const char *path, char **out)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const json_t *name = json_object_get(item, "name");

        if (json_is_string(name) &&
            strcmp(json_string_value(name), "default") == 0) {
            v = json_object_get(item, "template");
            break;
        }
    }
    if (json_is_array(v)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: none of the chat templates is named "
                "\"default\"",
                path);
    }
    if (!json_is_string(v)) {
        QL_FAIL(QL_EFORMAT, "%s: \"chat_template\" must be a string", path);
    }
    *out = ql_strdup(QL_TAG_TEXT, json_string_value(v));
    return *out ? QL_OK : QL_ENOMEM;
}

static ql_status read_template_key(ql_tokenizer *t, const char *dir)
{
    json_t *root = NULL;
    char *path = NULL;
    const json_t *v;
    ql_status st;

    st = ql_json_load_optional(&root, &path, dir, "tokenizer_config.json",
                               FILE_BYTES);
    v = json_object_get(root, "chat_template");
    if (st == QL_OK && v && !json_is_null(v)) {
        st = pick_template(v, path, &t->chat_template);
    }
    json_decref(root);
    ql_free(path);
    return st;
}

/* A file chat_template.jinja goes before the key. */
static ql_status read_template(ql_tokenizer *t, const char *dir)
{
    char *path = ql_path_join(dir, "chat_template.jinja");
    ql_status st;
    size_t len;

    if (!path) {
        return QL_ENOMEM;
    }
    if (ql_path_exists(path)) {
        st = ql_file_read(path, FILE_BYTES, &t->chat_template, &len);
    } else {
        st = read_template_key(t, dir);
    }
    ql_free(path);
    return st;
}

ql_status ql_tokenizer_read_config(ql_tokenizer *t, const char *dir)
{
    QL_TRY(read_tokens(t, dir));
    QL_TRY(read_specials(t, dir));
    return read_template(t, dir);
}
