/* Conversations in the default form, for models that bring no chat template.
 *
 * It needs no tokens of its own and closes each turn of the assistant with
 * the end token. The space after "Assistant:" is trained with the turn, as it
 * is the model that writes it when it is asked to go on after the colon.
 *
 * The begin and end tokens are put in by id. The text between two of them is
 * tokenized as one piece, as it would be if the whole conversation were
 * rendered and tokenized, except that the end token is also found by
 * tokenizers that miss its content within running text. */
#include <string.h>

#include "src/base/fail.h"
#include "src/data/shape.h"
#include "src/text/tokenizer_handle.h"
#include "src/text/utf8.h"

const char *ql_default_chat_template(void)
{
    return "{{ bos_token }}"
           "{% for message in messages %}"
           "{% set content = (message['content'] if message['content'] is "
           "string else message['content'] | map(attribute='text') | "
           "join('')) | trim %}"
           "{% if message['role'] == 'system' %}"
           "{{ content + '\\n\\n' }}"
           "{% elif message['role'] == 'user' %}"
           "{{ 'User: ' + content + '\\n' }}"
           "{% elif message['role'] == 'assistant' %}"
           "{{ 'Assistant: ' + content }}{{ eos_token or '\\n' }}"
           "{% else %}"
           "{{ raise_exception('unknown role ' + message['role']) }}"
           "{% endif %}"
           "{% endfor %}"
           "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";
}

typedef enum role {
    SYSTEM,
    USER,
    ASSISTANT,
    ROLES
} role;

static const char *const role_names[ROLES] = {"system", "user", "assistant"};

/* What stands before and after the content; after that of the assistant comes
 * the end token. */
static const char *const heads[ROLES] = {"", "User: ", "Assistant:"};
static const char *const tails[ROLES] = {"\n\n", "\n", ""};

/* The conversation as far as it is rendered. */
typedef struct chat {
    const ql_tokenizer *tok;
    ql_sample_draft *out;
    ql_buf text;  /* of the piece at hand */
    ql_buf train; /* uint8_t per byte of text */
    bool begins;  /* nothing comes before the piece */
} chat;

static ql_status put(chat *c, const char *s, size_t n, bool train)
{
    QL_TRY(ql_buf_append(&c->text, s, n));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_putc(&c->train, train));
    }
    return QL_OK;
}

/* Appends the tokens of the piece. One is trained if it begins in a part of
 * the text that is. */
static ql_status push_tokens(chat *c, const ql_encoding *e)
{
    for (size_t i = 0; i < ql_encoding_size(e); i++) {
        const size_t start = ql_encoding_starts(e)[i];
        const bool train = start < c->train.len && c->train.data[start];

        QL_TRY(ql_sample_draft_push(c->out, &ql_encoding_ids(e)[i], 1, train));
    }
    return QL_OK;
}

static ql_status end_piece(chat *c)
{
    ql_status st = QL_OK;
    ql_encoding e;

    ql_encoding_init(&e, QL_TAG_DATA, true);
    if (c->text.len > 0) {
        QL_TRY_DONE(ql_tokenizer_append(c->tok, c->text.data, c->text.len,
                                        c->begins, &e));
        QL_TRY_DONE(push_tokens(c, &e));
    }
    c->begins = false;
    ql_buf_clear(&c->text);
    ql_buf_clear(&c->train);
done:
    ql_encoding_free(&e);
    return st;
}

static ql_status put_end(chat *c, bool train)
{
    const int32_t eos = ql_tokenizer_eos(c->tok);

    if (eos < 0) {
        return put(c, "\n", 1, train);
    }
    QL_TRY(end_piece(c));
    return ql_sample_draft_push(c->out, &eos, 1, train);
}

static ql_status read_role(const json_t *message, role *out)
{
    const char *name = "";
    size_t n;

    QL_TRY(ql_shape_string(message, "role", &name, &n));
    for (int i = 0; i < ROLES; i++) {
        if (strcmp(name, role_names[i]) == 0) {
            *out = (role)i;
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "the role \"%s\" is not supported (system, user and assistant "
            "are)",
            name);
}

/* One part of a content that is a list. */
static ql_status append_part(const json_t *part, ql_buf *content)
{
    const char *type = "";
    const char *s = "";
    size_t n = 0;

    QL_TRY(ql_shape_string(part, "type", &type, &n));
    if (strcmp(type, "text") != 0) {
        QL_FAIL(QL_EUNSUPPORTED, "content of type \"%s\" is not supported",
                type);
    }
    QL_TRY(ql_shape_string(part, "text", &s, &n));
    return ql_buf_append(content, s, n);
}

static ql_status read_content(const json_t *message, ql_buf *content)
{
    const json_t *v = json_object_get(message, "content");
    const char *s = "";
    size_t n = 0;

    if (!json_is_array(v)) {
        QL_TRY(ql_shape_string(message, "content", &s, &n));
        return ql_buf_append(content, s, n);
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        QL_TRY(append_part(json_array_get(v, i), content));
    }
    return QL_OK;
}

/* White space as the template's filter trim knows it. */
static bool is_trimmed(const char *s, size_t n)
{
    const int32_t c = ql_utf8_get(s, n);

    return ql_utf8_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

static void trim(const char **s, size_t *n)
{
    while (*n > 0 && is_trimmed(*s, *n)) {
        const size_t len = ql_utf8_len(*s, *n);

        *s += len;
        *n -= len;
    }
    while (*n > 0) {
        const size_t back = ql_utf8_back(*s, *n);

        if (!is_trimmed(*s + back, *n - back)) {
            break;
        }
        *n = back;
    }
}

static ql_status put_message(chat *c, role r, const ql_buf *content, bool train,
                             bool all)
{
    const char *s = content->data ? content->data : "";
    size_t n = content->len;

    trim(&s, &n);
    QL_TRY(put(c, heads[r], strlen(heads[r]), all));
    if (r == ASSISTANT) {
        QL_TRY(put(c, " ", 1, train));
    }
    QL_TRY(put(c, s, n, train));
    QL_TRY(put(c, tails[r], strlen(tails[r]), all));
    return r == ASSISTANT ? put_end(c, train) : QL_OK;
}

/* "weight": 0 takes a turn of the assistant out of the training. */
static ql_status read_weight(const json_t *message, bool *trained)
{
    const json_t *v = json_object_get(message, "weight");
    const double weight = json_number_value(v);

    *trained = true;
    if (!v || json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_number(v) || (weight != 0 && weight != 1)) {
        QL_FAIL(QL_EFORMAT, "\"weight\" must be 0 or 1");
    }
    *trained = weight == 1;
    return QL_OK;
}

/* Calls to tools have no place in this form. */
static ql_status refuse_tools(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    if (v && !json_is_null(v) &&
        !(json_is_array(v) && json_array_size(v) == 0)) {
        QL_FAIL(QL_EUNSUPPORTED, "\"%s\" is not supported", key);
    }
    return QL_OK;
}

static ql_status render_message(chat *c, const json_t *message,
                                ql_train_on train_on, bool last)
{
    const bool all = train_on == QL_TRAIN_ON_ALL;
    bool train = true;
    role r = SYSTEM;
    ql_buf content;
    ql_status st;

    ql_buf_init(&content, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(read_role(message, &r));
    QL_TRY_DONE(read_weight(message, &train));
    QL_TRY_DONE(refuse_tools(message, "tool_calls"));
    QL_TRY_DONE(read_content(message, &content));
    train =
        train && r == ASSISTANT && (train_on != QL_TRAIN_ON_LAST_TURN || last);
    st = put_message(c, r, &content, train || all, all);
done:
    ql_buf_free(&content);
    return st;
}

/* Index of the last turn of the assistant; the number of messages if there is
 * none. */
static size_t last_turn(const json_t *messages)
{
    const size_t n = json_array_size(messages);

    for (size_t i = n; i-- > 0;) {
        const json_t *v = json_object_get(json_array_get(messages, i), "role");

        if (json_is_string(v) &&
            strcmp(json_string_value(v), role_names[ASSISTANT]) == 0) {
            return i;
        }
    }
    return n;
}

static ql_status render(chat *c, const json_t *messages, ql_train_on train_on)
{
    const int32_t bos = ql_tokenizer_bos(c->tok);
    const size_t last = last_turn(messages);

    if (bos >= 0) {
        QL_TRY(ql_sample_draft_push(c->out, &bos, 1, false));
    }
    c->begins = bos < 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const ql_status st =
            render_message(c, json_array_get(messages, i), train_on, i == last);

        if (st != QL_OK) {
            return ql_fail_prefix(st, "message %zu: ", i + 1);
        }
    }
    return end_piece(c);
}

ql_status ql_shape_messages(const json_t *record, const ql_tokenizer *tok,
                            ql_train_on train_on, ql_sample_draft *out)
{
    const json_t *messages = json_object_get(record, "messages");
    chat c = {.tok = tok, .out = out};
    ql_status st;

    if (!json_is_array(messages)) {
        QL_FAIL(QL_EFORMAT, "\"messages\" must be a list");
    }
    QL_TRY(refuse_tools(record, "tools"));
    ql_buf_init(&c.text, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&c.train, QL_TAG_DATA, SIZE_MAX / 4);
    st = render(&c, messages, train_on);
    ql_buf_free(&c.text);
    ql_buf_free(&c.train);
    return st;
}
