#include "src/text/call.h"

#include <stdlib.h>

#include "src/base/fail.h"

/* o within {"type": "function", "function": o}, unless it is so already. */
static ql_status wrap(json_t **out, json_t *o)
{
    *out = json_is_object(json_object_get(o, "function"))
               ? json_incref(o)
               : json_pack("{s:s, s:O}", "type", "function", "function", o);
    return ql_field_held(*out);
}

/* A copy of a call whose function may be changed. */
static ql_status read_call(json_t **out, const json_t *v)
{
    json_t *o = json_deep_copy(v);
    ql_status st = ql_field_held(o);

    *out = NULL;
    if (st == QL_OK) {
        st = wrap(out, o);
    }
    json_decref(o);
    QL_TRY(st);
    if (!json_object_get(*out, "type")) {
        st = ql_field_held(
            json_object_set_new(*out, "type", json_string("function")) == 0);
    }
    if (st == QL_OK && !json_is_string(json_object_get(
                           json_object_get(*out, "function"), "name"))) {
        st = ql_fail(QL_EFORMAT, "a call of a tool must have a \"name\"");
    }
    return st;
}

ql_status ql_calls_read(json_t **out, const json_t *list)
{
    json_t *call;
    ql_status st = QL_OK;

    *out = json_array();
    QL_TRY(ql_field_held(*out));
    for (size_t i = 0; i < json_array_size(list) && st == QL_OK; i++) {
        const json_t *v = json_array_get(list, i);

        call = NULL;
        st = json_is_object(v)
                 ? read_call(&call, v)
                 : ql_fail(QL_EFORMAT, "a call of a tool must be an object");
        if (st == QL_OK) {
            st = ql_field_held(json_array_append(*out, call) == 0);
        }
        json_decref(call);
    }
    if (st != QL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return st;
}

/* True for what a list of calls is made of. */
static bool is_call(const json_t *v)
{
    const json_t *f = json_object_get(v, "function");

    return json_is_string(json_object_get(json_is_object(f) ? f : v, "name"));
}

ql_status ql_calls_parse(json_t **out, const char *text, size_t len)
{
    json_t *v = json_loadb(text, len, 0, NULL);
    json_t *list = json_is_array(v) ? json_incref(v) : json_pack("[o]", v);
    bool sound = json_array_size(list) > 0;
    ql_status st = QL_OK;

    *out = NULL;
    if (json_is_array(v)) {
        json_decref(v);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        sound = sound && is_call(json_array_get(list, i));
    }
    if (sound) {
        st = ql_calls_read(out, list);
    }
    json_decref(list);
    return st;
}

static ql_status read_tools(json_t **out, const json_t *list)
{
    ql_status st = QL_OK;

    if (json_array_size(list) == 0) {
        return QL_OK;
    }
    *out = json_array();
    QL_TRY(ql_field_held(*out));
    for (size_t i = 0; i < json_array_size(list) && st == QL_OK; i++) {
        json_t *tool = NULL;
        json_t *v = json_array_get(list, i);

        st = json_is_object(v)
                 ? wrap(&tool, v)
                 : ql_fail(QL_EFORMAT, "\"tools\" must be a list of objects");
        if (st == QL_OK) {
            st = ql_field_held(json_array_append_new(*out, tool) == 0);
        }
    }
    if (st != QL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return st;
}

ql_status ql_tools_read(json_t **out, const json_t *v)
{
    json_t *parsed = NULL;
    ql_status st = QL_OK;

    *out = NULL;
    if (!v || json_is_null(v) ||
        (json_is_string(v) && json_string_length(v) == 0)) {
        return QL_OK;
    }
    if (json_is_string(v)) {
        QL_TRY(ql_json_parse(&parsed, json_string_value(v),
                             json_string_length(v), "\"tools\""));
        v = parsed;
    }
    if (json_is_array(v)) {
        st = read_tools(out, v);
    } else if (!json_is_null(v)) {
        st = ql_fail(QL_EFORMAT, "\"tools\" must be a list of objects");
    }
    json_decref(parsed);
    return st;
}

ql_status ql_call_put_json(ql_buf *out, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY);
    ql_status st = ql_field_held(text);

    if (st == QL_OK) {
        st = ql_buf_puts(out, text);
    }
    free(text);
    return st;
}

/* Replaces the arguments of a function by what they are in the other form; a
 * string that is no JSON object stays. */
static ql_status turn_arguments(json_t *function, bool object)
{
    json_t *v = json_object_get(function, "arguments");
    json_t *other = NULL;
    char *text;

    if (object && json_is_string(v)) {
        other = json_loadb(json_string_value(v), json_string_length(v),
                           JSON_ALLOW_NUL, NULL);
        if (!json_is_object(other)) {
            json_decref(other);
            return QL_OK;
        }
    } else if (!object && v && !json_is_string(v)) {
        text = json_dumps(v, JSON_ENCODE_ANY);
        other = text ? json_string(text) : NULL;
        free(text);
        QL_TRY(ql_field_held(other));
    } else {
        return QL_OK;
    }
    return ql_field_held(json_object_set_new(function, "arguments", other) ==
                         0);
}

ql_status ql_calls_set_arguments(json_t *calls, bool objects)
{
    for (size_t i = 0; i < json_array_size(calls); i++) {
        QL_TRY(turn_arguments(
            json_object_get(json_array_get(calls, i), "function"), objects));
    }
    return QL_OK;
}

ql_status ql_calls_put(ql_buf *out, const json_t *calls)
{
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (i > 0) {
            QL_TRY(ql_buf_putc(out, '\n'));
        }
        QL_TRY(ql_call_put_json(
            out, json_object_get(json_array_get(calls, i), "function")));
    }
    return QL_OK;
}
