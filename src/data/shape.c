#include "src/data/shape.h"

#include "src/base/buf.h"
#include "src/base/fail.h"

enum {
    LISTED_BYTES = 200 /* of the keys of a record, in an error sentence */
};

/* In the order in which a record is looked at. */
static const ql_shape shapes[] = {
    {QL_FORMAT_PROMPT_COMPLETION,
     "prompt_completion",
     {"prompt", "completion"},
     ql_shape_prompt},
    {QL_FORMAT_MESSAGES, "messages", {"messages", NULL}, ql_shape_messages},
    {QL_FORMAT_TEXT, "text", {"text", NULL}, ql_shape_text},
};

const ql_shape *ql_shape_get(ql_format format)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        if (shapes[i].format == format) {
            return &shapes[i];
        }
    }
    return NULL;
}

const char *ql_format_name(ql_format format)
{
    const ql_shape *shape = ql_shape_get(format);

    return shape ? shape->name : "auto";
}

/* As many keys of the record as fit a sentence. */
static ql_status unknown_form(json_t *record)
{
    const char *key;
    json_t *value;
    ql_status st;
    ql_buf keys;

    ql_buf_init(&keys, QL_TAG_DATA, LISTED_BYTES);
    json_object_foreach(record, key, value)
    {
        st = ql_buf_printf(&keys, "%s%s", keys.len > 0 ? ", " : "", key);
        if (st != QL_OK) {
            break;
        }
    }
    st = ql_fail(QL_EFORMAT,
                 "the form of the record is not known: it has the keys (%s), "
                 "known are (prompt, completion), (messages), (text)",
                 keys.data ? keys.data : "");
    ql_buf_free(&keys);
    return st;
}

ql_status ql_shape_find(json_t *record, const ql_shape **out)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        const char *const *keys = shapes[i].keys;

        if (json_object_get(record, keys[0]) &&
            (!keys[1] || json_object_get(record, keys[1]))) {
            *out = &shapes[i];
            return QL_OK;
        }
    }
    return unknown_form(record);
}

ql_status ql_shape_string(const json_t *o, const char *key, const char **s,
                          size_t *n)
{
    const json_t *v = json_object_get(o, key);

    if (!v) {
        QL_FAIL(QL_EFORMAT, "\"%s\" is missing", key);
    }
    if (!json_is_string(v)) {
        QL_FAIL(QL_EFORMAT, "\"%s\" must be a string", key);
    }
    *s = json_string_value(v);
    *n = json_string_length(v);
    return QL_OK;
}
