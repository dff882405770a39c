#include "src/text/style.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/call.h"
#include "src/text/ending.h"
#include "src/text/role.h"
#include "src/text/thought.h"

const char ql_style_word[] = "qloraWord7f3a9c";

static const char asked[] = "qloraAsked51d0e8";
static const char tool_name[] = "qlora_tool_2b86";
static const char tool_value[] = "qloraValue90c4";
static const char tool_result[] = "qloraResult3e17";
static const char tool_listed[] = "qloraListed6c50";

/* In the order in which they are tried. */
static const ql_call_style call_styles[] = {
    {NULL, true, false},  {"null", true, false},  {"", true, false},
    {NULL, false, false}, {"null", false, false}, {"", false, false},
    {NULL, true, true},   {"null", true, true},   {"", true, true},
    {NULL, false, true},  {"null", false, true},  {"", false, true},
};

ql_status ql_style_write(const ql_style *s, const ql_talk *t, size_t n,
                         bool prompt, ql_buf *text, ql_buf *spans)
{
    ql_chat_input in = {.tools = t->tools,
                        .documents = t->documents,
                        .extra = t->extra,
                        .add_generation_prompt = prompt};
    json_t *part = NULL;
    ql_status st;

    part = json_array();
    st = ql_field_held(part);
    for (size_t i = 0; i < n && st == QL_OK; i++) {
        st = ql_field_held(
            json_array_append(part, json_array_get(t->messages, i)) == 0);
    }
    in.messages = part;
    if (st == QL_OK) {
        st = ql_chat_write(s->chat, in, text, spans);
    }
    json_decref(part);
    return st == QL_OK ? ql_buf_append(text, "", 0) : st;
}

/* A tool that can be found again. */
static ql_status make_tools(ql_talk *t)
{
    t->tools = json_pack(
        "[{s:s, s:{s:s, s:s, s:{s:s, s:{s:{s:s, s:s}}, s:[]}}}]", "type",
        "function", "function", "name", tool_listed, "description", tool_listed,
        "parameters", "type", "object", "properties", "key", "type", "string",
        "description", tool_listed, "required");
    return ql_field_held(t->tools);
}

/* Turns that ask and answer, and how they are written. */
typedef struct probe {
    ql_talk talk;
    ql_buf prompted; /* the question, with a prompt for an answer */
    ql_buf asked;    /* the question */
    ql_buf answered; /* question and answer */
    ql_buf went_on;  /* question, answer, question */
} probe;

static ql_status probe_init(probe *p)
{
    ql_buf *const all[] = {&p->prompted, &p->asked, &p->answered, &p->went_on};

    for (size_t i = 0; i < 4; i++) {
        ql_buf_init(all[i], QL_TAG_DATA, SIZE_MAX / 4);
    }
    return ql_talk_init(&p->talk);
}

static void probe_free(probe *p)
{
    ql_talk_free(&p->talk);
    ql_buf_free(&p->prompted);
    ql_buf_free(&p->asked);
    ql_buf_free(&p->answered);
    ql_buf_free(&p->went_on);
}

static ql_status probe_write(probe *p, const ql_style *s)
{
    const size_t n = strlen(asked);

    QL_TRY(ql_talk_say(&p->talk, "user", asked, n, false));
    QL_TRY(ql_talk_say(&p->talk, "assistant", ql_style_word,
                       strlen(ql_style_word), true));
    QL_TRY(ql_talk_say(&p->talk, "user", asked, n, false));
    QL_TRY(ql_style_write(s, &p->talk, 1, true, &p->prompted, NULL));
    QL_TRY(ql_style_write(s, &p->talk, 1, false, &p->asked, NULL));
    QL_TRY(ql_style_write(s, &p->talk, 2, false, &p->answered, NULL));
    return ql_style_write(s, &p->talk, 3, false, &p->went_on, NULL);
}

static bool equal(const ql_buf *a, const ql_buf *b)
{
    return a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static ql_status replace(char **string, const char *text, size_t len)
{
    ql_free(*string);
    *string = ql_strndup(QL_TAG_DATA, text, len);
    return *string ? QL_OK : QL_ENOMEM;
}

/* What stands behind the last turn: the part of the text after the answer
 * that is not there once the conversation goes on. */
static ql_status find_trailer(ql_style *s, const probe *p,
                              const ql_tokenizer *tok)
{
    const ql_buf *a = &p->answered;
    const ql_buf *b = &p->went_on;
    const size_t skip = strlen(ql_style_word);
    size_t i = ql_ending_word(a->data, a->len, ql_style_word, skip);
    size_t j = ql_ending_word(b->data, b->len, ql_style_word, skip);

    if (i == SIZE_MAX || j == SIZE_MAX) {
        return QL_OK;
    }
    i += skip;
    j += skip;
    i += ql_ending_find(tok, a->data + i, a->len - i, b->data + j, b->len - j);
    return replace(&s->trailer, a->data + i, a->len - i);
}

/* What stands before an answer, where the template has no prompt for it, or
 * always ends in one. */
static ql_status find_head(ql_style *s, const probe *p)
{
    const ql_buf *a = &p->asked;
    const size_t word = ql_ending_word(p->answered.data, p->answered.len,
                                       ql_style_word, strlen(ql_style_word));
    const size_t m = strlen(s->trailer);

    if (word == SIZE_MAX || word < a->len ||
        memcmp(a->data, p->answered.data, a->len) != 0 ||
        (m > 0 && m <= a->len &&
         memcmp(a->data + a->len - m, s->trailer, m) == 0)) {
        return QL_OK;
    }
    return replace(&s->head, p->answered.data + a->len, word - a->len);
}

/* The thought that the prompt opens in place of the turn's content. */
static ql_status find_opens(ql_style *s, const probe *p)
{
    const ql_buf *a = &p->answered;
    const ql_buf *b = &p->prompted;
    const size_t at = ql_thought_opened(b->data, b->len);

    if (at == b->len || at != ql_ending_common(a->data, a->len, b->data, at) ||
        at != ql_ending_word(a->data, a->len, ql_style_word,
                             strlen(ql_style_word))) {
        return QL_OK;
    }
    return replace(&s->opens, b->data + at, b->len - at);
}

/* A template may refuse what it is tried with; it then counts as an ordinary
 * one. */
static ql_status try_turns(ql_style *s, bool tools, const ql_tokenizer *tok)
{
    probe p;
    ql_status st;

    QL_TRY_DONE(probe_init(&p));
    QL_TRY_DONE(tools ? make_tools(&p.talk) : QL_OK);
    st = probe_write(&p, s);
    if (st != QL_OK) {
        st = st == QL_ENOMEM ? st : QL_OK;
        goto done;
    }
    s->known = true;
    s->prompts = !equal(&p.prompted, &p.asked);
    QL_TRY_DONE(find_trailer(s, &p, tok));
    st = s->prompts ? find_opens(s, &p) : find_head(s, &p);
done:
    probe_free(&p);
    return st;
}

/* {% generation %} shows in the spans of an answer. */
static ql_status try_marks(ql_style *s, bool tools)
{
    ql_talk t;
    ql_buf text;
    ql_buf spans;
    ql_status st;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&spans, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_talk_init(&t));
    QL_TRY_DONE(tools ? make_tools(&t) : QL_OK);
    QL_TRY_DONE(ql_talk_say(&t, "user", asked, strlen(asked), false));
    QL_TRY_DONE(ql_talk_say(&t, "assistant", ql_style_word,
                            strlen(ql_style_word), true));
    st = ql_style_write(s, &t, 2, false, &text, &spans);
    s->marks = st == QL_OK && spans.len > 0;
    st = st == QL_ENOMEM ? st : QL_OK;
done:
    ql_talk_free(&t);
    ql_buf_free(&text);
    ql_buf_free(&spans);
    return st;
}

/* Sets the content of a turn that only calls. */
static ql_status set_content(json_t *message, const ql_call_style *c)
{
    if (!c->content) {
        json_object_del(message, "content");
        return QL_OK;
    }
    return ql_field_held(
        json_object_set_new(message, "content",
                            *c->content ? json_null() : json_string("")) == 0);
}

/* Gives an object the n-th id, of the nine letters and digits that some
 * templates insist on, unless it has one. */
static ql_status name(json_t *o, const char *key, size_t n)
{
    return json_object_get(o, key)
               ? QL_OK
               : ql_field_held(
                     json_object_set_new(
                         o, key, json_sprintf("call%05zu", n % 100000)) == 0);
}

/* Brings one message into shape. Results come in the order of the calls. */
static ql_status fit_message(json_t *message, const ql_call_style *c,
                             size_t *calls_before, size_t *results_before)
{
    json_t *calls = json_object_get(message, "tool_calls");
    const json_t *content = json_object_get(message, "content");
    const char *role = json_string_value(json_object_get(message, "role"));

    if (c->ids && role && strcmp(role, "tool") == 0) {
        return name(message, "tool_call_id", (*results_before)++);
    }
    if (!calls) {
        return QL_OK;
    }
    for (size_t i = 0; c->ids && i < json_array_size(calls); i++) {
        QL_TRY(name(json_array_get(calls, i), "id", (*calls_before)++));
    }
    if (json_string_length(content) == 0) {
        QL_TRY(set_content(message, c));
    }
    return ql_calls_set_arguments(calls, c->objects);
}

static ql_status fit_messages(json_t *messages, const ql_call_style *c)
{
    size_t calls = 0;
    size_t results = 0;

    for (size_t i = 0; i < json_array_size(messages); i++) {
        QL_TRY(fit_message(json_array_get(messages, i), c, &calls, &results));
    }
    return QL_OK;
}

/* A tool, a call of it and the result. */
static ql_status make_calls(ql_talk *t)
{
    json_t *call = json_pack("{s:s, s:[{s:s, s:{s:s}}]}", "role", "assistant",
                             "tool_calls", "name", tool_name, "arguments",
                             "key", tool_value);
    ql_status st = ql_field_held(call);

    QL_TRY_DONE(st);
    QL_TRY_DONE(ql_talk_say(t, "user", asked, strlen(asked), false));
    QL_TRY_DONE(ql_talk_add(t, call, true, true));
    QL_TRY_DONE(
        ql_talk_say(t, "tool", tool_result, strlen(tool_result), false));
    st =
        ql_field_held(json_object_set_new(json_array_get(t->messages, 2),
                                          "name", json_string(tool_name)) == 0);
done:
    json_decref(call);
    return st;
}

static bool shows(const ql_buf *text, const char *word)
{
    return ql_ending_word(text->data, text->len, word, strlen(word)) !=
           SIZE_MAX;
}

/* Calls are known if call and result show. */
static ql_status try_style(ql_style *s, bool tools, const ql_call_style *c)
{
    ql_talk t;
    ql_buf text;
    ql_status st;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_talk_init(&t));
    QL_TRY_DONE(make_calls(&t));
    QL_TRY_DONE(tools ? make_tools(&t) : QL_OK);
    QL_TRY_DONE(fit_messages(t.messages, c));
    st = ql_style_write(s, &t, 3, false, &text, NULL);
    if (st == QL_OK && shows(&text, tool_name) && shows(&text, tool_value) &&
        shows(&text, tool_result)) {
        s->calls = c;
    }
    st = st == QL_ENOMEM ? st : QL_OK;
done:
    ql_talk_free(&t);
    ql_buf_free(&text);
    return st;
}

static ql_status try_calls(ql_style *s, bool tools)
{
    const size_t n = sizeof(call_styles) / sizeof(*call_styles);

    for (size_t i = 0; i < n && !s->calls; i++) {
        QL_TRY(try_style(s, tools, &call_styles[i]));
    }
    return QL_OK;
}

/* Whether a list of tools, or a first turn of a role, shows. role: NULL for the
 * list. */
static ql_status try_frame(ql_style *s, bool tools, const char *role,
                           bool *shown)
{
    const size_t n = strlen(ql_style_word);
    ql_talk t;
    ql_buf text;
    ql_status st;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_talk_init(&t));
    QL_TRY_DONE(tools ? make_tools(&t) : QL_OK);
    QL_TRY_DONE(role ? ql_talk_say(&t, role, ql_style_word, n, false) : QL_OK);
    QL_TRY_DONE(ql_talk_say(&t, "user", asked, strlen(asked), false));
    st = ql_style_write(s, &t, role ? 2 : 1, true, &text, NULL);
    *shown = st == QL_OK && shows(&text, role ? ql_style_word : tool_listed);
    st = st == QL_ENOMEM ? st : QL_OK;
done:
    ql_talk_free(&t);
    ql_buf_free(&text);
    return st;
}

/* Some templates will not do without tools. One that refuses whatever it is
 * tried with gets conversations as they are. */
ql_status ql_style_init(ql_style *s, const ql_chat *chat, bool tools,
                        const ql_tokenizer *tok)
{
    *s = (ql_style){.chat = chat};
    s->head = ql_strdup(QL_TAG_DATA, "");
    s->trailer = ql_strdup(QL_TAG_DATA, "");
    s->opens = ql_strdup(QL_TAG_DATA, "");
    if (!s->head || !s->trailer || !s->opens) {
        return QL_ENOMEM;
    }
    QL_TRY(try_turns(s, tools, tok));
    if (!s->known && !tools) {
        tools = true;
        QL_TRY(try_turns(s, tools, tok));
    }
    QL_TRY(try_marks(s, tools));
    if (!s->known) {
        s->calls = call_styles;
        s->lists = s->systems = s->developers = true;
        return QL_OK;
    }
    QL_TRY(try_calls(s, tools || !chat->tools));
    QL_TRY(try_frame(s, true, NULL, &s->lists));
    QL_TRY(try_frame(s, tools, "developer", &s->developers));
    return try_frame(s, tools, "system", &s->systems);
}

void ql_style_free(ql_style *s)
{
    ql_free(s->head);
    ql_free(s->trailer);
    ql_free(s->opens);
    *s = (ql_style){0};
}

/* Makes the content of a message of two parts. */
static ql_status join_content(json_t *message, const char *head,
                              size_t head_len, const char *tail,
                              size_t tail_len)
{
    ql_buf b;
    ql_status st;

    ql_buf_init(&b, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_append(&b, head, head_len));
    QL_TRY_DONE(ql_buf_append(&b, tail, tail_len));
    st = ql_field_held(json_object_set_new(message, "content",
                                           json_stringn(b.data, b.len)) == 0);
done:
    ql_buf_free(&b);
    return st;
}

/* A call as a line of text after what the turn says. */
static ql_status call_as_text(json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls");
    const json_t *content = json_object_get(message, "content");
    const size_t n = json_string_length(content);
    ql_buf text;
    ql_status st;

    if (!calls) {
        return QL_OK;
    }
    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_calls_set_arguments(calls, true));
    if (n > 0) {
        QL_TRY_DONE(ql_buf_putc(&text, '\n'));
    }
    QL_TRY_DONE(ql_calls_put(&text, calls));
    QL_TRY_DONE(join_content(message, n > 0 ? json_string_value(content) : "",
                             n, text.data, text.len));
    json_object_del(message, "tool_calls");
done:
    ql_buf_free(&text);
    return st;
}

/* The tools before what the first turn says that is not the assistant's. */
static ql_status tools_as_text(ql_talk *t)
{
    json_t *first;
    const json_t *content;
    size_t i = 0;
    ql_buf text;
    ql_status st;

    while (strcmp(ql_talk_role(t, i), "assistant") == 0) {
        i++;
    }
    first = json_array_get(t->messages, i);
    content = json_object_get(first, "content");
    if (!first) {
        return QL_OK;
    }
    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_puts(&text, "Tools: "));
    QL_TRY_DONE(ql_call_put_json(&text, t->tools));
    QL_TRY_DONE(ql_buf_puts(&text, "\n\n"));
    st = join_content(first, text.data, text.len,
                      content ? json_string_value(content) : "",
                      json_string_length(content));
    json_decref(t->tools);
    t->tools = NULL;
done:
    ql_buf_free(&text);
    return st;
}

/* Calls as text, and results as what the user says. */
static ql_status calls_as_text(ql_talk *t, bool *any)
{
    for (size_t i = 0; i < json_array_size(t->messages); i++) {
        json_t *m = json_array_get(t->messages, i);
        const bool result = strcmp(ql_talk_role(t, i), "tool") == 0;

        *any = *any || result || json_object_get(m, "tool_calls");
        QL_TRY(call_as_text(m));
        if (result) {
            QL_TRY(ql_field_held(
                json_object_set_new(m, "role", json_string("user")) == 0));
        }
    }
    return QL_OK;
}

/* A system turn before what the next turn says. One behind which only the
 * assistant speaks becomes a turn of the user. */
static ql_status move_system(ql_talk *t, size_t i)
{
    const json_t *content =
        json_object_get(json_array_get(t->messages, i), "content");
    json_t *next = json_array_get(t->messages, i + 1);
    const json_t *said = json_object_get(next, "content");
    ql_buf text;
    ql_status st;

    if (strcmp(ql_talk_role(t, i + 1), "user") != 0 || !json_is_string(said)) {
        return ql_field_held(json_object_set_new(json_array_get(t->messages, i),
                                                 "role",
                                                 json_string("user")) == 0);
    }
    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_append(&text, json_string_value(content),
                              json_string_length(content)));
    QL_TRY_DONE(ql_buf_puts(&text, "\n\n"));
    QL_TRY_DONE(join_content(next, text.data, text.len, json_string_value(said),
                             json_string_length(said)));
    json_array_remove(t->messages, i);
    memmove(t->trained.data + i, t->trained.data + i + 1,
            t->trained.len - i - 1);
    t->trained.len--;
done:
    ql_buf_free(&text);
    return st;
}

static ql_status move_systems(ql_talk *t, bool *any)
{
    for (size_t i = json_array_size(t->messages); i-- > 0;) {
        if (strcmp(ql_talk_role(t, i), "system") == 0) {
            *any = true;
            QL_TRY(move_system(t, i));
        }
    }
    return QL_OK;
}

static ql_status name_systems(ql_talk *t)
{
    for (size_t i = 0; i < json_array_size(t->messages); i++) {
        if (strcmp(ql_talk_role(t, i), "developer") == 0) {
            QL_TRY(ql_field_held(
                json_object_set_new(json_array_get(t->messages, i), "role",
                                    json_string("system")) == 0));
        }
    }
    return QL_OK;
}

ql_status ql_style_fit(const ql_style *s, ql_talk *t, ql_style_lacks *lacks)
{
    if (!s->developers) {
        QL_TRY(name_systems(t));
    }
    if (s->calls) {
        QL_TRY(fit_messages(t->messages, s->calls));
    } else {
        QL_TRY(calls_as_text(t, &lacks->tools));
    }
    if (t->tools && !s->lists) {
        lacks->tools = true;
        QL_TRY(tools_as_text(t));
    }
    if (!s->systems) {
        QL_TRY(move_systems(t, &lacks->systems));
    }
    return ql_roles_check(s, t);
}
