#include "src/convert/generation_config.h"

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/model_files.h"
#include "src/text/chat_end.h"
#include "src/text/end_ids.h"

enum {
    MAX_BYTES = 1 << 26
};

static const char name[] = "generation_config.json";
static const char key[] = "eos_token_id";

static bool has(const json_t *list, int32_t id)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_integer_value(json_array_get(list, i)) == id) {
            return true;
        }
    }
    return false;
}

static ql_status append(json_t *list, int32_t id)
{
    return id < 0 || has(list, id) ||
                   json_array_append_new(list, json_integer(id)) == 0
               ? QL_OK
               : ql_fail(QL_ENOMEM, "out of memory while writing %s", name);
}

/* The end tokens of a folder, as a list. Owned: json_decref. */
static ql_status said_ends(json_t **list, const char *dir,
                           const ql_tokenizer *tok)
{
    ql_end_ids said;
    ql_status st;

    *list = json_array();
    QL_TRY(ql_end_ids_init(&said, dir));
    st = said.n == 0 ? append(*list, ql_tokenizer_eos(tok)) : QL_OK;
    for (size_t i = 0; st == QL_OK && i < said.n; i++) {
        st = append(*list, said.ids[i]);
    }
    ql_end_ids_free(&said);
    return st;
}

/* Puts a list into the file. A new one says, too, what transformers would take
 * from config.json without it. */
static ql_status put(const char *dir, json_t *list)
{
    static const char *const others[] = {"bos_token_id", "pad_token_id"};
    json_t *root = NULL;
    json_t *config = NULL;
    char *path = NULL;
    ql_status st = ql_json_load_optional(&root, &path, dir, name, MAX_BYTES);
    int bad = 0;

    if (st == QL_OK && !root) {
        QL_TRY_DONE(ql_model_files_config(&config, dir));
        root = json_object();
        for (size_t i = 0; i < 2; i++) {
            json_t *v = json_object_get(config, others[i]);

            bad |= v && json_object_set(root, others[i], v) != 0;
        }
    }
    if (st == QL_OK) {
        bad |= json_object_set(root, key, list) != 0;
        st = bad ? ql_fail(QL_ENOMEM, "out of memory while writing %s", name)
                 : ql_json_save(root, true, path);
    }
done:
    json_decref(config);
    json_decref(root);
    ql_free(path);
    return st;
}

static ql_status add(const char *dir, const ql_tokenizer *tok, int32_t end)
{
    json_t *list = NULL;
    ql_status st = said_ends(&list, dir, tok);

    if (st == QL_OK && !has(list, end)) {
        st = append(list, end);
        st = st == QL_OK ? put(dir, list) : st;
    }
    json_decref(list);
    return st;
}

ql_status ql_generation_config_end(const char *dir)
{
    int32_t end = -1;
    ql_tokenizer *tok = NULL;
    ql_status st = ql_tokenizer_open(&tok, dir);

    if (st == QL_OK) {
        st = ql_chat_end_read(&end, NULL, dir, tok);
    }
    if (st == QL_OK && end >= 0) {
        st = add(dir, tok, end);
        if (st == QL_EFORMAT) {
            ql_warn("%s is carried over as it is, without the token that the "
                    "chat template ends an answer with: %s",
                    name, ql_last_error());
            st = QL_OK;
        }
    } else if (st != QL_ENOMEM) {
        st = QL_OK;
    }
    ql_tokenizer_close(&tok);
    return st;
}
