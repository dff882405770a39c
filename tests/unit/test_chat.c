/* Chat templates as the library uses them: inputs, the parts inside
 * {% generation %}, the files of a model folder, and templates that do not
 * come to an end. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/chat.h"
#include "src/text/chat_file.h"
#include "tests/check/check.h"

enum {
    TEXT_BYTES = 1 << 27
};

static json_t *parse(const char *text)
{
    json_t *v;

    check_ok(ql_json_parse(&v, text, strlen(text), text));
    return v;
}

static ql_chat_template *compile(const char *text)
{
    ql_chat_template *t = NULL;

    check_ok(ql_chat_template_open(&t, text, strlen(text), "t"));
    return t;
}

/* Renders what compiles; spans may be NULL. */
static ql_status render(const char *template, const ql_chat_input *in,
                        ql_buf *text, ql_buf *spans)
{
    ql_chat_template *t = compile(template);
    ql_status st;

    ql_buf_init(text, QL_TAG_TEXT, TEXT_BYTES);
    if (spans) {
        ql_buf_init(spans, QL_TAG_TEXT, TEXT_BYTES);
    }
    st = ql_chat_render(t, in, text, spans);
    ql_chat_template_close(&t);
    return st;
}

static void gives(const char *template, const ql_chat_input *in,
                  const char *want)
{
    ql_buf text;

    check_ok(render(template, in, &text, NULL));
    assert_string_equal(text.data, want);
    ql_buf_free(&text);
}

static void chat__inputs(void **state)
{
    json_t *messages = parse("[{\"role\": \"user\", \"content\": \"hi\"}]");
    json_t *tools = parse("[{\"type\": \"function\"}]");
    json_t *tokens = parse("{\"bos_token\": \"<s>\"}");
    json_t *extra = parse("{\"date\": \"today\", \"bos_token\": \"B\"}");
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};
    ql_chat_input in = {0};

    (void)state;
    gives("{{ messages }}{{ tools }}{{ documents }}{{ add_generation_prompt }}"
          "{{ bos_token is defined }}",
          &in, "NoneNoneNoneFalseFalse");
    in = (ql_chat_input){.messages = messages,
                         .tools = tools,
                         .documents = tools,
                         .tokens = tokens,
                         .add_generation_prompt = true,
                         .now = &now};
    gives("{{ bos_token }}{{ messages[0].content }}{{ tools }}"
          "{{ documents|length }}{{ add_generation_prompt }}",
          &in, "<s>hi[{'type': 'function'}]1True");
    gives("{{ strftime_now('%d %b %Y') }}", &in, "26 Jul 2024");
    in.extra = extra;
    gives("{{ bos_token }}{{ date }}", &in, "Btoday");
    gives("", &in, "");
    json_decref(messages);
    json_decref(tools);
    json_decref(tokens);
    json_decref(extra);
}

/* A template is compiled once, and the clock is asked only where it must. */
static void chat__renders_again(void **state)
{
    ql_chat_template *t = compile("{% set x = 1 %}{{ x }}{{ strftime_now('%Y') "
                                  "|int > 2000 }}");
    ql_chat_input in = {0};
    ql_buf text;

    (void)state;
    ql_buf_init(&text, QL_TAG_TEXT, TEXT_BYTES);
    for (int i = 0; i < 3; i++) {
        ql_buf_clear(&text);
        check_ok(ql_chat_render(t, &in, &text, NULL));
        assert_string_equal(text.data, "1True");
    }
    ql_buf_free(&text);
    ql_chat_template_close(&t);
    assert_null(t);
    ql_chat_template_close(&t);
}

static void chat__generation_spans(void **state)
{
    static const char template[] =
        "{% for m in ['é', 'b'] %}U{% generation %}{{ m }}!"
        "{% endgeneration %}{% endfor %}{% generation %}{% endgeneration %}";
    const ql_chat_input in = {0};
    const ql_chat_span *span;
    ql_buf text;
    ql_buf spans;

    (void)state;
    check_ok(render(template, &in, &text, &spans));
    assert_string_equal(text.data, "Ué!Ub!");
    span = (const void *)spans.data;
    assert_int_equal(spans.len, 3 * sizeof(*span));
    assert_int_equal(span[0].from, 1);
    assert_int_equal(span[0].to, 4);
    assert_int_equal(span[1].from, 5);
    assert_int_equal(span[1].to, 7);
    assert_int_equal(span[2].from, 7);
    assert_int_equal(span[2].to, 7);
    ql_buf_free(&text);
    ql_buf_free(&spans);
}

/* Where the text inside a macro will stand is not known while it runs. */
static void chat__generation_in_a_macro(void **state)
{
    static const char template[] =
        "{% macro m() %}{% generation %}a{% endgeneration %}{% endmacro %}"
        "{{ m() }}";
    const ql_chat_input in = {0};
    ql_buf text;
    ql_buf spans;

    (void)state;
    gives(template, &in, "a");
    check_fails(render(template, &in, &text, &spans), QL_EUNSUPPORTED,
                "t:1: the tag 'generation' is not supported inside a macro");
    assert_int_equal(text.len, 0);
    assert_int_equal(spans.len, 0);
    ql_buf_free(&text);
    ql_buf_free(&spans);
}

/* Fails, and takes neither long (the limit is for slow builds; it is far less
 * than a second) nor more than 600 MiB. */
static void stops(const char *template, ql_status status, const char *sentence)
{
    const ql_chat_input in = {0};
    const double from = ql_now_s();
    ql_buf text;

    check_fails(render(template, &in, &text, NULL), status, sentence);
    ql_buf_free(&text);
    if (ql_now_s() - from > 60) {
        fail_msg("%s: %.1f s", template, ql_now_s() - from);
    }
    assert_true(ql_alloc_peak(QL_TAG_TEXT) < (size_t)600 << 20);
}

static void chat__endless_templates(void **state)
{
    (void)state;
    stops("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", QL_EFORMAT,
          "calls itself without end");
    stops("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}"
          "{% endmacro %}{{ a() }}",
          QL_EFORMAT, "calls itself without end");
    stops("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", QL_EFORMAT,
          "calls itself without end");
    stops("{% set ns = namespace(g=[1]) %}{% for i in range(90000) %}"
          "{% set ns.g = ns.g|map('string') %}{% endfor %}{{ ns.g|list }}",
          QL_EFORMAT, "calls itself without end");
    stops("{{ range(1000000000) }}", QL_EFORMAT, "Range too big");
    stops("{% for i in range(100000) %}{% for j in range(10000) %}"
          "{% endfor %}{% endfor %}",
          QL_EFORMAT, "limit of 268435456 bytes");
    stops("{% set ns = namespace(n=0) %}{% for i in range(99999) %}"
          "{% set ns.n = ns.n + range(90000)|list|length %}{% endfor %}",
          QL_EFORMAT, "limit of 268435456 bytes");
    stops("{% set r = range(9999)|list %}{% for i in r %}"
          "{{ 'x' if r == r and -1 in r }}{% endfor %}",
          QL_EFORMAT, "does not come to an end");
}

static void chat__exploding_templates(void **state)
{
    (void)state;
    stops("{{ 'a' * 1000000000 }}", QL_EFORMAT, "t:1: the template wants more");
    stops("{{ 'ab' * 9223372036854775807 }}", QL_EFORMAT, "wants more");
    stops("{{ [1] * 1000000000 }}", QL_EFORMAT, "wants more");
    stops("{% set ns = namespace(s='a') %}{% for i in range(99) %}"
          "{% set ns.s = ns.s + ns.s %}{% endfor %}",
          QL_EFORMAT, "wants more");
    stops("{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ s }}"
          "{% endfor %}",
          QL_EFORMAT, "limit of 67108864 bytes");
    stops("{% set s = 'a' * 1000000 %}{{ s|replace('', s) }}", QL_EFORMAT,
          "limit of 67108864 bytes");
    stops("{{ '%999999999d' % 1 }}", QL_EFORMAT, "a field is too wide");
    stops("{{ 'a'.center(10000000000) }}", QL_EFORMAT, "wants more");
    stops("{{ [[[1]]]|tojson(indent=1000000000) }}", QL_EFORMAT, "wants more");
    stops("{{ [1]|batch(1000000000, 0)|list }}", QL_EFORMAT, "wants more");
    stops("{% set ns = namespace(l=[]) %}{% for i in range(1000) %}"
          "{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
          QL_EFORMAT, "nested deeper than 200");
    stops("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}", QL_EFORMAT,
          "nested deeper than 200");
    stops("{% set s = 'a' * 3000000 %}{% for i in range(99999) %}"
          "{{ 'b' in s }}{% endfor %}",
          QL_EFORMAT, "does not come to an end");
    stops("{% set s = 'a' * 3000000 %}{% for i in range(99999) %}"
          "{% if s.center(0) == 1 %}{% endif %}{% endfor %}",
          QL_EFORMAT, "does not come to an end");
    stops("{% set s = 'a' * 3000000 %}{% set t = 'a' * 2999999 + 'b' %}"
          "{% for i in range(99999) %}{% if s == t %}{% endif %}{% endfor %}",
          QL_EFORMAT, "does not come to an end");
    stops("{% set s = 'a' * 3000000 %}{% set d = {'a' * 2999999 + 'b': 1} %}"
          "{% for i in range(99999) %}{% if s in d %}{% endif %}{% endfor %}",
          QL_EFORMAT, "does not come to an end");
}

/* text, n times. Owned: ql_buf_free. */
static void repeat(ql_buf *b, const char *text, int n)
{
    for (int i = 0; i < n; i++) {
        check_ok(ql_buf_puts(b, text));
    }
}

static void refuses_nested(const char *open, const char *middle,
                           const char *close, int n)
{
    ql_chat_template *t = NULL;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, TEXT_BYTES);
    check_ok(ql_buf_puts(&b, *open == '{' ? "" : "{{ "));
    repeat(&b, open, n);
    check_ok(ql_buf_puts(&b, middle));
    repeat(&b, close, n);
    check_ok(ql_buf_puts(&b, *open == '{' ? "" : " }}"));
    check_fails(ql_chat_template_open(&t, b.data, b.len, "t"), QL_EFORMAT,
                "nested deeper than 90");
    assert_null(t);
    ql_buf_free(&b);
}

static void chat__deep_templates(void **state)
{
    ql_buf text;
    ql_buf b;

    (void)state;
    refuses_nested("(", "1", ")", 100);
    refuses_nested("[", "", "]", 100000);
    refuses_nested("not ", "1", "", 100);
    refuses_nested("- ", "1", "", 100);
    refuses_nested("1 if 1 else ", "1", "", 100);
    refuses_nested("{% if 1 %}", "", "{% endif %}", 100);
    refuses_nested("{% for i in x %}", "", "{% endfor %}", 100000);
    /* a chain is not nested in the text, but in the tree */
    ql_buf_init(&b, QL_TAG_TEXT, TEXT_BYTES);
    repeat(&b, "{{ 1 ", 1);
    repeat(&b, "+ 1 ", 100000);
    repeat(&b, "}}", 1);
    check_fails(render(b.data, &(ql_chat_input){0}, &text, NULL), QL_EFORMAT,
                "evaluations deep");
    ql_buf_free(&text);
    ql_buf_free(&b);
}

static void write_file(const char *name, const char *text)
{
    const char *path = check_tmp_path(name);

    if (text) {
        check_ok(ql_file_write(path, text, strlen(text)));
    } else {
        remove(path);
    }
}

/* What is found has this text, and a place that ends like this. */
static void finds(const char *given, bool tools, const char *text,
                  const char *where)
{
    ql_chat_source s;
    size_t n;

    check_ok(ql_chat_source_find(&s, check_tmp(), given, tools));
    assert_string_equal(s.text, text);
    assert_int_equal(s.len, strlen(text));
    n = strlen(s.where);
    assert_true(n >= strlen(where));
    assert_string_equal(s.where + n - strlen(where), where);
    ql_chat_source_free(&s);
}

static void finds_none(const char *given, ql_status status, const char *text)
{
    ql_chat_source s;

    check_fails(ql_chat_source_find(&s, check_tmp(), given, false), status,
                text);
    assert_null(s.text);
    assert_null(s.where);
}

/* Each file is written, and wins over those before it. */
static void chat__finds_the_template(void **state)
{
    (void)state;
    finds_none(NULL, QL_ENOTFOUND, "the model has no chat template");
    write_file("chat_template.json", "{\"chat_template\": \"old\"}");
    finds(NULL, true, "old", "chat_template.json, chat template");
    write_file("tokenizer_config.json", "{\"chat_template\": null}");
    finds(NULL, false, "old", "chat_template.json, chat template");
    write_file("tokenizer_config.json", "{\"chat_template\": \"one\"}");
    finds(NULL, false, "one", "tokenizer_config.json, chat template");
    write_file("tokenizer_config.json",
               "{\"chat_template\": [{\"name\": \"default\", \"template\": "
               "\"d\"}, {\"name\": \"tool_use\", \"template\": \"t\"}, "
               "{\"name\": \"rag\", \"template\": \"r\"}]}");
    finds(NULL, false, "d", "chat template \"default\"");
    finds(NULL, true, "t", "chat template \"tool_use\"");
    finds("rag", true, "r", "chat template \"rag\"");
    finds_none("nosuch", QL_ENOTFOUND, "nosuch: there is no file");
    check_ok(ql_dir_make(check_tmp_path("additional_chat_templates")));
    write_file("additional_chat_templates/x.jinja", "x");
    write_file("additional_chat_templates/x.txt", "y");
    finds_none(NULL, QL_EUNSUPPORTED, "none of the chat templates is named");
    finds("x", false, "x", "additional_chat_templates/x.jinja");
    write_file("chat_template.jinja", "file");
    finds(NULL, true, "file", "chat_template.jinja");
    write_file("additional_chat_templates/tool_use.jinja", "tools");
    finds(NULL, true, "tools", "tool_use.jinja");
    finds(NULL, false, "file", "chat_template.jinja");
    finds("{{ 1 }}", true, "{{ 1 }}", "the chat template");
    finds(check_tmp_path("chat_template.json"), true,
          "{\"chat_template\": \"old\"}", "chat_template.json");
    check_ok(ql_dir_remove(check_tmp_path("additional_chat_templates")));
    write_file("chat_template.jinja", NULL);
}

static void chat__wrong_files(void **state)
{
    static const char *const wrong[] = {
        "{\"chat_template\": 1}", "{\"chat_template\": {}}",
        "{\"chat_template\": [\"x\"]}",
        "{\"chat_template\": [{\"template\": \"x\"}]}",
        "{\"chat_template\": [{\"name\": \"default\"}]}"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        write_file("tokenizer_config.json", wrong[i]);
        finds_none(NULL, QL_EFORMAT,
                   "tokenizer_config.json: \"chat_template\" must be");
    }
    write_file("tokenizer_config.json", "{");
    finds_none(NULL, QL_EFORMAT, "tokenizer_config.json");
    write_file("tokenizer_config.json", NULL);
}

static void chat__special_tokens(void **state)
{
    json_t *got;
    json_t *want;

    (void)state;
    check_ok(ql_chat_tokens_read(&got, check_tmp()));
    assert_int_equal(json_object_size(got), 0);
    json_decref(got);
    write_file("tokenizer_config.json",
               "{\"bos_token\": {\"content\": \"<s>\", \"lstrip\": false}, "
               "\"eos_token\": \"</s>\", \"pad_token\": null, "
               "\"additional_special_tokens\": [\"a\", {\"content\": \"b\"}], "
               "\"extra_special_tokens\": {\"image_token\": \"<i>\"}}");
    write_file("special_tokens_map.json",
               "{\"bos_token\": \"other\", \"pad_token\": \"other\", "
               "\"unk_token\": {\"content\": \"<unk>\"}}");
    check_ok(ql_chat_tokens_read(&got, check_tmp()));
    want = parse("{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", "
                 "\"unk_token\": \"<unk>\", \"additional_special_tokens\": "
                 "[\"a\", \"b\"], \"image_token\": \"<i>\"}");
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    write_file("special_tokens_map.json", "{\"mask_token\": 1}");
    check_fails(ql_chat_tokens_read(&got, check_tmp()), QL_EFORMAT,
                "special_tokens_map.json: \"mask_token\" must be a token");
    write_file("special_tokens_map.json",
               "{\"additional_special_tokens\": [1]}");
    write_file("tokenizer_config.json", NULL);
    check_fails(ql_chat_tokens_read(&got, check_tmp()), QL_EFORMAT,
                "must be a list of tokens");
    assert_null(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat__inputs),
        cmocka_unit_test(chat__renders_again),
        cmocka_unit_test(chat__generation_spans),
        cmocka_unit_test(chat__generation_in_a_macro),
        cmocka_unit_test(chat__endless_templates),
        cmocka_unit_test(chat__exploding_templates),
        cmocka_unit_test(chat__deep_templates),
        cmocka_unit_test(chat__finds_the_template),
        cmocka_unit_test(chat__wrong_files),
        cmocka_unit_test(chat__special_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
