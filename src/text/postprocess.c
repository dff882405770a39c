#include "src/text/postprocess.h"

#include <string.h>

#include "src/base/fail.h"

static ql_status push(ql_post_row *row, int32_t id, uint8_t type)
{
    ql_post_item *items;

    items = ql_realloc(QL_TAG_TEXT, row->items, row->n + 1, sizeof(*items));
    if (!items) {
        return QL_ENOMEM;
    }
    row->items = items;
    items[row->n++] = (ql_post_item){id, type};
    return QL_OK;
}

static ql_status push_all(ql_post_row *row, const ql_post_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].id >= QL_POST_B) {
            QL_TRY(push(row, items[i].id, items[i].type));
        }
    }
    return QL_OK;
}

static void clear(ql_post_row *row)
{
    ql_free(row->items);
    *row = (ql_post_row){0};
}

#define COUNT(items) (sizeof(items) / sizeof(*(items)))

/* Texts as they are. */
static ql_status set_plain(ql_postprocessor *p)
{
    static const ql_post_item pair[] = {{QL_POST_A, 0}, {QL_POST_B, 1}};

    clear(&p->single);
    clear(&p->pair);
    QL_TRY(push_all(&p->single, pair, 1));
    return push_all(&p->pair, pair, 2);
}

ql_status ql_postprocessor_set(ql_postprocessor *p, int32_t bos, int32_t eos)
{
    const int32_t none = QL_POST_B - 1;
    const ql_post_item pair[] = {
        {bos < 0 ? none : bos, 0}, {QL_POST_A, 0}, {eos < 0 ? none : eos, 0},
        {bos < 0 ? none : bos, 1}, {QL_POST_B, 1}, {eos < 0 ? none : eos, 1}};

    clear(&p->single);
    clear(&p->pair);
    QL_TRY(push_all(&p->single, pair, 3));
    return push_all(&p->pair, pair, 6);
}

/* Reading. */

typedef struct reader {
    ql_postprocessor *p;
    const ql_vocab *vocab;
    bool given; /* a part has said where the texts go */
} reader;

static ql_status read_id(const reader *r, const ql_part *part, const json_t *id,
                         int32_t *out)
{
    if (!json_is_integer(id) ||
        !ql_vocab_get(r->vocab, json_integer_value(id), NULL)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: a special token has an unknown id",
                part->where, part->kind);
    }
    *out = (int32_t)json_integer_value(id);
    return QL_OK;
}

/* {"SpecialToken": {"id": NAME}}: the ids that "special_tokens" has for it. */
static ql_status add_special(const reader *r, const ql_part *part,
                             const json_t *name, uint8_t type, ql_post_row *row)
{
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
        int32_t id = 0;

        QL_TRY(read_id(r, part, json_array_get(ids, i), &id));
        QL_TRY(push(row, id, type));
    }
    return QL_OK;
}

/* {"SpecialToken": {"id": NAME, "type_id": N}} or {"Sequence": ...}. */
static ql_status add_item(const reader *r, const ql_part *part,
                          const json_t *item, size_t seen[2], ql_post_row *row)
{
    const json_t *special = json_object_get(item, "SpecialToken");
    const json_t *o = special ? special : json_object_get(item, "Sequence");
    const json_t *name = json_object_get(o, "id");
    const char *s = json_is_string(name) ? json_string_value(name) : "";
    size_t type = 0;

    QL_TRY(ql_json_size(o, "type_id", part->where, &type));
    if (type > 255) {
        QL_FAIL(QL_EFORMAT, "%s: %s: a \"type_id\" is too large", part->where,
                part->kind);
    }
    if (special) {
        return add_special(r, part, name, (uint8_t)type, row);
    }
    if (strcmp(s, "A") != 0 && strcmp(s, "B") != 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: %s: a template holds special tokens, $A and "
                "$B",
                part->where, part->kind);
    }
    seen[*s - 'A']++;
    return push(row, *s == 'A' ? QL_POST_A : QL_POST_B, (uint8_t)type);
}

/* texts: how many texts the template stands for. A template for two may be
 * absent; then they are as they are. */
static ql_status read_row(const reader *r, const ql_part *part, const char *key,
                          size_t texts, ql_post_row *row)
{
    const json_t *list = json_object_get(part->json, key);
    size_t seen[2] = {0, 0};

    if (texts == 2 && json_array_size(list) == 0) {
        return QL_OK;
    }
    clear(row);
    for (size_t i = 0; i < json_array_size(list); i++) {
        QL_TRY(add_item(r, part, json_array_get(list, i), seen, row));
    }
    if (seen[0] != 1 || seen[1] != texts - 1) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"%s\" must hold $A%s once", part->where,
                part->kind, key, texts == 2 ? " and $B" : "");
    }
    return QL_OK;
}

static ql_status read_template(const reader *r, const ql_part *part)
{
    QL_TRY(read_row(r, part, "single", 1, &r->p->single));
    return read_row(r, part, "pair", 2, &r->p->pair);
}

/* A member [content, id]. */
static ql_status read_named(const reader *r, const ql_part *part,
                            const char *key, int32_t *id)
{
    const json_t *v = json_object_get(part->json, key);

    return read_id(r, part, json_array_get(v, 1), id);
}

static ql_status read_bert(const reader *r, const ql_part *part)
{
    int32_t cls = 0;
    int32_t sep = 0;

    QL_TRY(read_named(r, part, "cls", &cls));
    QL_TRY(read_named(r, part, "sep", &sep));
    {
        const ql_post_item pair[] = {
            {cls, 0}, {QL_POST_A, 0}, {sep, 0}, {QL_POST_B, 1}, {sep, 1}};

        clear(&r->p->single);
        clear(&r->p->pair);
        QL_TRY(push_all(&r->p->single, pair, 3));
        return push_all(&r->p->pair, pair, COUNT(pair));
    }
}

static ql_status read_roberta(const reader *r, const ql_part *part)
{
    int32_t cls = 0;
    int32_t sep = 0;

    QL_TRY(read_named(r, part, "cls", &cls));
    QL_TRY(read_named(r, part, "sep", &sep));
    {
        const ql_post_item pair[] = {{cls, 0}, {QL_POST_A, 0}, {sep, 0},
                                     {sep, 0}, {QL_POST_B, 0}, {sep, 0}};

        clear(&r->p->single);
        clear(&r->p->pair);
        QL_TRY(push_all(&r->p->single, pair, 3));
        return push_all(&r->p->pair, pair, COUNT(pair));
    }
}

/* ByteLevel has to do with offsets only, and not with ours. */
static const struct {
    const char *type;
    ql_status (*read)(const reader *r, const ql_part *part);
} kinds[] = {
    {"BertProcessing", read_bert},
    {"ByteLevel", NULL},
    {"RobertaProcessing", read_roberta},
    {"TemplateProcessing", read_template},
};

static ql_status add_part(void *ctx, const ql_part *part, const char *type)
{
    reader *r = ctx;

    for (size_t i = 0; i < COUNT(kinds); i++) {
        if (strcmp(type, kinds[i].type) != 0) {
            continue;
        }
        if (!kinds[i].read) {
            return QL_OK;
        }
        if (r->given) {
            return ql_part_unsupported(part, "a second part with tokens");
        }
        r->given = true;
        return kinds[i].read(r, part);
    }
    return ql_part_unsupported(part, type);
}

ql_status ql_postprocessor_init(ql_postprocessor *p, const json_t *json,
                                const ql_vocab *vocab, const char *where)
{
    const ql_part part = {json, where, "post_processor"};
    reader r = {p, vocab, false};

    *p = (ql_postprocessor){0};
    QL_TRY(set_plain(p));
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    return ql_part_each(&part, "processors", add_part, &r);
}

void ql_postprocessor_free(ql_postprocessor *p)
{
    clear(&p->single);
    clear(&p->pair);
}
