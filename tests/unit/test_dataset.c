/* Records to samples: forms, marks token by token, limits, errors that name
 * the line. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "qlora/runtime.h"
#include "src/base/file.h"
#include "src/data/dataset_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

static ql_tokenizer *tok;

static int setup(void **state)
{
    (void)state;
    toy_text_file("toy/special_tokens_map.json",
                  "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    check_ok(toy_text_open(&tok, NULL));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ql_tokenizer_close(&tok);
    return 0;
}

/* Opens a file of this text. */
static ql_status load_with(ql_dataset **ds, const char *text,
                           const ql_dataset_options *opt)
{
    const char *path = check_tmp_path("toy/data.jsonl");

    toy_text_file("toy/data.jsonl", text);
    return ql_dataset_open(ds, &path, 1, tok, opt);
}

static ql_status load(ql_dataset **ds, const char *text)
{
    ql_dataset_options opt;

    ql_dataset_options_init(&opt);
    return load_with(ds, text, &opt);
}

/* One record, trained so, gives these tokens. */
static void trains(const char *record, ql_train_on train_on, const char *want)
{
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    ql_dataset_options_init(&opt);
    opt.train_on = train_on;
    check_ok(load_with(&ds, record, &opt));
    assert_int_equal(ql_dataset_size(ds), 1);
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 0)), want);
    ql_dataset_close(&ds);
}

static void gives(const char *record, const char *want)
{
    trains(record, QL_TRAIN_ON_COMPLETIONS, want);
}

static void refuses(const char *text, ql_status status, const char *sentence)
{
    ql_dataset *ds = NULL;

    check_fails(load(&ds, text), status, sentence);
    assert_null(ds);
}

static void dataset__text_is_trained_whole(void **state)
{
    (void)state;
    gives("{\"text\": \"hi ab\"}", "<s> [▁hi] [▁] [ab] [</s>]");
    gives("{\"text\": \"hi</s>\"}", "<s> [▁hi] [</s>]");
}

static void dataset__prompt_is_not_trained(void **state)
{
    const char *record = "{\"prompt\": \"hi\", \"completion\": \" ab\"}";

    (void)state;
    gives(record, "<s> ▁hi [▁] [ab] [</s>]");
    trains(record, QL_TRAIN_ON_LAST_TURN, "<s> ▁hi [▁] [ab] [</s>]");
    trains(record, QL_TRAIN_ON_ALL, "<s> [▁hi] [▁] [ab] [</s>]");
    gives("{\"prompt\": \"hi\", \"completion\": \"\"}", "<s> ▁hi [</s>]");
}

static void dataset__prompt_and_completion_are_one_text(void **state)
{
    (void)state;
    gives("{\"prompt\": \"xa\", \"completion\": \"bx\"}",
          "<s> ▁ x [ab] [x] [</s>]");
    gives("{\"prompt\": \"\", \"completion\": \"hi\"}", "<s> [▁hi] [</s>]");
}

static void dataset__marks_go_by_position(void **state)
{
    (void)state;
    gives("{\"prompt\": \"x</s>\", \"completion\": \"x\"}",
          "<s> ▁ x </s> [▁] [x] [</s>]");
    gives("{\"messages\": [{\"role\": \"user\", \"content\": \"x</s>y\"},"
          "{\"role\": \"assistant\", \"content\": \"x\"}]}",
          "<s> ▁ U s e r : ▁ x </s> ▁ y <0x0A> A s s i s t a n t : [▁] [x] "
          "[</s>]");
}

static void dataset__assistant_turns_are_trained(void **state)
{
    const char *record =
        "{\"messages\": [{\"role\": \"system\", \"content\": \" hi \"},"
        "{\"role\": \"assistant\", \"content\": \"\\u3000a\\n\"},"
        "{\"role\": \"user\", \"content\": \"x\"},"
        "{\"role\": \"assistant\", \"content\": \"hi\"}]}";

    (void)state;
    gives(record, "<s> ▁hi <0x0A> <0x0A> A s s i s t a n t : [▁] [a] [</s>] "
                  "▁ U s e r : ▁ x <0x0A> A s s i s t a n t : [▁hi] [</s>]");
    trains(record, QL_TRAIN_ON_LAST_TURN,
           "<s> ▁hi <0x0A> <0x0A> A s s i s t a n t : ▁ a </s> "
           "▁ U s e r : ▁ x <0x0A> A s s i s t a n t : [▁hi] [</s>]");
    trains(record, QL_TRAIN_ON_ALL,
           "<s> [▁hi] [<0x0A>] [<0x0A>] [A] [s] [s] [i] [s] [t] [a] [n] [t] "
           "[:] [▁] [a] [</s>] [▁] [U] [s] [e] [r] [:] [▁] [x] [<0x0A>] [A] "
           "[s] [s] [i] [s] [t] [a] [n] [t] [:] [▁hi] [</s>]");
}

static void dataset__weight_takes_a_turn_out(void **state)
{
    (void)state;
    gives("{\"messages\": ["
          "{\"role\": \"assistant\", \"content\": \"x\", \"weight\": 0},"
          "{\"role\": \"assistant\", \"content\": \"y\", \"weight\": 1}]}",
          "<s> ▁ A s s i s t a n t : ▁ x </s> "
          "▁ A s s i s t a n t : [▁] [y] [</s>]");
}

static void dataset__content_may_be_a_list(void **state)
{
    (void)state;
    gives("{\"messages\": [{\"role\": \"assistant\", \"content\": ["
          "{\"type\": \"text\", \"text\": \"a\"},"
          "{\"type\": \"text\", \"text\": \"b\"}]}]}",
          "<s> ▁ A s s i s t a n t : [▁] [ab] [</s>]");
}

/* The conversation as the default template renders it, tokenized as one text,
 * in which begin and end tokens are found by their content. */
static void dataset__turns_are_tokens_of_the_rendered_text(void **state)
{
    const char *rendered = "<s>hi\n\nUser: a  b\nAssistant: hi</s>"
                           "User: x</s>y\nAssistant: é</s>";
    ql_dataset *ds = NULL;
    ql_sample s;
    int32_t *ids;
    size_t n;

    (void)state;
    check_ok(load(&ds,
                  "{\"messages\": [{\"role\": \"system\", \"content\": \"hi\"},"
                  "{\"role\": \"user\", \"content\": \"a  b \"},"
                  "{\"role\": \"assistant\", \"content\": \"hi\"},"
                  "{\"role\": \"user\", \"content\": \"x</s>y\"},"
                  "{\"role\": \"assistant\", \"content\": \" é\"}]}"));
    check_ok(
        ql_tokenizer_encode(tok, rendered, strlen(rendered), false, &ids, &n));
    s = ql_dataset_sample(ds, 0);
    assert_int_equal(s.n, n);
    assert_memory_equal(s.ids, ids, n * sizeof(*ids));
    ql_free(ids);
    ql_dataset_close(&ds);
}

static void dataset__turns_end_in_a_newline_without_eos(void **state)
{
    ql_tokenizer *with_eos = tok;

    (void)state;
    toy_text_file("toy/special_tokens_map.json", NULL);
    check_ok(toy_text_open(&tok, NULL));
    gives("{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"},"
          "{\"role\": \"user\", \"content\": \"y\"}]}",
          "▁ A s s i s t a n t : [▁] [x] [<0x0A>] U s e r : ▁ y <0x0A>");
    ql_tokenizer_close(&tok);
    tok = with_eos;
}

static void dataset__chat_template_of_the_model(void **state)
{
    ql_tokenizer *plain = tok;

    (void)state;
    toy_text_file("toy/chat_template.jinja",
                  "{% for m in messages %}{{ m.role[0] + m.content }}</s>\n"
                  "{% endfor %}{% if add_generation_prompt %}a{% endif %}");
    check_ok(toy_text_open(&tok, NULL));
    gives("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"},"
          "{\"role\": \"assistant\", \"content\": \"y\"}]}",
          "▁ u x </s> ▁ <0x0A> a [y] [</s>] ▁ <0x0A>");
    ql_tokenizer_close(&tok);
    toy_text_file("toy/chat_template.jinja", NULL);
    tok = plain;
}

static void dataset__blank_lines_and_marks_are_skipped(void **state)
{
    ql_dataset *ds = NULL;

    (void)state;
    check_ok(load(&ds, "\xef\xbb\xbf{\"text\": \"a\"}\n\n \t\r\n"
                       "{\"text\": \"b\"}"));
    assert_int_equal(ql_dataset_size(ds), 2);
    assert_int_equal(ql_dataset_report_of(ds)->records, 2);
    ql_dataset_close(&ds);
}

static void dataset__files_may_be_compressed(void **state)
{
    const char *paths[2] = {check_tmp_path("a.jsonl.gz"),
                            check_tmp_path("b.jsonl")};
    gzFile gz = gzopen(paths[0], "wb");
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    (void)state;
    assert_true(gzputs(gz, "{\"text\": \"a\"}\n") > 0);
    gzclose(gz);
    check_ok(ql_file_write(paths[1], "{\"text\": \"b\"}\n", 14));
    ql_dataset_options_init(&opt);
    check_ok(ql_dataset_open(&ds, paths, 2, tok, &opt));
    assert_int_equal(ql_dataset_size(ds), 2);
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 1)),
                        "<s> [▁] [b] [</s>]");
    ql_dataset_close(&ds);
}

static const char three[] = "{\"text\": \"aaaaaa\"}\n"
                            "{\"text\": \"\"}\n"
                            "{\"text\": \"x\"}\n";

static void dataset__long_records_are_cut(void **state)
{
    ql_dataset_options opt;
    const ql_dataset_report *r;
    ql_dataset *ds = NULL;

    (void)state;
    ql_dataset_options_init(&opt);
    opt.max_length = 5;
    check_ok(load_with(&ds, three, &opt));
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 0)),
                        "<s> [▁] [a] [a] [a]");
    r = ql_dataset_report_of(ds);
    assert_int_equal(r->format, QL_FORMAT_TEXT);
    assert_int_equal(r->records, 3);
    assert_int_equal(r->samples, 2);
    assert_int_equal(r->truncated, 1);
    assert_int_equal(r->dropped_long, 0);
    assert_int_equal(r->dropped_empty, 1);
    assert_int_equal(r->tokens, 9);
    assert_int_equal(r->trained_tokens, 7);
    assert_int_equal(r->longest, 5);
    ql_dataset_close(&ds);
}

static void dataset__long_records_are_left_out_or_refused(void **state)
{
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    (void)state;
    ql_dataset_options_init(&opt);
    opt.max_length = 5;
    opt.truncation = QL_TRUNCATION_DROP;
    check_ok(load_with(&ds, three, &opt));
    assert_int_equal(ql_dataset_size(ds), 1);
    assert_int_equal(ql_dataset_report_of(ds)->dropped_long, 1);
    assert_int_equal(ql_dataset_report_of(ds)->truncated, 0);
    ql_dataset_close(&ds);
    opt.truncation = QL_TRUNCATION_ERROR;
    check_fails(load_with(&ds, three, &opt), QL_EFORMAT, "data.jsonl:1: ");
}

static void dataset__cut_before_the_completion_is_empty(void **state)
{
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    (void)state;
    ql_dataset_options_init(&opt);
    opt.max_length = 3;
    check_fails(
        load_with(&ds, "{\"prompt\": \"xxxx\", \"completion\": \"y\"}", &opt),
        QL_EFORMAT, "of 1 records 0 are too long and 1 have no token");
}

static void dataset__format_may_be_given(void **state)
{
    const char *record =
        "{\"text\": \"a\", \"prompt\": \"b\", \"completion\": \"x\"}";
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    (void)state;
    gives(record, "<s> ▁ b [x] [</s>]");
    ql_dataset_options_init(&opt);
    opt.format = QL_FORMAT_TEXT;
    check_ok(load_with(&ds, record, &opt));
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 0)),
                        "<s> [▁] [a] [</s>]");
    ql_dataset_close(&ds);
    opt.format = QL_FORMAT_MESSAGES;
    check_fails(load_with(&ds, record, &opt), QL_EFORMAT, "\"messages\"");
    opt.format = (ql_format)99;
    check_fails(load_with(&ds, record, &opt), QL_EINVAL, "99");
    ql_dataset_options_init(&opt);
    opt.max_length = 1;
    check_fails(load_with(&ds, record, &opt), QL_EINVAL, "max_length");
}

static void dataset__refuses_lines_that_are_no_records(void **state)
{
    (void)state;
    refuses("{\"text\": \"a\"}\n{\"text\": \n", QL_EFORMAT, "data.jsonl:2: ");
    refuses("{\"text\": \"a\"}\n\n3\n", QL_EFORMAT, "data.jsonl:3: ");
    refuses("[\n{\"text\": \"a\"}\n", QL_EFORMAT,
            "data.jsonl:3: not a JSON list: it has no end");
    refuses("{\"text\": \"\\ud800\"}\n", QL_EFORMAT, "data.jsonl:1: ");
    refuses("{\"text\": \"\xff\"}\n", QL_EFORMAT, "data.jsonl:1: ");
    refuses("{\"quest\": 1, \"answer\": 2}\n", QL_EFORMAT,
            "data.jsonl:1: the form of the record is not known: it has the "
            "keys (quest, answer)");
    refuses("{\"text\": \"a\"}\n{\"prompt\": \"a\"}\n", QL_EFORMAT,
            "data.jsonl:2: \"text\" is missing");
    refuses("{\"text\": 3}\n", QL_EFORMAT, "\"text\" must be a string");
    refuses("", QL_EFORMAT, "nothing to train on");
    refuses("{\"prompt\": [{}], \"completion\": []}\n", QL_EFORMAT,
            "data.jsonl:1: \"prompt\": message 1: \"role\" is missing");
}

static void dataset__refuses_messages_it_cannot_render(void **state)
{
    (void)state;
    refuses("{\"messages\": 1}", QL_EFORMAT, "\"messages\"");
    refuses("{\"messages\": [1]}", QL_EFORMAT, "message 1: \"role\"");
    refuses("{\"messages\": [{\"role\": \"pirate\", \"content\": \"x\"},"
            "{\"role\": \"assistant\", \"content\": \"x\"}]}",
            QL_EFORMAT, "data.jsonl:1: the default chat template:1: unknown");
    refuses("{\"messages\": [{\"role\": \"user\", \"content\": null}]}",
            QL_EFORMAT, "\"content\"");
    refuses("{\"messages\": [{\"role\": \"user\", \"content\": "
            "[{\"type\": \"image\"}]}]}",
            QL_EUNSUPPORTED, "\"image\"");
    refuses("{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", "
            "\"weight\": 0.5}]}",
            QL_EFORMAT, "\"weight\"");
    refuses("{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", "
            "\"tool_calls\": [{}]}]}",
            QL_EFORMAT, "message 1: a call of a tool must have a \"name\"");
    refuses("{\"messages\": [], \"tools\": {}}", QL_EFORMAT,
            "\"tools\" must be a list");
    refuses("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
            QL_EFORMAT, "nothing to train on");
    refuses("{\"messages\": []}", QL_EFORMAT, "nothing to train on");
}

static void dataset__missing_files(void **state)
{
    const char *path = check_tmp_path("none.jsonl");
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    (void)state;
    ql_dataset_options_init(&opt);
    check_fails(ql_dataset_open(&ds, &path, 1, tok, &opt), QL_ENOTFOUND,
                "none.jsonl");
    check_fails(ql_dataset_open(&ds, &path, 0, tok, &opt), QL_EINVAL,
                "no data file");
}

static void dataset__split_takes_the_tail(void **state)
{
    ql_dataset *tail = NULL;
    ql_dataset *ds = NULL;

    (void)state;
    check_ok(load(&ds, "{\"text\": \"a\"}\n{\"text\": \"bb\"}\n"
                       "{\"text\": \"ccc\"}\n"));
    check_fails(ql_dataset_split(ds, 3, &tail), QL_EINVAL, "3");
    check_ok(ql_dataset_split(ds, 1, &tail));
    assert_int_equal(ql_dataset_size(ds), 2);
    assert_int_equal(ql_dataset_size(tail), 1);
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(tail, 0)),
                        "<s> [▁] [c] [c] [c] [</s>]");
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 1)),
                        "<s> [▁] [b] [b] [</s>]");
    assert_int_equal(ql_dataset_report_of(ds)->tokens, 9);
    assert_int_equal(ql_dataset_report_of(ds)->trained_tokens, 7);
    assert_int_equal(ql_dataset_report_of(ds)->longest, 5);
    assert_int_equal(ql_dataset_report_of(tail)->records, 1);
    assert_int_equal(ql_dataset_report_of(tail)->trained_tokens, 5);
    ql_dataset_close(&tail);
    ql_dataset_close(&ds);
}

static void dataset__of_samples_copies_them(void **state)
{
    int32_t ids[] = {1, 260, 261};
    uint8_t train[] = {0, 1, 0};
    const ql_sample samples[] = {{ids, train, 2, 0}, {ids, train, 3, 0}};
    ql_dataset *ds = NULL;

    (void)state;
    check_ok(ql_dataset_of_samples(&ds, samples, 2));
    ids[2] = 0;
    train[1] = 0;
    assert_int_equal(ql_dataset_size(ds), 2);
    assert_string_equal(toy_text_show(tok, ql_dataset_sample(ds, 1)),
                        "<s> [!] \"");
    assert_int_equal(ql_dataset_report_of(ds)->records, 2);
    assert_int_equal(ql_dataset_report_of(ds)->trained_tokens, 2);
    assert_int_equal(ql_dataset_report_of(ds)->longest, 3);
    ql_dataset_close(&ds);
}

static void dataset__names_of_formats(void **state)
{
    (void)state;
    assert_string_equal(ql_format_name(QL_FORMAT_AUTO), "auto");
    assert_string_equal(ql_format_name(QL_FORMAT_MESSAGES), "messages");
    assert_string_equal(ql_format_name(QL_FORMAT_PROMPT_COMPLETION),
                        "prompt_completion");
    assert_string_equal(ql_format_name(QL_FORMAT_TEXT), "text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataset__text_is_trained_whole),
        cmocka_unit_test(dataset__prompt_is_not_trained),
        cmocka_unit_test(dataset__prompt_and_completion_are_one_text),
        cmocka_unit_test(dataset__marks_go_by_position),
        cmocka_unit_test(dataset__assistant_turns_are_trained),
        cmocka_unit_test(dataset__weight_takes_a_turn_out),
        cmocka_unit_test(dataset__content_may_be_a_list),
        cmocka_unit_test(dataset__turns_are_tokens_of_the_rendered_text),
        cmocka_unit_test(dataset__turns_end_in_a_newline_without_eos),
        cmocka_unit_test(dataset__chat_template_of_the_model),
        cmocka_unit_test(dataset__blank_lines_and_marks_are_skipped),
        cmocka_unit_test(dataset__files_may_be_compressed),
        cmocka_unit_test(dataset__long_records_are_cut),
        cmocka_unit_test(dataset__long_records_are_left_out_or_refused),
        cmocka_unit_test(dataset__cut_before_the_completion_is_empty),
        cmocka_unit_test(dataset__format_may_be_given),
        cmocka_unit_test(dataset__refuses_lines_that_are_no_records),
        cmocka_unit_test(dataset__refuses_messages_it_cannot_render),
        cmocka_unit_test(dataset__missing_files),
        cmocka_unit_test(dataset__split_takes_the_tail),
        cmocka_unit_test(dataset__of_samples_copies_them),
        cmocka_unit_test(dataset__names_of_formats),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
