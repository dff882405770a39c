/* The files beside tokenizer.json: which tokens begin and end a text, and
 * whether they are put there.
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
    v = ql_json_item(v, 0);
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

/* Takes over what a file says of the tokens that are not decided yet. */
static ql_status take_tokens(ql_tokenizer *t, size_t source, const json_t *root,
                             const char *path, bool decided[2])
{
    int32_t *const ids[2] = {&t->bos, &t->eos};

    for (size_t k = 0; k < 2; k++) {
        const char *key = sources[source].keys[k];
        const json_t *v = json_object_get(root, key);

        if (v && !decided[k]) {
            decided[k] = true;
            QL_TRY(sources[source].find(t, v, path, key, ids[k]));
        }
    }
    return QL_OK;
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

static ql_status read_specials(ql_tokenizer *t, const json_t *root,
                               const char *path)
{
    const char *name = "";

    QL_TRY(ql_json_string(root, "tokenizer_class", path, &name));
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strcmp(name, classes[i].name) == 0) {
            QL_TRY(set_specials(t, root, &classes[i], path));
        }
    }
    return QL_OK;
}

/* The first source is the one that also says how a text is framed. */
ql_status ql_tokenizer_read_config(ql_tokenizer *t, const char *dir)
{
    enum {
        SOURCES = sizeof(sources) / sizeof(*sources)
    };
    json_t *roots[SOURCES] = {0};
    char *paths[SOURCES] = {0};
    bool decided[2] = {false, false};
    ql_status st = QL_OK;

    t->bos = t->eos = -1;
    for (size_t i = 0; i < SOURCES && st == QL_OK; i++) {
        st = ql_json_load_optional(&roots[i], &paths[i], dir, sources[i].file,
                                   FILE_BYTES);
        if (st == QL_OK) {
            st = take_tokens(t, i, roots[i], paths[i], decided);
        }
    }
    if (st == QL_OK) {
        st = read_specials(t, roots[0], paths[0]);
    }
    for (size_t i = 0; i < SOURCES; i++) {
        json_decref(roots[i]);
        ql_free(paths[i]);
    }
    return st;
}
