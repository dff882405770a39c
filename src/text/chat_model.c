#include "src/text/chat_model.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/chat_file.h"
#include "src/text/tokenizer_handle.h"

const char *ql_chat_default(void)
{
    return "{{ bos_token }}"
           "{% if tools %}{{ 'Tools: ' + tools | tojson + '\\n\\n' }}"
           "{% endif %}"
           "{% for message in messages %}"
           "{% set content = message['content'] or '' %}"
           "{% set content = (content if content is string else "
           "content | map(attribute='text') | join('')) | trim %}"
           "{% if message['role'] == 'system' %}"
           "{{ content + '\\n\\n' }}"
           "{% elif message['role'] == 'user' %}"
           "{{ 'User: ' + content + '\\n' }}"
           "{% elif message['role'] == 'tool' %}"
           "{{ 'Tool: ' + content + '\\n' }}"
           "{% elif message['role'] == 'assistant' %}"
           "{% set calls = message['tool_calls'] or [] %}"
           "{{ 'Assistant:' }}"
           "{% if content or not calls %}{{ ' ' + content }}{% endif %}"
           "{% for call in calls %}"
           "{{ ' Call: ' + (call['function'] or call) | tojson }}"
           "{% endfor %}"
           "{{ eos_token or '\\n' }}"
           "{% else %}"
           "{{ raise_exception('unknown role ' + message['role']) }}"
           "{% endif %}"
           "{% endfor %}"
           "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";
}

/* Makes a token known that only the tokenizer knows. */
static ql_status name_token(const ql_chat *c, const char *name,
                            const char *content)
{
    if (!content || json_object_get(c->tokens, name)) {
        return QL_OK;
    }
    return json_object_set_new(c->tokens, name, json_string(content)) == 0
               ? QL_OK
               : ql_fail(QL_ENOMEM, "out of memory for special tokens");
}

static ql_status open_default(ql_chat *c, const ql_tokenizer *tok)
{
    const char *text = ql_chat_default();

    c->kind = QL_CHAT_DEFAULT;
    c->text = ql_strdup(QL_TAG_TEXT, text);
    if (!c->text) {
        return QL_ENOMEM;
    }
    QL_TRY(name_token(c, "bos_token",
                      ql_tokenizer_token(tok, ql_tokenizer_bos(tok))));
    QL_TRY(name_token(c, "eos_token",
                      ql_tokenizer_token(tok, ql_tokenizer_eos(tok))));
    return ql_chat_template_open(&c->plain, text, strlen(text),
                                 "the default chat template");
}

static bool asks_for_date(const char *template)
{
    return strstr(template, "strftime_now") != NULL;
}

/* Opens another one for conversations with tools, if there is another. */
static ql_status open_tools(ql_chat *c, const char *dir, const char *given)
{
    ql_chat_source s;
    ql_status st = ql_chat_source_find(&s, dir, given, true);

    if (st == QL_OK && strcmp(s.text, c->text) != 0) {
        c->dated = c->dated || asks_for_date(s.text);
        st = ql_chat_template_open(&c->tools, s.text, s.len, s.where);
    }
    ql_chat_source_free(&s);
    return st;
}

static ql_status open_found(ql_chat *c, ql_chat_source *s, const char *dir,
                            const char *given)
{
    c->kind = given ? QL_CHAT_GIVEN : QL_CHAT_OWN;
    c->text = s->text;
    s->text = NULL;
    c->dated = asks_for_date(c->text);
    QL_TRY(ql_chat_template_open(&c->plain, c->text, s->len, s->where));
    return open_tools(c, dir, given);
}

/* A day, or a second of it; noon stands for a day. */
static ql_status read_date(const char *date, struct tm *out)
{
    struct tm t = {.tm_hour = 12, .tm_isdst = -1};
    struct tm same;
    int end = 0;

    sscanf(date, "%4d-%2d-%2d%n %2d:%2d:%2d%n", &t.tm_year, &t.tm_mon,
           &t.tm_mday, &end, &t.tm_hour, &t.tm_min, &t.tm_sec, &end);
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    same = t;
    if (end == 0 || date[end] || mktime(&same) == (time_t)-1 ||
        same.tm_mday != t.tm_mday || same.tm_mon != t.tm_mon ||
        same.tm_hour != t.tm_hour || same.tm_min != t.tm_min) {
        QL_FAIL(QL_EINVAL,
                "'%s' is not a date: write it as YYYY-MM-DD, with HH:MM:SS "
                "behind it if the time matters",
                date);
    }
    *out = same;
    return QL_OK;
}

ql_status ql_chat_open(ql_chat *c, const ql_tokenizer *tok, const char *given,
                       const char *date)
{
    const time_t now = time(NULL);
    ql_chat_source s;
    ql_status st;

    *c = (ql_chat){0};
    if (date) {
        QL_TRY(read_date(date, &c->now));
    } else {
        localtime_r(&now, &c->now);
    }
    QL_TRY(ql_chat_tokens_read(&c->tokens, tok->dir));
    st = ql_chat_source_find(&s, tok->dir, given, false);
    if (st == QL_OK) {
        st = open_found(c, &s, tok->dir, given);
    } else if (st == QL_ENOTFOUND && !given) {
        st = open_default(c, tok);
    }
    ql_chat_source_free(&s);
    return st;
}

void ql_chat_close(ql_chat *c)
{
    ql_chat_template_close(&c->plain);
    ql_chat_template_close(&c->tools);
    json_decref(c->tokens);
    ql_free(c->text);
    *c = (ql_chat){0};
}

ql_status ql_chat_write(const ql_chat *c, ql_chat_input in, ql_buf *text,
                        ql_buf *spans)
{
    in.tokens = c->tokens;
    in.now = &c->now;
    return ql_chat_render(in.tools && c->tools ? c->tools : c->plain, &in, text,
                          spans);
}
