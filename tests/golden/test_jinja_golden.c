/* Templates rendered as jinja2 renders them, text for text and error for
 * error: snippets, and real chat templates. */
#include <stdio.h>
#include <string.h>

#include "qlora/runtime.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/lines.h"
#include "src/text/chat.h"
#include "tests/check/check.h"

enum {
    FILE_BYTES = 1 << 26,
    TEXT_BYTES = 1 << 26
};

/* The time that "2026-01-02 03:04:05" tells. */
static struct tm time_of(const char *text)
{
    struct tm t = {.tm_isdst = -1};

    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d", &t.tm_year, &t.tm_mon,
                            &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec),
                     6);
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    assert_true(mktime(&t) != (time_t)-1);
    return t;
}

/* The sentence is that of the reference, behind the place in the template. A
 * TemplateError is the template's own, and stands alone. */
static void same_error(const char *want, const char *name)
{
    static const char own[] = "TemplateError: ";
    const char *got = ql_last_error();
    const char *place = strchr(got, ':');

    if (strncmp(want, own, strlen(own)) == 0) {
        want += strlen(own);
    }
    place = place ? strstr(place, ": ") : NULL;
    if (!place || strcmp(place + 2, want) != 0) {
        fail_msg("%s: \"%s\" instead of \"%s\"", name, got, want);
    }
}

static void same_text(const ql_buf *text, const json_t *want, const char *name)
{
    assert_true(json_is_string(want));
    if (text->len != json_string_length(want) ||
        memcmp(text->data, json_string_value(want), text->len) != 0) {
        fail_msg("%s:\n%s\ninstead of\n%s", name, text->data,
                 json_string_value(want));
    }
}

static void same_spans(const ql_buf *text, const ql_buf *spans,
                       const json_t *want)
{
    const ql_chat_span *span = (const void *)spans->data;

    assert_int_equal(spans->len / sizeof(*span), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *s = json_array_get(want, i);

        assert_int_equal(span[i].to - span[i].from, json_string_length(s));
        assert_memory_equal(text->data + span[i].from, json_string_value(s),
                            json_string_length(s));
    }
}

/* Renders a template and compares: with error if that is a string. */
static void check_case(const char *template, size_t len, const char *name,
                       const ql_chat_input *in, const json_t *want,
                       const json_t *error, const json_t *spans_want)
{
    ql_chat_template *t = NULL;
    ql_buf text;
    ql_buf spans;
    ql_status st;

    ql_buf_init(&text, QL_TAG_TEXT, TEXT_BYTES);
    ql_buf_init(&spans, QL_TAG_TEXT, TEXT_BYTES);
    st = ql_chat_template_open(&t, template, len, "template");
    if (st == QL_OK) {
        st = ql_chat_render(t, in, &text, &spans);
    }
    if (json_is_string(error)) {
        assert_int_not_equal(st, QL_OK);
        assert_int_equal(text.len, 0);
        same_error(json_string_value(error), name);
    } else {
        if (st != QL_OK) {
            fail_msg("%s: %s", name, ql_last_error());
        }
        same_text(&text, want, name);
        same_spans(&text, &spans, spans_want);
    }
    ql_buf_free(&text);
    ql_buf_free(&spans);
    ql_chat_template_close(&t);
}

static void golden__snippets(void **state)
{
    const struct tm now = time_of("2024-07-26 12:00:00");
    const json_t *cases;
    json_t *root;

    (void)state;
    check_ok(ql_json_load(&root, check_shared("golden/jinja/cases.json"),
                          FILE_BYTES));
    cases = json_object_get(root, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *template = json_object_get(c, "template");
        const ql_chat_input in = {.extra = json_object_get(root, "context"),
                                  .now = &now};

        check_case(json_string_value(template), json_string_length(template),
                   json_string_value(template), &in, json_object_get(c, "out"),
                   json_object_get(c, "error"),
                   json_object_get(c, "generation_spans"));
    }
    assert_int_equal(json_array_size(cases), 59);
    json_decref(root);
}

/* A conversation for a real template. */
static void check_conversation(const json_t *c)
{
    const char *file = json_string_value(json_object_get(c, "template"));
    const struct tm now =
        time_of(json_string_value(json_object_get(c, "strftime_now")));
    json_t *tokens = json_pack("{s:O, s:O, s:O}", "bos_token",
                               json_object_get(c, "bos_token"), "eos_token",
                               json_object_get(c, "eos_token"), "pad_token",
                               json_object_get(c, "pad_token"));
    const ql_chat_input in = {.messages = json_object_get(c, "messages"),
                              .tools = json_object_get(c, "tools"),
                              .documents = json_object_get(c, "documents"),
                              .tokens = tokens,
                              .add_generation_prompt = json_is_true(
                                  json_object_get(c, "add_generation_prompt")),
                              .now = &now};
    char path[256];
    char name[256];
    char *text;
    size_t len;

    snprintf(path, sizeof(path), "tokenizers/chat_templates/%s", file);
    snprintf(name, sizeof(name), "%s, case %s", file,
             json_string_value(json_object_get(c, "case")));
    check_ok(ql_file_read(check_shared(path), FILE_BYTES, &text, &len));
    check_case(text, len, name, &in, json_object_get(c, "rendered"),
               json_object_get(c, "error"), NULL);
    ql_free(text);
    json_decref(tokens);
}

static void golden__chat_templates(void **state)
{
    ql_lines lines;
    bool more;

    (void)state;
    check_ok(ql_lines_init(
        &lines, check_shared("tokenizers/golden/chat_templates.jsonl"),
        FILE_BYTES));
    for (;;) {
        json_t *c;

        check_ok(ql_lines_next(&lines, &more));
        if (!more) {
            break;
        }
        check_ok(ql_json_parse(&c, lines.line.data, lines.line.len, "golden"));
        check_conversation(c);
        json_decref(c);
    }
    assert_int_equal(lines.number, 264);
    ql_lines_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__snippets),
        cmocka_unit_test(golden__chat_templates),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
