/* Forms of records and files: what is read from each, and how one is told from
 * another. Conversations show in the default template. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "src/base/file.h"
#include "src/data/dataset_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

static const char *const specials[] = {"</s>", NULL};

static ql_tokenizer *tok;

static int setup(void **state)
{
    (void)state;
    toy_text_file("toy/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    check_ok(toy_text_open_bytes(&tok, specials));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ql_tokenizer_close(&tok);
    return 0;
}

static ql_dataset_options defaults(void)
{
    ql_dataset_options o;

    ql_dataset_options_init(&o);
    return o;
}

/* Opens a file of this text, in which ' stands for ". */
static ql_status load(ql_dataset **ds, const char *name, const char *text,
                      ql_dataset_options o)
{
    const char *path = check_tmp_path(name);
    char *copy = strdup(text);

    assert_non_null(copy);
    for (char *p = copy; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    check_ok(ql_file_write(path, copy, strlen(copy)));
    free(copy);
    return ql_dataset_open(ds, &path, 1, tok, &o);
}

/* All samples, marked, with --- between them. Owned: free. */
static char *shown(const ql_dataset *ds)
{
    char *out = calloc(1, 1 << 16);

    assert_non_null(out);
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const char *text = toy_text_marked(tok, ql_dataset_sample(ds, i));
        const size_t n = strlen(out);

        snprintf(out + n, (1 << 16) - n, "%s%s", i > 0 ? "\n---\n" : "", text);
    }
    return out;
}

/* What a file is read as, by default or in a format that is given. */
static void reads_as(const char *text, ql_format given, ql_format format,
                     const char *keys, const char *want)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;
    char *got;

    o.format = given;
    check_ok(load(&ds, "data.jsonl", text, o));
    got = shown(ds);
    assert_string_equal(got, want);
    assert_int_equal(ql_dataset_file_report(ds, 0)->format, format);
    assert_string_equal(ql_dataset_file_report(ds, 0)->keys, keys);
    assert_int_equal(ql_dataset_report_of(ds)->format, format);
    free(got);
    ql_dataset_close(&ds);
}

static void reads(const char *text, ql_format format, const char *keys,
                  const char *want)
{
    reads_as(text, QL_FORMAT_AUTO, format, keys, want);
}

static void refuses(const char *text, ql_status status, const char *sentence)
{
    ql_dataset *ds = NULL;

    check_fails(load(&ds, "data.jsonl", text, defaults()), status, sentence);
    assert_null(ds);
}

static void forms__sharegpt(void **state)
{
    (void)state;
    reads("{'system': 'S', 'conversations': ["
          "{'from': 'Human', 'value': 'q'}, {'from': 'gpt', 'value': 'a'},"
          "{'from': 'user', 'value': 'r'},"
          "{'from': 'chatgpt', 'value': 'b', 'weight': 0}]}",
          QL_FORMAT_SHAREGPT, "conversations",
          "S\n\nUser: q\nAssistant:[[ a</s>]]User: r\nAssistant: b</s>");
    reads("{'conversations': [{'role': 'system', 'content': 'S'},"
          "{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'}], 'system': 'other'}",
          QL_FORMAT_SHAREGPT, "conversations",
          "S\n\nUser: q\nAssistant:[[ a</s>]]");
    reads("{'conversation': [{'from': 'human', 'value': 'q'},"
          "{'from': 'gpt', 'value': 'a'}]}",
          QL_FORMAT_SHAREGPT, "conversation", "User: q\nAssistant:[[ a</s>]]");
    refuses("{'conversations': [{'from': 'moon', 'value': 'q'}]}",
            QL_EUNSUPPORTED,
            "data.jsonl:1: message 1: the role \"moon\" is not known");
    refuses("{'conversations': [{'value': 'q'}]}", QL_EFORMAT,
            "message 1: \"role\" is missing");
    refuses("{'conversations': {'from': 1}}", QL_EFORMAT,
            "\"conversations\" must be a list");
}

static void forms__tools(void **state)
{
    const char *calls =
        "User: q\nAssistant:[[ Call: {\"name\": \"f\", \"arguments\": "
        "{\"k\": 1}}</s>]]Tool: x\nAssistant:[[ a</s>]]";
    char with_tools[512];

    (void)state;
    snprintf(with_tools, sizeof(with_tools),
             "Tools: [{\"type\": \"function\", \"function\": {\"name\": "
             "\"f\"}}]\n\n%s",
             calls);
    reads("{'tools': '[{\\'name\\': \\'f\\'}]', 'conversations': ["
          "{'from': 'human', 'value': 'q'},"
          "{'from': 'function_call', 'value': '{\\'name\\': \\'f\\', "
          "\\'arguments\\': {\\'k\\': 1}}'},"
          "{'from': 'observation', 'value': 'x'},"
          "{'from': 'gpt', 'value': 'a'}]}",
          QL_FORMAT_SHAREGPT, "conversations", with_tools);
    reads("{'tools': [], 'messages': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': '', 'tool_calls': [{'type': "
          "'function', 'id': '1', 'function': {'name': 'f', 'arguments': "
          "'{\\'k\\': 1}'}}]}, {'role': 'tool', 'content': 'x'},"
          "{'role': 'assistant', 'content': 'a'}]}",
          QL_FORMAT_MESSAGES, "messages", calls);
    reads("{'messages': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': null, 'function_call': {'name': "
          "'f', 'arguments': {'k': 1}}}, {'role': 'function', 'content': 'x'},"
          "{'role': 'assistant', 'content': 'a'}]}",
          QL_FORMAT_MESSAGES, "messages", calls);
    reads("{'conversations': [{'from': 'function_call', 'value': 'f(x)'}]}",
          QL_FORMAT_SHAREGPT, "conversations", "Assistant:[[ f(x)</s>]]");
    refuses("{'messages': [{'role': 'user', 'content': 'q'}], 'tools': [1]}",
            QL_EFORMAT, "\"tools\" must be a list of objects");
    refuses("{'messages': [{'role': 'user', 'content': 'q'}], 'tools': '{'}",
            QL_EFORMAT, "data.jsonl:1: \"tools\": not valid JSON");
    refuses("{'messages': [{'role': 'assistant', 'tool_calls': {}}]}",
            QL_EFORMAT, "\"tool_calls\" must be a list");
}

static void forms__alpaca(void **state)
{
    const char *want = "User: q\nx\nAssistant:[[ a</s>]]";

    (void)state;
    reads("{'instruction': 'q', 'input': 'x', 'output': 'a'}\n"
          "{'instruction': 'q', 'output': 'a'}\n"
          "{'instruction': 'q', 'input': '', 'output': 'a'}",
          QL_FORMAT_ALPACA, "instruction, output",
          "User: q\nx\nAssistant:[[ a</s>]]\n---\n"
          "User: q\nAssistant:[[ a</s>]]\n---\n"
          "User: q\nAssistant:[[ a</s>]]");
    reads("{'instruction': 'q', 'context': 'x', 'response': 'a'}",
          QL_FORMAT_ALPACA, "instruction, response", want);
    reads("{'question': 'q', 'answer': 'a', 'system_prompt': 'S'}",
          QL_FORMAT_ALPACA, "question, answer",
          "S\n\nUser: q\nAssistant:[[ a</s>]]");
    reads("{'prompt': 'q', 'response': 'a'}", QL_FORMAT_ALPACA,
          "prompt, response", "User: q\nAssistant:[[ a</s>]]");
    reads("{'instruction': 'q', 'output': 'a', 'history': [['r', 'b']]}",
          QL_FORMAT_ALPACA, "instruction, output",
          "User: r\nAssistant:[[ b</s>]]User: q\nAssistant:[[ a</s>]]");
    refuses("{'instruction': 'q', 'output': 'a', 'history': [['r']]}",
            QL_EFORMAT, "\"history\" must be a list of pairs of strings");
    refuses("{'instruction': 'q', 'output': 1.5}", QL_EFORMAT,
            "\"output\" must be a string");
    refuses("{'instruction': 'q', 'output': 'a'}\n{'instruction': 'q'}",
            QL_EFORMAT, "data.jsonl:2: \"output\" is missing");
}

static void forms__labels(void **state)
{
    const char *named = "{'text': 't', 'label': 'good'}";

    (void)state;
    reads("{'text': 't', 'label': 1}\n{'text': 'u', 'label': true}",
          QL_FORMAT_ALPACA, "text, label",
          "User: t\nAssistant:[[ 1</s>]]\n---\n"
          "User: u\nAssistant:[[ true</s>]]");
    reads("{'sentence': 't', 'label': 0, 'idx': 3}", QL_FORMAT_ALPACA,
          "sentence, label", "User: t\nAssistant:[[ 0</s>]]");
    reads(named, QL_FORMAT_ALPACA, "text, label",
          "User: t\nAssistant:[[ good</s>]]");
    reads_as(named, QL_FORMAT_TEXT, QL_FORMAT_TEXT, "text", "t[[</s>]]");
    reads("{'text': 'tt', 'label': [1]}", QL_FORMAT_TEXT, "text", "t[[t</s>]]");
}

static void forms__prompt_and_completion(void **state)
{
    (void)state;
    reads("{'prompt': 'q', 'completion': 'a'}", QL_FORMAT_PROMPT_COMPLETION,
          "prompt, completion", "q[[a</s>]]");
    reads("{'prompt': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'},"
          "{'role': 'user', 'content': 'r'}],"
          "'completion': [{'role': 'assistant', 'content': 'b'}]}",
          QL_FORMAT_PROMPT_COMPLETION, "prompt, completion",
          "User: q\nAssistant: a</s>User: r\nAssistant:[[ b</s>]]");
    refuses("{'prompt': 1, 'completion': 'a'}", QL_EFORMAT,
            "\"prompt\" must be a string");
    refuses("{'prompt': [{'role': 'user'}], 'completion': 'a'}", QL_EFORMAT,
            "\"prompt\": message 1: \"content\" is missing");
}

static void forms__preference(void **state)
{
    const char *talk = "User: q\nAssistant:[[ a</s>]]";

    (void)state;
    reads("{'conversations': [{'from': 'human', 'value': 'q'},"
          "{'from': 'gpt', 'value': 'z'}, {'from': 'human', 'value': 'r'}],"
          "'chosen': {'from': 'gpt', 'value': 'a'},"
          "'rejected': {'from': 'gpt', 'value': 'b'}}",
          QL_FORMAT_SHAREGPT, "conversations, chosen",
          "User: q\nAssistant: z</s>User: r\nAssistant:[[ a</s>]]");
    reads("{'prompt': 'q', 'chosen': 'a', 'rejected': 'b'}",
          QL_FORMAT_PROMPT_COMPLETION, "prompt, chosen", "q[[a</s>]]");
    reads("{'prompt': 'q', 'chosen': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'}], 'rejected': []}",
          QL_FORMAT_PROMPT_COMPLETION, "prompt, chosen", talk);
    reads("{'prompt': 'q', 'chosen': [{'role': 'assistant', 'content': "
          "'a'}], 'rejected': []}",
          QL_FORMAT_PROMPT_COMPLETION, "prompt, chosen", talk);
    reads("{'instruction': 'q', 'chosen': 'a', 'rejected': 'b'}",
          QL_FORMAT_ALPACA, "instruction, chosen", talk);
    reads("{'chosen': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'}], 'rejected': []}",
          QL_FORMAT_MESSAGES, "chosen", talk);
    reads("{'chosen': 'ta', 'rejected': 'tb'}", QL_FORMAT_TEXT, "chosen",
          "t[[a</s>]]");
}

/* The first record alone would be read otherwise. */
static void forms__by_more_than_the_first_record(void **state)
{
    (void)state;
    reads("{'text': 'tt', 'label': 1}\n{'text': 'uu'}", QL_FORMAT_TEXT, "text",
          "t[[t</s>]]\n---\nu[[u</s>]]");
    reads("{'text': 'tt', 'prompt': 'p', 'completion': 'c'}\n"
          "{'text': 'uu'}",
          QL_FORMAT_TEXT, "text", "t[[t</s>]]\n---\nu[[u</s>]]");
    refuses("{'x': 1}\n{'text': 't'}", QL_EFORMAT,
            "data.jsonl:1: the form of the record is not known: it has the "
            "keys (x)");
}

static void forms__of_several_files(void **state)
{
    const char *paths[3] = {check_tmp_path("a.jsonl"),
                            check_tmp_path("b.json.gz"),
                            check_tmp_path("c.txt")};
    const char *list = "[\n {\"text\": \"tt\"},\n\n {\"text\":\n\"uu\"} ]\n";
    const char *line = "{\"prompt\": \"q\", \"completion\": \"a\"}\n";
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;
    gzFile gz;
    char *got;

    (void)state;
    check_ok(ql_file_write(paths[0], line, strlen(line)));
    check_ok(ql_file_write(paths[2], "x\ny\n", 4));
    gz = gzopen(paths[1], "wb");
    assert_true(gzputs(gz, list) > 0);
    gzclose(gz);
    check_ok(ql_dataset_open(&ds, paths, 3, tok, &o));
    got = shown(ds);
    assert_string_equal(got, "q[[a</s>]]\n---\nt[[t</s>]]\n---\nu[[u</s>]]\n"
                             "---\nx[[\ny\n</s>]]");
    assert_int_equal(ql_dataset_files(ds), 3);
    assert_string_equal(ql_dataset_file_report(ds, 1)->path, paths[1]);
    assert_int_equal(ql_dataset_file_report(ds, 1)->records, 2);
    assert_int_equal(ql_dataset_file_report(ds, 2)->samples, 1);
    assert_int_equal(ql_dataset_report_of(ds)->samples, 4);
    assert_int_equal(ql_dataset_report_of(ds)->format,
                     QL_FORMAT_PROMPT_COMPLETION);
    assert_int_equal(ql_dataset_origin(ds, 2).line, 4);
    assert_string_equal(ql_dataset_origin(ds, 2).path, paths[1]);
    free(got);
    ql_dataset_close(&ds);
}

/* What is no list is refused where that is found out. */
static void forms__lists_that_are_wrong(void **state)
{
    (void)state;
    refuses("[{'text': 'a'}, 3]", QL_EFORMAT,
            "data.jsonl:1: a record must be a JSON object");
    refuses("[{'text': 'a'}\n{'text': 'b'}]", QL_EFORMAT,
            "data.jsonl:1: not valid JSON");
    refuses("[{'text': 'a'},\n\n{'text': 'b}]", QL_EFORMAT,
            "data.jsonl:3: not a JSON list: it has no end");
    refuses("[{'text': 'a'}]]", QL_EFORMAT,
            "data.jsonl:1: not a JSON list: something follows it");
    refuses("[, {'text': 'a'}]", QL_EFORMAT, "an element is missing");
    refuses("[{'text': 'a', 'b': ['],']}, {'text': 3}]", QL_EFORMAT,
            "data.jsonl:1: \"text\" must be a string");
    refuses("[]", QL_EFORMAT, "nothing to train on: no records");
}

static void forms__plain_text_in_pieces(void **state)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;
    ql_dataset *tail = NULL;
    char *got;

    (void)state;
    o.max_length = 4;
    check_ok(load(&ds, "a.txt", "abc\ndef\n\nghi", o));
    got = shown(ds);
    assert_string_equal(got, "a[[bc\n]]\n---\n\n[[def]]\n---\nf[[\n\ng]]\n---\n"
                             "g[[hi</s>]]");
    assert_int_equal(ql_dataset_origin(ds, 0).line, 1);
    assert_int_equal(ql_dataset_origin(ds, 1).line, 2);
    assert_int_equal(ql_dataset_origin(ds, 3).line, 4);
    check_ok(ql_dataset_split(ds, 2, &tail));
    assert_int_equal(ql_dataset_size(tail), 2);
    free(got);
    ql_dataset_close(&tail);
    ql_dataset_close(&ds);
    check_fails(load(&ds, "a.txt", "ab\nc\xff", o), QL_EFORMAT,
                "a.txt:2: the text is not UTF-8");
    check_fails(load(&ds, "a.txt", "", o), QL_EFORMAT, "nothing to train on");
}

/* A file named otherwise is plain text where that is forced and it does not
 * look like records; a .txt file has records where their format is. */
static void forms__plain_text_by_force(void **state)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;
    char *got;

    (void)state;
    o.format = QL_FORMAT_TEXT;
    check_ok(load(&ds, "a.md", "\n version 1\n", o));
    got = shown(ds);
    assert_string_equal(got, "v[[ersion 1\n</s>]]");
    assert_int_equal(ql_dataset_origin(ds, 0).line, 2);
    free(got);
    ql_dataset_close(&ds);
    check_fails(load(&ds, "a.md", "\n\na\xff", o), QL_EFORMAT,
                "a.md:3: the text is not UTF-8");
    check_ok(load(&ds, "a.json", "{'text': 'ab'}", o));
    got = shown(ds);
    assert_string_equal(got, "a[[b</s>]]");
    free(got);
    ql_dataset_close(&ds);
    o.format = QL_FORMAT_PROMPT_COMPLETION;
    check_ok(load(&ds, "a.txt", "{'prompt': 'p', 'completion': 'c'}", o));
    got = shown(ds);
    assert_string_equal(got, "p[[c</s>]]");
    free(got);
    ql_dataset_close(&ds);
}

static void forms__files_of_other_kinds(void **state)
{
    static const struct {
        const char *name, *text, *sentence;
    } cases[] = {
        {"a.jsonl", "\xff\xfe{", "a.jsonl is UTF-16, or a like"},
        {"a.txt", "\xfe\xff", "a.txt is UTF-16, or a like"},
        {"a.txt", "PK\3\4", "a.txt is a zip archive: unpack it first"},
        {"a.zst", "\x28\xb5\x2f\xfd", "a.zst is compressed by zstd"},
        {"a.bz2", "BZh9", "a.bz2 is compressed by bzip2"},
        {"a.xz", "\xfd\x37\x7aXZ", "a.xz is compressed by xz"},
        {"a.pdf", "%PDF-1.7", "a.pdf is a PDF file"},
        {"a.parquet", "PAR1", "a.parquet is a Parquet file: write its rows"},
        {"a.json", "<!DOCTYPE html>", "a.json is a page of the web"},
        {"a.json", "version https://git-lfs", "a.json is a pointer of Git"},
        {"a.csv", "a,b\n1,2",
         "a.csv:1: not valid JSON: invalid token near "
         "'a' (column 1); a record is one JSON object, "
         "{...}, on one line"},
        {"a.json", "{\n 'text': 'a'\n}", "on one line"},
    };
    ql_dataset *ds = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_fails(load(&ds, cases[i].name, cases[i].text, defaults()),
                    QL_EFORMAT, cases[i].sentence);
    }
    check_ok(load(&ds, "a.txt", "PARIS", defaults()));
    ql_dataset_close(&ds);
    check_ok(ql_file_write(check_tmp_path("nul.txt"), "ab\nc\0d", 6));
    check_fails(ql_dataset_open(&ds,
                                (const char *[]){check_tmp_path("nul.txt")}, 1,
                                tok, (ql_dataset_options[]){defaults()}),
                QL_EFORMAT, "nul.txt:2: the text has a NUL character");
}

static void forms__issues_and_counts(void **state)
{
    ql_dataset_options o = defaults();
    const ql_dataset_report *r;
    ql_dataset *ds = NULL;

    (void)state;
    o.keep_going = true;
    o.max_length = 5;
    check_ok(load(&ds, "data.jsonl",
                  "{'prompt': 'q', 'completion': 'abcdef'}\n"
                  "{'prompt': 'q'}\n\n{'prompt': \n"
                  "{'prompt': 'qqqqqq', 'completion': 'a'}\n"
                  "{'prompt': 'q', 'completion': 'a'}\n[1]\n",
                  o));
    r = ql_dataset_report_of(ds);
    assert_int_equal(r->records, 6);
    assert_int_equal(r->samples, 2);
    assert_int_equal(r->truncated, 1);
    assert_int_equal(r->dropped_empty, 1);
    assert_int_equal(r->refused, 3);
    assert_int_equal(ql_dataset_issues(ds), 5);
    assert_int_equal(ql_dataset_issue(ds, 0).fate, QL_FATE_CUT);
    assert_string_equal(ql_dataset_issue(ds, 0).reason,
                        "cut from 8 tokens to 5");
    assert_int_equal(ql_dataset_issue(ds, 1).origin.line, 2);
    assert_string_equal(ql_dataset_issue(ds, 1).reason,
                        "\"completion\" is missing");
    assert_int_equal(ql_dataset_issue(ds, 2).origin.line, 4);
    assert_non_null(strstr(ql_dataset_issue(ds, 2).reason, "not valid JSON"));
    assert_int_equal(ql_dataset_issue(ds, 3).fate, QL_FATE_EMPTY);
    assert_string_equal(ql_dataset_issue(ds, 3).reason,
                        "nothing to train on within the first 5 of 8 tokens");
    assert_string_equal(ql_dataset_issue(ds, 4).reason,
                        "a record must be a JSON object");
    ql_dataset_close(&ds);
    o.max_issues = 1;
    o.truncation = QL_TRUNCATION_DROP;
    check_ok(load(&ds, "data.jsonl",
                  "{'text': 'abcdefgh'}\n{'text': 'abcdefgh'}", o));
    assert_int_equal(ql_dataset_size(ds), 0);
    assert_int_equal(ql_dataset_issues(ds), 1);
    assert_int_equal(ql_dataset_issue(ds, 0).fate, QL_FATE_TOO_LONG);
    assert_int_equal(ql_dataset_report_of(ds)->dropped_long, 2);
    ql_dataset_close(&ds);
}

static void forms__turns_that_do_not_end(void **state)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;

    (void)state;
    o.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    check_ok(load(&ds, "data.jsonl",
                  "{'messages': [{'role': 'user', 'content': 'q'},"
                  "{'role': 'assistant', 'content': 'a'}]}",
                  o));
    assert_int_equal(ql_dataset_report_of(ds)->unended, 1);
    assert_string_equal(ql_dataset_chat_template(ds), o.chat_template);
    ql_dataset_close(&ds);
    check_ok(load(&ds, "data.jsonl", "{'text': 'ab'}", o));
    assert_int_equal(ql_dataset_report_of(ds)->unended, 0);
    assert_null(ql_dataset_chat_template(ds));
    ql_dataset_close(&ds);
}

/* A conversation is not divided between training and evaluation. */
static void forms__records_are_not_divided(void **state)
{
    const char *talk = "{'messages': [{'role': 'user', 'content': 'q'},"
                       "{'role': 'assistant', 'content': 'a'},"
                       "{'role': 'user', 'content': 'r'},"
                       "{'role': 'assistant', 'content': 'b'}]}\n";
    char two[1024];
    ql_dataset_options o = defaults();
    ql_dataset *tail = NULL;
    ql_dataset *ds = NULL;

    (void)state;
    snprintf(two, sizeof(two), "%s%s", talk, talk);
    o.chat_template = "{% for m in messages %}{{ '!' if loop.last }}"
                      "{{ m.content }}</s>{% endfor %}";
    check_ok(load(&ds, "data.jsonl", two, o));
    assert_int_equal(ql_dataset_size(ds), 4);
    assert_int_equal(ql_dataset_report_of(ds)->split, 2);
    check_ok(ql_dataset_split(ds, 1, &tail));
    assert_int_equal(ql_dataset_size(tail), 2);
    assert_int_equal(ql_dataset_report_of(tail)->records, 1);
    ql_dataset_close(&ds);
    check_fails(ql_dataset_split(tail, 1, &ds), QL_EINVAL, "1 samples cannot");
    ql_dataset_close(&tail);
}

static bool stop(const ql_dataset_progress *p, void *user)
{
    assert_true(p->bytes <= p->total);
    assert_int_equal(p->records, 1);
    assert_int_equal(p->tokens, 3);
    *(int *)user += 1;
    return false;
}

static void forms__reading_may_be_stopped(void **state)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds = NULL;
    int calls = 0;

    (void)state;
    o.progress = stop;
    o.user = &calls;
    check_fails(load(&ds, "data.jsonl", "{'text': 'ab'}", o), QL_ECANCELLED,
                "stopped while reading");
    assert_null(ds);
    assert_int_equal(calls, 1);
}

/* Tens of thousands of records, some of which are wrong. */
static char *many(void)
{
    const size_t size = 4 << 20;
    char *text = malloc(size);
    size_t at = 0;

    assert_non_null(text);
    for (size_t i = 0; at + 200 < size && i < 20000; i++) {
        at += (size_t)snprintf(
            text + at, size - at,
            i % 1000 == 999 ? "{'text': %zu}\n" : "{'text': '%zu hi'}\n", i);
    }
    return text;
}

static void forms__threads_change_nothing(void **state)
{
    ql_dataset_options o = defaults();
    ql_dataset *ds[2] = {NULL, NULL};
    const int threads = omp_get_max_threads();
    char *text = many();

    (void)state;
    o.keep_going = true;
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i == 0 ? 1 : 4);
        check_ok(load(&ds[i], "data.jsonl", text, o));
    }
    omp_set_num_threads(threads);
    assert_int_equal(ql_dataset_size(ds[0]), 19980);
    assert_int_equal(ql_dataset_size(ds[1]), 19980);
    assert_int_equal(ql_dataset_report_of(ds[1])->refused, 20);
    for (size_t i = 0; i < 19980; i++) {
        const ql_sample a = ql_dataset_sample(ds[0], i);
        const ql_sample b = ql_dataset_sample(ds[1], i);

        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof(*a.ids));
        assert_memory_equal(a.train, b.train, a.n);
        assert_int_equal(ql_dataset_origin(ds[0], i).line,
                         ql_dataset_origin(ds[1], i).line);
    }
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(ql_dataset_issue(ds[0], i).origin.line,
                         1000 * i + 1000);
        assert_int_equal(ql_dataset_issue(ds[1], i).origin.line,
                         1000 * i + 1000);
    }
    ql_dataset_close(&ds[0]);
    ql_dataset_close(&ds[1]);
    check_fails(load(&ds[0], "data.jsonl", text, defaults()), QL_EFORMAT,
                "data.jsonl:1000: \"text\" must be a string");
    free(text);
}

/* A pipe that nobody writes to is empty; it is not waited for. */
static void forms__pipes_and_devices(void **state)
{
    ql_dataset_options o = defaults();
    const char *path = check_tmp_path("pipe.jsonl");
    ql_dataset *ds = NULL;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    check_fails(ql_dataset_open(&ds, &path, 1, tok, &o), QL_EFORMAT,
                "pipe.jsonl: nothing to train on: no records");
    path = "/dev/null";
    check_fails(ql_dataset_open(&ds, &path, 1, tok, &o), QL_EFORMAT,
                "no records");
    path = "/dev/zero";
    check_fails(ql_dataset_open(&ds, &path, 1, tok, &o), QL_EFORMAT,
                "/dev/zero:1: ");
}

/* Special tokens that are looked for in the normalized text are found where a
 * template writes them. */
static void forms__special_tokens_after_a_word(void **state)
{
    const char *path = check_tmp_path("toy/data.jsonl");
    ql_dataset_options o = defaults();
    ql_tokenizer *llama = NULL;
    ql_dataset *ds = NULL;

    (void)state;
    toy_text_file("toy/tokenizer_config.json",
                  "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    check_ok(toy_text_open(
        &llama,
        "{'added_tokens': ["
        "{'id': 1, 'content': '<s>', 'special': true, 'normalized': true},"
        "{'id': 2, 'content': '</s>', 'special': true, 'normalized': true}]}"));
    toy_text_file("toy/data.jsonl",
                  "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"},"
                  "{\"role\": \"assistant\", \"content\": \"hi\"},"
                  "{\"role\": \"user\", \"content\": \"y\"}]}");
    check_ok(ql_dataset_open(&ds, &path, 1, llama, &o));
    assert_string_equal(toy_text_show(llama, ql_dataset_sample(ds, 0)),
                        "<s> ▁ U s e r : ▁ x <0x0A> A s s i s t a n t : "
                        "[▁hi] [</s>] ▁ U s e r : ▁ y <0x0A>");
    ql_dataset_close(&ds);
    ql_tokenizer_close(&llama);
    toy_text_file("toy/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms__sharegpt),
        cmocka_unit_test(forms__tools),
        cmocka_unit_test(forms__alpaca),
        cmocka_unit_test(forms__labels),
        cmocka_unit_test(forms__prompt_and_completion),
        cmocka_unit_test(forms__preference),
        cmocka_unit_test(forms__by_more_than_the_first_record),
        cmocka_unit_test(forms__of_several_files),
        cmocka_unit_test(forms__lists_that_are_wrong),
        cmocka_unit_test(forms__plain_text_in_pieces),
        cmocka_unit_test(forms__plain_text_by_force),
        cmocka_unit_test(forms__files_of_other_kinds),
        cmocka_unit_test(forms__issues_and_counts),
        cmocka_unit_test(forms__turns_that_do_not_end),
        cmocka_unit_test(forms__records_are_not_divided),
        cmocka_unit_test(forms__reading_may_be_stopped),
        cmocka_unit_test(forms__threads_change_nothing),
        cmocka_unit_test(forms__pipes_and_devices),
        cmocka_unit_test(forms__special_tokens_after_a_word),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
