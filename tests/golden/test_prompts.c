/* What is asked is written as it was trained: the prompt for the last answer
 * of a conversation has the tokens that stand before that answer in the sample
 * that training makes of it, for every template that we have. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/data/reader.h"
#include "src/data/shape.h"
#include "src/gen/chat_prompt.h"
#include "tests/check/check.h"
#include "tests/golden/reference.h"

enum {
    MOST = 25 /* records of a file */
};

/* What records say in other ways than the files below. */
static const char *const records[] = {
    "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", "
    "\"text\": \"Hi there\"}]}, {\"role\": \"assistant\", \"content\": "
    "\"Hello\"}]}",
    "{\"messages\": [{\"role\": \"human\", \"content\": \"Hi there\"}, "
    "{\"role\": \"assistant\", \"content\": \"Hello\"}]}",
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, "
    "{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", "
    "\"content\": \"Hello\"}]}",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": "
    "\"assistant\", \"content\": \"Hello\"}], \"system\": \"Be brief.\", "
    "\"tools\": [{\"name\": \"dog\", \"description\": \"barks\", "
    "\"parameters\": {\"type\": \"object\", \"properties\": {}, "
    "\"required\": []}}]}",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": "
    "\"assistant\", \"tool_calls\": [{\"name\": \"dog\", \"arguments\": "
    "{\"a\": \"x\"}}]}, {\"role\": \"tool\", \"content\": {\"r\": 1}}, "
    "{\"role\": \"assistant\", \"content\": \"Hello\"}], \"tools\": "
    "[{\"name\": "
    "\"dog\", \"description\": \"barks\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {}, \"required\": []}}]}",
    "{\"messages\": null, \"conversations\": [{\"from\": \"human\", \"value\": "
    "\"Hi there\"}, {\"from\": \"gpt\", \"value\": \"Hello\"}]}",
};

/* Templates that write another prompt for an answer than they write before
 * one: both are as the template has them. */
static const struct odd {
    const char *name;
    const char *trained, *asked; /* ends of the texts, where they part */
} odds[] = {
    {"NousResearch-Hermes", "\n<|im_end|><|im_start|>assistant\n",
     "<|im_end|><|im_start|>assistant\n"},
};

/* A record without the last of its messages; NULL if that is no answer. Owned:
 * free. */
static char *ask_again(const json_t *record)
{
    static const char *const keys[] = {"messages", "conversations"};
    json_t *copy = json_deep_copy(record);
    char *text = NULL;

    for (size_t k = 0; k < 2; k++) {
        json_t *list = json_object_get(copy, keys[k]);
        const size_t n = json_array_size(list);
        const json_t *last = json_array_get(list, n - 1);
        const char *role =
            json_string_value(json_object_get(last, k == 0 ? "role" : "from"));

        if (role &&
            (strcmp(role, "assistant") == 0 || strcmp(role, "gpt") == 0 ||
             strcmp(role, "function_call") == 0)) {
            json_array_remove(list, n - 1);
            text = json_dumps(copy, 0);
        }
    }
    json_decref(copy);
    return text;
}

static bool ends_with(const char *text, size_t len, const char *tail)
{
    const size_t n = strlen(tail);

    return n <= len && strcmp(text + len - n, tail) == 0;
}

/* Texts that part only as a template of that name has it. */
static void check_odd(const char *name, const char *trained, size_t n,
                      const char *asked, size_t m)
{
    for (size_t i = 0; i < sizeof(odds) / sizeof(*odds); i++) {
        const struct odd *o = &odds[i];

        if (strstr(name, o->name) && ends_with(trained, n, o->trained) &&
            ends_with(asked, m, o->asked) &&
            n - strlen(o->trained) == m - strlen(o->asked) &&
            memcmp(trained, asked, n - strlen(o->trained)) == 0) {
            return;
        }
    }
    fail_msg("%s: trained is\n%s\nbut asked is\n%s\n", name, trained, asked);
}

/* The tokens before those that are trained are those of the prompt. */
static void check_prompt(ql_sample s, const int32_t *ids, size_t n,
                         const char *name)
{
    size_t before = 0;
    char *trained;
    char *asked;
    size_t len;
    size_t m;

    while (before < s.n && !s.train[before]) {
        before++;
    }
    if (n == before && memcmp(ids, s.ids, n * sizeof(*ids)) == 0) {
        return;
    }
    check_ok(ql_tokenizer_decode(reference_tok, s.ids, before, false, &trained,
                                 &len));
    check_ok(ql_tokenizer_decode(reference_tok, ids, n, false, &asked, &m));
    check_odd(name, trained, len, asked, m);
    ql_free(trained);
    ql_free(asked);
}

/* What training refuses is refused here, too. Returns whether it was not. */
static bool is_as_trained(const ql_shaper *s, json_t *record, const char *name)
{
    char *json = ask_again(record);
    const ql_form *form;
    ql_sample_draft draft;
    ql_shape_notes notes;
    int32_t *ids = NULL;
    size_t n = 0;
    ql_status st;

    if (!json) {
        return false;
    }
    check_ok(ql_form_find(&form, &record, 1, QL_FORMAT_AUTO));
    ql_sample_draft_init(&draft);
    st = ql_shape(s, form, record, &draft, &notes);
    assert_int_equal(
        ql_chat_prompt(&s->styles, reference_tok, json, name, &ids, &n, NULL),
        st);
    if (st == QL_OK) {
        assert_int_equal(ql_sample_draft_count(&draft), 1);
        check_prompt(ql_sample_draft_get(&draft, 0), ids, n, name);
    }
    ql_sample_draft_free(&draft);
    ql_free(ids);
    free(json);
    return st == QL_OK;
}

/* Returns how many records were not refused. */
static size_t file_is_as_trained(const ql_shaper *s, const char *path,
                                 const char *name)
{
    size_t taken = 0;
    ql_reader r;
    ql_buf text;
    size_t line;
    bool more = true;

    ql_buf_init(&text, QL_TAG_MISC, SIZE_MAX / 4);
    check_ok(ql_reader_open(&r, path, QL_FORMAT_AUTO));
    for (size_t i = 0; i < MOST; i++) {
        json_t *record = NULL;

        ql_buf_clear(&text);
        check_ok(ql_reader_next(&r, &text, &line, &more));
        assert_true(more);
        check_ok(ql_json_parse(&record, text.data, text.len, path));
        taken += is_as_trained(s, record, name);
        json_decref(record);
    }
    ql_reader_free(&r);
    ql_buf_free(&text);
    return taken;
}

/* given: a template, or its file; NULL for the default one. */
static void template_is_as_trained(const char *given, const char *name)
{
    static const char *const files[] = {
        "data/chat/soda_messages.jsonl",
        "data/chat/sharegpt_glaive_toolcall_300.json",
        "data/chat/sharegpt_vicuna_identity.json"};
    ql_shaper s = {.tok = reference_tok, .train_on = QL_TRAIN_ON_LAST_TURN};
    size_t taken = 0;

    check_ok(ql_styles_open(&s.styles, reference_tok, given, "2026-01-02"));
    for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++) {
        json_t *record = json_loads(records[i], 0, NULL);

        taken += is_as_trained(&s, record, name);
        json_decref(record);
    }
    for (size_t i = 0; i < 3; i++) {
        taken += file_is_as_trained(&s, check_shared(files[i]), name);
    }
    /* one wants a variable that only its own server gives */
    assert_true(taken > 10 || strstr(name, "firefunction"));
    ql_styles_close(&s.styles);
}

static void prompts__are_as_trained(void **state)
{
    char dir[4200];
    char path[8500];
    size_t found = 0;
    struct dirent *e;
    DIR *d;

    (void)state;
    template_is_as_trained(NULL, "the default");
    template_is_as_trained(
        "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}"
        "{{ eos_token }}\n{% endfor %}",
        "one without a prompt");
    snprintf(dir, sizeof(dir), "%s", check_shared("tokenizers/chat_templates"));
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d))) {
        if (strstr(e->d_name, ".jinja")) {
            snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
            template_is_as_trained(path, e->d_name);
            found++;
        }
    }
    closedir(d);
    assert_true(found >= 10);
}

static ql_status prompt_once(const char *template, int32_t **ids)
{
    ql_styles s = {0};
    size_t size = 0;
    ql_status st = ql_styles_open(&s, reference_tok, template, "2026-01-02");

    if (st == QL_OK) {
        st = ql_chat_prompt(&s, reference_tok, records[4], "x", ids, &size,
                            NULL);
    }
    ql_styles_close(&s);
    return st;
}

/* Templates without a prompt of their own are tried with an answer. */
static void memory__that_is_lacking_ends_it_cleanly(void **state)
{
    static const char *const templates[] = {
        NULL, "{% for m in messages %}{{ m.content }}</s>{% endfor %}"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bool ok = false;
        int32_t *ids = NULL;

        for (long n = 0; !ok; n += 1 + n / 16) {
            ok = check_lacking(n, prompt_once(templates[i], &ids));
            assert_true(ok == (ids != NULL));
        }
        ql_free(ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts__are_as_trained),
        cmocka_unit_test(memory__that_is_lacking_ends_it_cleanly),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, reference_tok_setup,
                                  reference_tok_teardown);
}
