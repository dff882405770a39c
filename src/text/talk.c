#include "src/text/talk.h"

#include <string.h>
#include <strings.h>

#include "src/base/fail.h"
#include "src/text/call.h"

/* Names of roles that records use, and those that templates know. */
static const struct role {
    const char *name;
    const char *means;
    bool calls; /* the content is a call of a tool */
} roles[] = {
    {"system", "system", false},
    {"developer", "developer", false},
    {"user", "user", false},
    {"human", "user", false},
    {"assistant", "assistant", false},
    {"gpt", "assistant", false},
    {"chatgpt", "assistant", false},
    {"model", "assistant", false},
    {"bot", "assistant", false},
    {"bing", "assistant", false},
    {"bard", "assistant", false},
    {"function_call", "assistant", true},
    {"tool_call", "assistant", true},
    {"tool", "tool", false},
    {"function", "tool", false},
    {"observation", "tool", false},
    {"function_response", "tool", false},
    {"tool_response", "tool", false},
};

ql_status ql_talk_init(ql_talk *t)
{
    *t = (ql_talk){.messages = json_array()};
    ql_buf_init(&t->trained, QL_TAG_DATA, SIZE_MAX / 4);
    return ql_field_held(t->messages);
}

void ql_talk_free(ql_talk *t)
{
    json_decref(t->messages);
    json_decref(t->tools);
    json_decref(t->documents);
    json_decref(t->extra);
    ql_buf_free(&t->trained);
    *t = (ql_talk){0};
}

const char *ql_talk_role(const ql_talk *t, size_t i)
{
    const char *role = json_string_value(
        json_object_get(json_array_get(t->messages, i), "role"));

    return role ? role : "";
}

/* Appends a message, which is handed over; NULL where memory was lacking. */
static ql_status push(ql_talk *t, json_t *message, bool trained)
{
    QL_TRY(ql_field_held(json_array_append_new(t->messages, message) == 0));
    trained =
        trained && strcmp(ql_talk_role(t, json_array_size(t->messages) - 1),
                          "assistant") == 0;
    return ql_buf_putc(&t->trained, trained);
}

ql_status ql_talk_say(ql_talk *t, const char *role, const char *text,
                      size_t len, bool trained)
{
    return push(t,
                json_pack("{s:s, s:o}", "role", role, "content",
                          json_stringn(text, len)),
                trained);
}

static ql_status read_role(const json_t *turn, bool strict,
                           const struct role **known, const char **name)
{
    const char *key = json_object_get(turn, "role") ? "role" : "from";
    size_t n;

    if (!json_object_get(turn, key)) {
        key = "role";
    }
    QL_TRY(ql_field_string(turn, key, name, &n));
    *known = NULL;
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
        if (strcasecmp(*name, roles[i].name) == 0) {
            *known = &roles[i];
            return QL_OK;
        }
    }
    if (strict) {
        QL_FAIL(QL_EUNSUPPORTED, "the role \"%s\" is not known", *name);
    }
    return QL_OK;
}

/* One part of a content that is a list. */
static ql_status append_part(const json_t *part, ql_buf *content)
{
    const char *type = "text";
    const char *s = "";
    size_t n = 0;

    if (json_is_string(part)) {
        return ql_buf_append(content, json_string_value(part),
                             json_string_length(part));
    }
    QL_TRY(ql_field_string(part, "type", &type, &n));
    if (strcmp(type, "text") != 0) {
        QL_FAIL(QL_EUNSUPPORTED, "content of type \"%s\" is not supported",
                type);
    }
    QL_TRY(ql_field_string(part, "text", &s, &n));
    return ql_buf_append(content, s, n);
}

static ql_status join_parts(json_t **out, const json_t *parts)
{
    ql_buf content;
    ql_status st = QL_OK;

    ql_buf_init(&content, QL_TAG_DATA, SIZE_MAX / 4);
    for (size_t i = 0; i < json_array_size(parts) && st == QL_OK; i++) {
        st = append_part(json_array_get(parts, i), &content);
    }
    if (st == QL_OK) {
        *out = json_stringn(content.data ? content.data : "", content.len);
        st = ql_field_held(*out);
    }
    ql_buf_free(&content);
    return st;
}

/* The content as a string; *out is NULL where a turn has none and needs none.
 * The result of a tool may be any JSON. */
static ql_status read_content(json_t **out, const json_t *turn, bool optional,
                              bool any)
{
    const char *key =
        json_object_get(turn, "content") || !json_object_get(turn, "value")
            ? "content"
            : "value";
    json_t *v = json_object_get(turn, key);
    const char *s;
    size_t n;
    ql_buf text;
    ql_status st;

    *out = NULL;
    if (json_is_string(v)) {
        *out = json_incref(v);
        return QL_OK;
    }
    if (optional && (!v || json_is_null(v))) {
        return QL_OK;
    }
    if (any && json_is_object(v)) {
        ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
        st = ql_call_put_json(&text, v);
        if (st == QL_OK) {
            *out = json_stringn(text.data, text.len);
            st = ql_field_held(*out);
        }
        ql_buf_free(&text);
        return st;
    }
    if (json_is_array(v)) {
        return join_parts(out, v);
    }
    return ql_field_string(turn, key, &s, &n);
}

/* "weight": 0 takes a turn out of the training. */
static ql_status read_weight(const json_t *turn, bool *trained)
{
    const json_t *v = json_object_get(turn, "weight");
    const double weight = json_number_value(v);

    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_number(v) || (weight != 0 && weight != 1)) {
        QL_FAIL(QL_EFORMAT, "\"weight\" must be 0 or 1");
    }
    *trained = *trained && weight == 1;
    return QL_OK;
}

/* Calls in "tool_calls", or one in "function_call"; *out is NULL for none. */
static ql_status read_calls(json_t **out, const json_t *turn)
{
    const json_t *v = json_object_get(turn, "tool_calls");
    json_t *old = json_object_get(turn, "function_call");
    json_t *list;
    ql_status st;

    *out = NULL;
    if (v && !json_is_null(v) && !json_is_array(v)) {
        QL_FAIL(QL_EFORMAT, "\"tool_calls\" must be a list");
    }
    if (json_array_size(v) > 0) {
        return ql_calls_read(out, v);
    }
    if (!json_is_object(old)) {
        return QL_OK;
    }
    list = json_pack("[O]", old);
    QL_TRY(ql_field_held(list));
    st = ql_calls_read(out, list);
    json_decref(list);
    return st;
}

/* The message of a turn: its role and content, and all that is not ours. */
static json_t *make_message(const json_t *turn, const char *role,
                            json_t *content, json_t *calls)
{
    static const char *const ours[] = {"from",   "value",      "content",
                                       "weight", "tool_calls", "function_call"};
    json_t *m = json_copy((json_t *)(uintptr_t)turn);
    bool ok = m != NULL;

    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        json_object_del(m, ours[i]);
    }
    ok = ok && json_object_set_new(m, "role", json_string(role)) == 0;
    ok = ok && (!content || json_object_set(m, "content", content) == 0);
    ok = ok && (!calls || json_object_set(m, "tool_calls", calls) == 0);
    if (!ok) {
        json_decref(m);
        m = NULL;
    }
    return m;
}

ql_status ql_talk_add(ql_talk *t, const json_t *turn, bool trained, bool strict)
{
    const struct role *known = NULL;
    const char *name = "";
    json_t *content = NULL;
    json_t *calls = NULL;
    bool tool;
    ql_status st;

    QL_TRY(read_role(turn, strict, &known, &name));
    QL_TRY(read_weight(turn, &trained));
    tool = known && strcmp(known->means, "tool") == 0;
    QL_TRY_DONE(read_calls(&calls, turn));
    QL_TRY_DONE(read_content(&content, turn, calls != NULL, tool));
    if (known && known->calls && content && !calls) {
        QL_TRY_DONE(ql_calls_parse(&calls, json_string_value(content),
                                   json_string_length(content)));
    }
    if (known && known->calls && calls) {
        json_decref(content);
        content = NULL;
    }
    st =
        push(t, make_message(turn, known ? known->means : name, content, calls),
             trained);
done:
    json_decref(content);
    json_decref(calls);
    return st;
}

ql_status ql_talk_add_all(ql_talk *t, const json_t *turns, const char *key,
                          bool trained, bool strict)
{
    if (json_is_object(turns)) {
        return ql_talk_add(t, turns, trained, strict);
    }
    if (!json_is_array(turns)) {
        QL_FAIL(QL_EFORMAT, "\"%s\" must be a list", key);
    }
    for (size_t i = 0; i < json_array_size(turns); i++) {
        const ql_status st =
            ql_talk_add(t, json_array_get(turns, i), trained, strict);

        if (st != QL_OK) {
            return ql_fail_prefix(st, "message %zu: ", i + 1);
        }
    }
    return QL_OK;
}

static ql_status add_system(ql_talk *t, const json_t *record)
{
    static const char *const keys[] = {"system", "system_prompt", NULL};
    const char *key = ql_field_any(record, keys);
    const char *s = "";
    size_t n = 0;

    if (!key || strcmp(ql_talk_role(t, 0), "system") == 0) {
        return QL_OK;
    }
    QL_TRY(ql_field_string(record, key, &s, &n));
    if (n == 0) {
        return QL_OK;
    }
    QL_TRY(ql_field_held(
        json_array_insert_new(t->messages, 0,
                              json_pack("{s:s, s:o}", "role", "system",
                                        "content", json_stringn(s, n))) == 0));
    QL_TRY(ql_buf_putc(&t->trained, 0));
    memmove(t->trained.data + 1, t->trained.data, t->trained.len - 1);
    t->trained.data[0] = 0;
    return QL_OK;
}

/* A field that is handed on as it is. */
static ql_status hand_on(json_t **out, const json_t *record, const char *key,
                         bool object)
{
    json_t *v = json_object_get(record, key);

    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (object ? !json_is_object(v) : !json_is_array(v)) {
        QL_FAIL(QL_EFORMAT, "\"%s\" must be %s", key,
                object ? "an object" : "a list");
    }
    *out = json_incref(v);
    return QL_OK;
}

ql_status ql_talk_frame(ql_talk *t, const json_t *record)
{
    static const char *const tools[] = {"tools", "functions", NULL};
    const char *key = ql_field_any(record, tools);

    QL_TRY(add_system(t, record));
    if (key) {
        QL_TRY(ql_tools_read(&t->tools, json_object_get(record, key)));
    }
    QL_TRY(hand_on(&t->documents, record, "documents", false));
    return hand_on(&t->extra, record, "chat_template_kwargs", true);
}
