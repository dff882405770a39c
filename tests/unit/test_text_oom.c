/* The n-th allocation fails, for every n until none does: the right status,
 * and nothing is left behind. */
#include <stdio.h>
#include <string.h>

#include "qlora/generate.h"
#include "qlora/runtime.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/chat_file.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

typedef ql_status attempt_fn(void *ctx);

/* attempt leaves nothing allocated, whatever comes of it. */
static void survives(attempt_fn *attempt, void *ctx)
{
    const size_t before = ql_alloc_bytes(QL_TAG_COUNT);

    bool ok = false;
    long n = 0;

    for (; !ok; n++) {
        ok = check_lacking(n, attempt(ctx));
        assert_int_equal(ql_alloc_bytes(QL_TAG_COUNT), before);
    }
    assert_true(n > 1);
}

static ql_status open_tokenizer(void *ctx)
{
    ql_tokenizer *tok = NULL;
    const ql_status st = ql_tokenizer_open(&tok, ctx);

    assert_true((st == QL_OK) == (tok != NULL));
    ql_tokenizer_close(&tok);
    return st;
}

static void oom__tokenizer_open(void **state)
{
    ql_tokenizer *tok = NULL;
    char dir[4096];

    (void)state;
    toy_text_file("toy/tokenizer_config.json",
                  "{\"eos_token\": \"</s>\", \"chat_template\": \"x\"}");
    check_ok(toy_text_open(&tok,
                           "{'pre_tokenizer': {'type': 'Metaspace'},"
                           "'added_tokens': [{'id': 400, 'content': 'x y'}]}"));
    ql_tokenizer_close(&tok);
    snprintf(dir, sizeof(dir), "%s", check_tmp_path("toy"));
    survives(open_tokenizer, dir);
    toy_text_file("toy/tokenizer_config.json", NULL);
}

static ql_status encode_and_back(void *ctx)
{
    const char *text = "hi  ab</s> x y é日 and some more to make it long";
    int32_t *ids = NULL;
    char *back = NULL;
    size_t len;
    size_t n;
    ql_status st;

    st = ql_tokenizer_encode(ctx, text, strlen(text), true, &ids, &n);
    if (st == QL_OK) {
        st = ql_tokenizer_decode(ctx, ids, n, true, &back, &len);
    }
    ql_free(ids);
    ql_free(back);
    return st;
}

/* Reading, encoding and decoding by a tokenizer with these changes. */
static void tokenizer_survives(const char *change)
{
    ql_tokenizer *tok = NULL;
    char dir[4096];

    check_ok(toy_text_open(&tok, change));
    snprintf(dir, sizeof(dir), "%s", check_tmp_path("toy"));
    survives(encode_and_back, tok);
    survives(open_tokenizer, dir);
    ql_tokenizer_close(&tok);
}

static void oom__encode_and_decode(void **state)
{
    (void)state;
    tokenizer_survives(
        "{'pre_tokenizer': {'type': 'Metaspace', 'split': false}}");
}

static void oom__components(void **state)
{
    (void)state;
    tokenizer_survives(
        "{'normalizer': {'type': 'Sequence', 'normalizers': ["
        "{'type': 'NFKD'}, {'type': 'BertNormalizer'},"
        "{'type': 'Replace', 'pattern': {'Regex': 'a+'}, 'content': 'b'}]},"
        "'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': ["
        "{'type': 'Split', 'pattern': {'Regex': '\\\\p{L}+'},"
        "'behavior': 'MergedWithNext'}, {'type': 'UnicodeScripts'},"
        "{'type': 'ByteLevel', 'add_prefix_space': true}]},"
        "'post_processor': {'type': 'RobertaProcessing', 'sep': ['', 1],"
        "'cls': ['', 2]},"
        "'decoder': {'decoders': [{'type': 'ByteLevel'}, {'type': 'Replace',"
        "'pattern': {'Regex': 'b'}, 'content': 'a'}]},"
        "'model': {'continuing_subword_prefix': '##',"
        "'end_of_word_suffix': '.', 'merges': []}}");
    tokenizer_survives("{'model': {'type': 'WordPiece', 'unk_token': '<unk>'},"
                       "'decoder': {'type': 'WordPiece', 'prefix': '##'}}");
    tokenizer_survives("{'model': {'type': 'WordLevel'},"
                       "'decoder': {'type': 'BPEDecoder', 'suffix': 'x'}}");
    tokenizer_survives(
        "{'model': {'type': 'Unigram', 'unk_id': 0, 'vocab': [['<unk>', 0],"
        "['h', -1], ['i', -1], ['hi', -1.5]]}, 'added_tokens': [],"
        "'post_processor': null, 'decoder': {'type': 'CTC',"
        "'pad_token': 'h', 'word_delimiter_token': 'i'}}");
}

typedef struct loading {
    const ql_tokenizer *tok;
    const char *path;
} loading;

static ql_status load_and_split(void *ctx)
{
    const loading *l = ctx;
    ql_dataset *tail = NULL;
    ql_dataset *ds = NULL;
    ql_dataset_options opt;
    ql_status st;

    ql_dataset_options_init(&opt);
    st = ql_dataset_open(&ds, &l->path, 1, l->tok, &opt);
    if (st == QL_OK) {
        st = ql_dataset_split(ds, 1, &tail);
    }
    ql_dataset_close(&tail);
    ql_dataset_close(&ds);
    return st;
}

static void load_survives(const char *text)
{
    ql_tokenizer *tok = NULL;
    char path[4096];
    loading l;

    snprintf(path, sizeof(path), "%s", check_tmp_path("toy/data.jsonl"));
    check_ok(toy_text_open(&tok, NULL));
    toy_text_file("toy/data.jsonl", text);
    l = (loading){tok, path};
    survives(load_and_split, &l);
    ql_tokenizer_close(&tok);
}

static void oom__datasets(void **state)
{
    (void)state;
    load_survives("{\"text\": \"hi there\"}\n{\"text\": \"ab\"}\n");
    load_survives("{\"prompt\": \"hi\", \"completion\": \"ab\"}\n"
                  "{\"prompt\": \"hi\", \"completion\": \"xy\"}\n");
    load_survives("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"},"
                  "{\"role\": \"assistant\", \"content\": \"ab\"}]}\n"
                  "{\"messages\": [{\"role\": \"assistant\", \"content\": "
                  "[{\"type\": \"text\", \"text\": \"ab\"}]}]}\n");
    load_survives(
        "[{\"instruction\": \"hi\", \"input\": \"x\", \"output\": \"ab\","
        "\"history\": [[\"a\", \"b\"]]},\n{\"question\": \"a\", "
        "\"answer\": \"b\", \"system\": \"s\"}]");
    load_survives(
        "{\"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\", \"conversations\": ["
        "{\"from\": \"human\", \"value\": \"a\"}, {\"from\": "
        "\"function_call\", \"value\": \"{\\\"name\\\": \\\"f\\\"}\"},"
        "{\"from\": \"observation\", \"value\": \"x\"}]}\n"
        "{\"conversations\": [{\"from\": \"gpt\", \"value\": \"b\"}]}\n");
}

/* Turns that are split off, a system turn and calls that are written as text,
 * and a plain text. */
static ql_status load_talk(void *ctx)
{
    const loading *l = ctx;
    const char *const files[] = {l->path, check_tmp_path("toy/data.txt")};
    ql_dataset *ds = NULL;
    ql_dataset_options opt;
    ql_status st;

    ql_dataset_options_init(&opt);
    opt.max_length = 60;
    opt.chat_template = "{% for m in messages %}{% if m.role == 'system' %}"
                        "{{ raise_exception('no') }}{% endif %}{{ m.role[0] }}"
                        "{{ 'x' if loop.last }}{{ m.content }}</s>{% endfor %}";
    st = ql_dataset_open(&ds, files, 2, l->tok, &opt);
    ql_dataset_close(&ds);
    return st;
}

static void oom__talk(void **state)
{
    ql_tokenizer *tok = NULL;
    char path[4096];
    loading l;

    (void)state;
    snprintf(path, sizeof(path), "%s", check_tmp_path("toy/data.jsonl"));
    check_ok(toy_text_open(&tok, NULL));
    toy_text_file("toy/data.txt", "hi ab\nx\n");
    toy_text_file("toy/data.jsonl",
                  "{\"messages\": [{\"role\": \"system\", \"content\": "
                  "\"s\"}, {\"role\": \"user\", \"content\": \"q\"},"
                  "{\"role\": \"assistant\", \"tool_calls\": [{\"name\": "
                  "\"f\"}]}, {\"role\": \"tool\", \"content\": \"t\"},"
                  "{\"role\": \"assistant\", \"content\": \"b\"}]}");
    l = (loading){tok, path};
    survives(load_talk, &l);
    ql_tokenizer_close(&tok);
    toy_text_file("toy/data.txt", NULL);
}

/* A template that uses most of the language. */
static const char template[] =
    "{%- macro m(a, b='x') -%}[{{ a }}{{ b }}{{ varargs }}{{ kwargs }}]"
    "{%- endmacro -%}{% macro c() %}{{ caller() }}{% endmacro %}"
    "{% set ns = namespace(s='', l=[]) %}"
    "{% for k, v in d|dictsort if v is defined %}{{ loop.index }}/"
    "{{ loop.length }}{% set ns.s = ns.s ~ k %}{% set ns.l = ns.l + [v] %}"
    "{{ m(k, 2, 3, z=4) }}{% else %}none{% endfor %}"
    "{% for x in [[[]], []] recursive %}({{ loop(x) }}){% endfor %}"
    "{% call c() %}{% set y %}{{ 'aé\\n' * 3 }}{% endset %}{{ y|title }}"
    "{% endcall %}{% filter upper|indent(2) %}a\nb{% endfilter %}"
    "{{ d|tojson(indent=2, sort_keys=true) }}{{ d }}{{ ns }}{{ d.items() }}"
    "{{ d|items|map('first')|map('upper')|join(',') }}{{ 'a,b'.split(',') }}"
    "{{ ['b', 'a']|sort(reverse=true)|list }}{{ [1, 1]|unique|list }}"
    "{{ [{'k': 1}]|groupby('k') }}{{ [1, 2, 3]|batch(2, 0)|list }}"
    "{{ '%s %5.1f' % ('a', 2) }}{{ '{} {a:>5}'.format(1, a='b') }}"
    "{{ ('<'|safe) + '<' }}{{ 'abc'[::-1] }}{{ range(5)[1:]|list }}"
    "{{ '42'|int + '2.5'|float }}{{ (x.y is defined) if x else 1 }}"
    "{% generation %}{{ 'ab'.replace('a', 'c').center(9) }}"
    "{% endgeneration %}{{ strftime_now('%Y') }}";

static ql_status render(void *ctx)
{
    const ql_chat_input in = {.extra = ctx};
    ql_chat_template *t = NULL;
    ql_status st;
    ql_buf spans;
    ql_buf text;

    ql_buf_init(&text, QL_TAG_TEXT, 1 << 20);
    ql_buf_init(&spans, QL_TAG_TEXT, 1 << 20);
    st = ql_chat_template_open(&t, template, strlen(template), "t");
    assert_true((st == QL_OK) == (t != NULL));
    if (st == QL_OK) {
        st = ql_chat_render(t, &in, &text, &spans);
    }
    assert_true(st == QL_OK || (text.len == 0 && spans.len == 0));
    ql_chat_template_close(&t);
    ql_buf_free(&text);
    ql_buf_free(&spans);
    return st;
}

static void oom__chat_template(void **state)
{
    const char *text =
        "{\"x\": {\"y\": 1}, \"d\": {\"b\": [1, 2.5, null], \"a\": \"é\"}}";
    json_t *extra;

    (void)state;
    check_ok(ql_json_parse(&extra, text, strlen(text), "extra"));
    survives(render, extra);
    json_decref(extra);
}

static ql_status find_template(void *ctx)
{
    ql_chat_source s;
    json_t *tokens = NULL;
    ql_status st = ql_chat_source_find(&s, ctx, NULL, true);

    if (st == QL_OK) {
        st = ql_chat_tokens_read(&tokens, ctx);
    }
    json_decref(tokens);
    ql_chat_source_free(&s);
    return st;
}

static void oom__chat_files(void **state)
{
    char dir[4096];

    (void)state;
    snprintf(dir, sizeof(dir), "%s", check_tmp_path("toy"));
    toy_text_file("toy/tokenizer_config.json",
                  "{\"bos_token\": \"b\", \"chat_template\": [{\"name\": "
                  "\"default\", \"template\": \"x\"}]}");
    survives(find_template, dir);
    check_ok(ql_dir_make(check_tmp_path("toy/additional_chat_templates")));
    toy_text_file("toy/chat_template.jinja", "x");
    toy_text_file("toy/additional_chat_templates/tool_use.jinja", "y");
    survives(find_template, dir);
    check_ok(ql_dir_remove(check_tmp_path("toy/additional_chat_templates")));
    toy_text_file("toy/chat_template.jinja", NULL);
    toy_text_file("toy/tokenizer_config.json", NULL);
}

/* The byte that there is no room for is the first of the next value. */
static void oom__conversations_lose_no_byte(void **state)
{
    ql_conversations *c = NULL;
    const char *path = check_tmp_path("talks.json");
    const char *json;
    const char *what;
    char text[128];
    size_t line;
    const int n = snprintf(text, sizeof(text), "%-62s%s", "[", "\n[1]\n");

    (void)state;
    check_ok(ql_file_write(path, text, (size_t)n));
    check_ok(ql_conversations_open(&c, path));
    ql_alloc_fail_after(1);
    assert_int_equal(ql_conversations_next(c, &json, &what, &line), QL_ENOMEM);
    ql_alloc_fail_after(-1);
    check_ok(ql_conversations_next(c, &json, &what, &line));
    assert_true(json && strcmp(json, "[1]") == 0);
    ql_conversations_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oom__tokenizer_open),
        cmocka_unit_test(oom__encode_and_decode),
        cmocka_unit_test(oom__components),
        cmocka_unit_test(oom__datasets),
        cmocka_unit_test(oom__talk),
        cmocka_unit_test(oom__chat_template),
        cmocka_unit_test(oom__chat_files),
        cmocka_unit_test(oom__conversations_lose_no_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
