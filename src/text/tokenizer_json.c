/* tokenizer.json: each part is read by the file that implements it. The
 * settings "truncation" and "padding" are left alone, since transformers
 * replaces them at every call. */
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/tokenizer_handle.h"

enum {
    FILE_BYTES = 1 << 28
};

/* Files older than the key "type" can be told by their "merges". */
static ql_status read_model(ql_tokenizer *t, const json_t *root,
                            const char *where)
{
    const json_t *model = json_object_get(root, "model");
    const ql_part p = {model, where, "model"};
    const char *type = "BPE";

    if (json_object_get(model, "type") || !json_object_get(model, "merges")) {
        QL_TRY(ql_part_type(&p, &type));
    }
    if (strcmp(type, "BPE") != 0) {
        return ql_part_unsupported(&p, type);
    }
    return ql_bpe_init(&t->bpe, model, &t->vocab, where);
}

/* The normalizer comes before the added tokens, which it is applied to. */
static ql_status read_parts(ql_tokenizer *t, const json_t *root,
                            const char *where)
{
    QL_TRY(read_model(t, root, where));
    QL_TRY(ql_normalizer_init(&t->normalizer,
                              json_object_get(root, "normalizer"), where));
    QL_TRY(ql_added_init(&t->added, json_object_get(root, "added_tokens"),
                         &t->vocab, &t->normalizer, where));
    QL_TRY(ql_pretokenizer_init(&t->pretokenizer,
                                json_object_get(root, "pre_tokenizer"), where));
    QL_TRY(ql_postprocessor_init(&t->postprocessor,
                                 json_object_get(root, "post_processor"),
                                 &t->vocab, where));
    return ql_decoder_init(&t->decoder, json_object_get(root, "decoder"),
                           where);
}

ql_status ql_tokenizer_read(ql_tokenizer *t, const char *dir)
{
    char *path = ql_path_join(dir, "tokenizer.json");
    json_t *root = NULL;
    ql_status st;

    if (!path) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_json_load(&root, path, FILE_BYTES));
    st = read_parts(t, root, path);
done:
    json_decref(root);
    ql_free(path);
    return st;
}
