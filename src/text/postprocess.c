#include "src/text/postprocess.h"

#include <string.h>

#include "src/base/fail.h"

static ql_status add_id(ql_postprocessor *p, const json_t *id, bool before,
                        const ql_vocab *vocab, const ql_part *part)
{
    const size_t n = p->before + p->after;
    int32_t *ids;

    if (!json_is_integer(id) ||
        !ql_vocab_get(vocab, json_integer_value(id), NULL)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: a special token has an unknown id",
                part->where, part->kind);
    }
    ids = ql_realloc(QL_TAG_TEXT, p->ids, n + 1, sizeof(*ids));
    if (!ids) {
        return QL_ENOMEM;
    }
    p->ids = ids;
    ids[n] = (int32_t)json_integer_value(id);
    *(before ? &p->before : &p->after) += 1;
    return QL_OK;
}

/* {"SpecialToken": {"id": NAME}}: the ids that "special_tokens" has for it. */
static ql_status add_special(ql_postprocessor *p, const json_t *o, bool before,
                             const ql_vocab *vocab, const ql_part *part)
{
    const json_t *name = json_object_get(o, "id");
    const json_t *all = json_object_get(part->json, "special_tokens");
    const json_t *ids;

    ids = json_object_get(all,
                          json_is_string(name) ? json_string_value(name) : "");
    ids = json_object_get(ids, "ids");
    if (!json_is_array(ids)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: a special token is not described",
                part->where, part->kind);
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        QL_TRY(add_id(p, json_array_get(ids, i), before, vocab, part));
    }
    return QL_OK;
}

static ql_status add_item(ql_postprocessor *p, const json_t *item, bool *seen,
                          const ql_vocab *vocab, const ql_part *part)
{
    const json_t *special = json_object_get(item, "SpecialToken");
    const json_t *name =
        json_object_get(json_object_get(item, "Sequence"), "id");

    if (special) {
        return add_special(p, special, !*seen, vocab, part);
    }
    if (*seen || !json_is_string(name) ||
        strcmp(json_string_value(name), "A") != 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: %s: \"single\" must hold $A once and special "
                "tokens",
                part->where, part->kind);
    }
    *seen = true;
    return QL_OK;
}

ql_status ql_postprocessor_init(ql_postprocessor *p, const json_t *json,
                                const ql_vocab *vocab, const char *where)
{
    const ql_part part = {json, where, "post_processor"};
    const json_t *list = json_object_get(json, "single");
    const char *type = "";
    bool seen = false;

    *p = (ql_postprocessor){0};
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    QL_TRY(ql_part_type(&part, &type));
    if (strcmp(type, "TemplateProcessing") != 0) {
        return ql_part_unsupported(&part, type);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        QL_TRY(add_item(p, json_array_get(list, i), &seen, vocab, &part));
    }
    if (!seen) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"single\" must hold $A", where,
                part.kind);
    }
    return QL_OK;
}

void ql_postprocessor_free(ql_postprocessor *p)
{
    ql_free(p->ids);
    *p = (ql_postprocessor){0};
}
