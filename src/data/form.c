/* A form is known by one key, or by two: one of a list of names for each. */
#include "src/data/form.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/call.h"

enum {
    LISTED_BYTES = 200, /* of the keys of a record, in an error sentence */
    LABEL_BYTES = 64    /* a longer string is no label */
};

/* The keys of a record that its form goes by. */
typedef struct keys {
    const char *first;
    const char *second; /* NULL where one is enough */
} keys;

struct ql_form {
    ql_format format;
    const char *first[5], *second[5];      /* names; NULL ends a list */
    bool (*fits)(const json_t *r, keys k); /* what else holds; NULL: nothing */
    ql_status (*read)(const json_t *r, keys k, ql_content *out);
    const char *note;
};

static ql_status read_text(const json_t *r, keys k, ql_content *out)
{
    return ql_field_string(r, k.first, &out->text, &out->len);
}

/* True for a list that is a whole conversation: it does not begin with the
 * answer to another one. */
static bool is_whole(const json_t *turns)
{
    ql_talk t;
    bool whole = false;

    if (ql_talk_init(&t) == QL_OK && json_array_size(turns) > 0 &&
        ql_talk_add(&t, json_array_get(turns, 0), false, false) == QL_OK) {
        whole = strcmp(ql_talk_role(&t, 0), "assistant") != 0;
    }
    ql_talk_free(&t);
    return whole;
}

/* One side of a pair: a string is what its role says. */
static ql_status add_side(ql_content *c, const json_t *r, const char *key,
                          const char *role, bool trained)
{
    const json_t *v = json_object_get(r, key);
    const char *s = "";
    size_t n = 0;

    if (json_is_array(v) || json_is_object(v)) {
        const ql_status st = ql_talk_add_all(&c->talk, v, key, trained, false);

        return st == QL_OK ? st : ql_fail_prefix(st, "\"%s\": ", key);
    }
    QL_TRY(ql_field_string(r, key, &s, &n));
    return ql_talk_say(&c->talk, role, s, n, trained);
}

/* Two strings are taken as they are; lists of messages are a conversation, of
 * which the second part is trained. */
static ql_status read_pair(const json_t *r, keys k, ql_content *out)
{
    const json_t *second = json_object_get(r, k.second);

    out->talks = !json_is_string(json_object_get(r, k.first)) ||
                 json_is_array(second) || json_is_object(second);
    if (!out->talks) {
        QL_TRY(ql_field_string(r, k.first, &out->prompt, &out->prompt_len));
        return ql_field_string(r, k.second, &out->text, &out->len);
    }
    if (!is_whole(second)) {
        QL_TRY(add_side(out, r, k.first, "user", false));
    }
    QL_TRY(add_side(out, r, k.second, "assistant", true));
    return ql_talk_frame(&out->talk, r);
}

/* Earlier turns of an Alpaca record: pairs of strings. */
static ql_status add_history(ql_content *c, const json_t *r)
{
    static const char *const sides[] = {"user", "assistant"};
    const json_t *history = json_object_get(r, "history");

    for (size_t i = 0; i < json_array_size(history); i++) {
        for (size_t j = 0; j < 2; j++) {
            const json_t *v = json_array_get(json_array_get(history, i), j);

            if (!json_is_string(v)) {
                QL_FAIL(QL_EFORMAT,
                        "\"history\" must be a list of pairs of strings");
            }
            QL_TRY(ql_talk_say(&c->talk, sides[j], json_string_value(v),
                               json_string_length(v), true));
        }
    }
    return QL_OK;
}

/* The instruction, and the input on the line after it. */
static ql_status add_instruction(ql_content *c, const json_t *r, keys k)
{
    static const char *const inputs[] = {"input", "context", NULL};
    const char *key = ql_field_any(r, inputs);
    const char *s = "";
    const char *input = "";
    size_t n = 0;
    size_t m = 0;
    ql_buf text;
    ql_status st;

    QL_TRY(ql_field_string(r, k.first, &s, &n));
    if (key) {
        QL_TRY(ql_field_string(r, key, &input, &m));
    }
    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_append(&text, s, n));
    if (n > 0 && m > 0) {
        QL_TRY_DONE(ql_buf_putc(&text, '\n'));
    }
    QL_TRY_DONE(ql_buf_append(&text, input, m));
    st = ql_talk_say(&c->talk, "user", text.data, text.len, false);
done:
    ql_buf_free(&text);
    return st;
}

/* The answer; the label of a text may be a number, too. */
static ql_status add_output(ql_content *c, const json_t *r, const char *key)
{
    const json_t *v = json_object_get(r, key);
    ql_buf text;
    ql_status st;

    if (!json_is_integer(v) && !json_is_boolean(v)) {
        return add_side(c, r, key, "assistant", true);
    }
    ql_buf_init(&text, QL_TAG_DATA, LABEL_BYTES);
    st = ql_call_put_json(&text, v);
    if (st == QL_OK) {
        st = ql_talk_say(&c->talk, "assistant", text.data, text.len, true);
    }
    ql_buf_free(&text);
    return st;
}

static ql_status read_alpaca(const json_t *r, keys k, ql_content *out)
{
    out->talks = true;
    QL_TRY(add_history(out, r));
    QL_TRY(add_instruction(out, r, k));
    QL_TRY(add_output(out, r, k.second));
    return ql_talk_frame(&out->talk, r);
}

/* A conversation, or one that ends in the answer that was preferred: only that
 * is trained then. */
static ql_status read_turns(const json_t *r, keys k, bool strict,
                            ql_content *out)
{
    const json_t *v = json_object_get(r, k.first);
    const json_t *chosen = json_object_get(r, "chosen");
    const bool pair =
        v != chosen && (json_is_object(chosen) || json_is_array(chosen));

    out->talks = true;
    if (!json_is_array(v)) {
        QL_FAIL(QL_EFORMAT, v ? "\"%s\" must be a list" : "\"%s\" is missing",
                k.first);
    }
    QL_TRY(ql_talk_add_all(&out->talk, v, k.first, !pair, strict));
    if (pair) {
        QL_TRY(ql_talk_add_all(&out->talk, chosen, "chosen", true, strict));
    }
    return ql_talk_frame(&out->talk, r);
}

static ql_status read_messages(const json_t *r, keys k, ql_content *out)
{
    return read_turns(r, k, false, out);
}

static ql_status read_sharegpt(const json_t *r, keys k, ql_content *out)
{
    return read_turns(r, k, true, out);
}

static bool fits_list(const json_t *r, keys k)
{
    return json_is_array(json_object_get(r, k.first));
}

static bool fits_string(const json_t *r, keys k)
{
    return json_is_string(json_object_get(r, k.first));
}

static bool fits_label(const json_t *r, keys k)
{
    const json_t *v = json_object_get(r, k.second);

    return json_is_integer(v) || json_is_boolean(v) ||
           (json_is_string(v) && json_string_length(v) <= LABEL_BYTES);
}

static const char preference[] =
    "the answers that were preferred (\"chosen\") are trained; those that "
    "were rejected are not used";

/* In the order in which a record is looked at. */
static const ql_form forms[] = {
    {QL_FORMAT_MESSAGES, {"messages"}, {NULL}, NULL, read_messages, NULL},
    {QL_FORMAT_SHAREGPT,
     {"conversations", "conversation"},
     {"chosen"},
     NULL,
     read_sharegpt,
     preference},
    {QL_FORMAT_SHAREGPT,
     {"conversations", "conversation"},
     {NULL},
     NULL,
     read_sharegpt,
     NULL},
    {QL_FORMAT_PROMPT_COMPLETION,
     {"prompt"},
     {"completion"},
     NULL,
     read_pair,
     NULL},
    {QL_FORMAT_PROMPT_COMPLETION,
     {"prompt"},
     {"chosen"},
     NULL,
     read_pair,
     preference},
    {QL_FORMAT_ALPACA,
     {"instruction", "question", "query", "prompt"},
     {"output", "response", "answer"},
     NULL,
     read_alpaca,
     NULL},
    {QL_FORMAT_ALPACA,
     {"instruction", "question", "query"},
     {"chosen"},
     NULL,
     read_alpaca,
     preference},
    {QL_FORMAT_ALPACA,
     {"text", "sentence"},
     {"label"},
     fits_label,
     read_alpaca,
     "the records have labels: the model learns to answer each text with its "
     "label; --format text trains the texts alone"},
    {QL_FORMAT_TEXT, {"text"}, {NULL}, NULL, read_text, NULL},
    {QL_FORMAT_MESSAGES,
     {"chosen"},
     {NULL},
     fits_list,
     read_messages,
     preference},
    {QL_FORMAT_TEXT, {"chosen"}, {NULL}, fits_string, read_text, preference},
};

/* The names of formats, and how their records look. */
static const struct {
    ql_format format;
    const char *name;
} names[] = {
    {QL_FORMAT_AUTO, "auto"},
    {QL_FORMAT_MESSAGES, "messages"},
    {QL_FORMAT_PROMPT_COMPLETION, "prompt_completion"},
    {QL_FORMAT_ALPACA, "alpaca"},
    {QL_FORMAT_SHAREGPT, "sharegpt"},
    {QL_FORMAT_TEXT, "text"},
    {QL_FORMAT_CLASSIFICATION, "classification"},
};

const char *ql_format_name(ql_format format)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (names[i].format == format) {
            return names[i].name;
        }
    }
    return NULL;
}

/* The keys of a record that the form goes by; where there are none, those it
 * should have. True if they are there. */
static bool find_keys(const ql_form *form, const json_t *r, keys *k)
{
    const char *first = ql_field_any(r, form->first);
    const char *second = ql_field_any(r, form->second);

    k->first = first ? first : form->first[0];
    k->second = second ? second : form->second[0];
    return first && (second || !form->second[0]);
}

static bool fits(const ql_form *form, const json_t *r)
{
    keys k;

    return find_keys(form, r, &k) && (!form->fits || form->fits(r, k));
}

/* As many keys of the record as fit a sentence. */
static ql_status unknown_form(json_t *record)
{
    const char *key;
    json_t *value;
    ql_status st;
    ql_buf list;

    ql_buf_init(&list, QL_TAG_DATA, LISTED_BYTES);
    json_object_foreach(record, key, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        st = ql_buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", key);
        if (st != QL_OK) {
            break;
        }
    }
    st = ql_fail(QL_EFORMAT,
                 "the form of the record is not known: it has the keys (%s), "
                 "known are (messages), (conversations), (prompt, completion), "
                 "(instruction, output), (question, answer), (text)",
                 list.data ? list.data : "");
    ql_buf_free(&list);
    return st;
}

static size_t count_fitting(const ql_form *form, json_t *const *records,
                            size_t n)
{
    size_t k = 0;

    while (k < n && fits(form, records[k])) {
        k++;
    }
    return k;
}

ql_status ql_form_find(const ql_form **out, json_t *const *records, size_t n,
                       ql_format given)
{
    const ql_form *of_format = NULL;
    size_t most = 0;

    *out = NULL;
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        const bool asked = given == QL_FORMAT_AUTO || forms[i].format == given;
        const size_t k = asked ? count_fitting(&forms[i], records, n) : 0;

        if (k > most) {
            most = k;
            *out = &forms[i];
        }
        if (forms[i].format == given && !of_format) {
            of_format = &forms[i];
        }
    }
    if (!*out) {
        *out = of_format;
    }
    return *out ? QL_OK : unknown_form(records[0]);
}

const ql_form *ql_form_plain_text(void)
{
    static const ql_form plain = {
        .format = QL_FORMAT_TEXT, .first = {NULL}, .second = {NULL}};

    return &plain;
}

const ql_form *ql_form_labelled(void)
{
    static const ql_form labelled = {
        .format = QL_FORMAT_CLASSIFICATION, .first = {NULL}, .second = {NULL}};

    return &labelled;
}

ql_format ql_form_format(const ql_form *form)
{
    return form->format;
}

ql_status ql_form_keys(const ql_form *form, const json_t *record, ql_buf *out)
{
    keys k;

    find_keys(form, record, &k);
    return k.second ? ql_buf_printf(out, "%s, %s", k.first, k.second)
                    : ql_buf_puts(out, k.first);
}

const char *ql_form_note(const ql_form *form)
{
    return form->note;
}

ql_status ql_form_read(const ql_form *form, const json_t *record,
                       ql_content *out)
{
    keys k;

    *out = (ql_content){.prompt = "", .text = ""};
    QL_TRY(ql_talk_init(&out->talk));
    find_keys(form, record, &k);
    return form->read(record, k, out);
}

void ql_content_free(ql_content *c)
{
    ql_talk_free(&c->talk);
}
