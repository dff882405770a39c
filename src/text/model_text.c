#include "src/text/model_text.h"

#include "src/base/fail.h"

static ql_status read_entry(ql_json_scan *s, ql_vocab *vocab, ql_buf *content)
{
    int64_t id;
    ql_status st;

    QL_TRY(ql_json_scan_string(s, content));
    QL_TRY(ql_json_scan_expect(s, ':'));
    if (ql_json_scan_peek(s) != '-' &&
        (ql_json_scan_peek(s) < '0' || ql_json_scan_peek(s) > '9')) {
        QL_FAIL(QL_EFORMAT, "%s: model: the id of \"%.200s\" must be a number",
                s->where, content->data);
    }
    QL_TRY(ql_json_scan_integer(s, &id));
    st = ql_vocab_add(vocab, content->data, content->len, id);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: model: ", s->where);
}

ql_status ql_model_text_vocab(const ql_model_text *m, ql_vocab *vocab)
{
    ql_json_scan s = m->vocab;
    ql_status st = QL_OK;
    ql_buf content;

    if (!s.p || !ql_json_scan_take(&s, '{')) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"vocab\" must be an object",
                m->part.where);
    }
    if (ql_json_scan_take(&s, '}')) {
        return QL_OK;
    }
    ql_buf_init(&content, QL_TAG_TEXT, SIZE_MAX / 4);
    do {
        QL_TRY_DONE(read_entry(&s, vocab, &content));
    } while (ql_json_scan_take(&s, ','));
done:
    ql_buf_free(&content);
    return st;
}

ql_status ql_model_text_token(const ql_model_text *m, const char *key,
                              const ql_vocab *vocab, int32_t *id)
{
    const json_t *v = json_object_get(m->part.json, key);

    *id = -1;
    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (json_is_string(v)) {
        *id = ql_vocab_find(vocab, json_string_value(v), json_string_length(v));
    }
    if (*id < 0) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"%s\" is not in the vocabulary",
                m->part.where, key);
    }
    return QL_OK;
}

ql_status ql_model_text_list(const ql_model_text *m, ql_json_scan list,
                             const char *what, ql_model_item_fn *read,
                             void *ctx)
{
    size_t i = 0;

    if (!list.p || !ql_json_scan_take(&list, '[')) {
        QL_FAIL(QL_EFORMAT, "%s: model: \"%s\" must be a list", m->part.where,
                what);
    }
    if (ql_json_scan_take(&list, ']')) {
        return QL_OK;
    }
    do {
        QL_TRY(read(ctx, &list, i++));
    } while (ql_json_scan_take(&list, ','));
    return QL_OK;
}
