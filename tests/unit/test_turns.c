/* Which part of a conversation is trained, by templates of all kinds, written
 * for what they do: each has a quirk that real ones have. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

static const char *const specials[] = {"<s>",   "</s>",  "<|e|>", "<|u|>",
                                       "<|a|>", "<|x|>", NULL};

static ql_tokenizer *tok;

static int setup(void **state)
{
    (void)state;
    toy_text_file("toy/tokenizer_config.json",
                  "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    check_ok(toy_text_open_bytes(&tok, specials));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ql_tokenizer_close(&tok);
    return 0;
}

/* Two rounds of talk, in JSON with ' for ". */
static const char talk[] = "{'messages': [{'role': 'user', 'content': 'q'},"
                           "{'role': 'assistant', 'content': 'a'},"
                           "{'role': 'user', 'content': 'r'},"
                           "{'role': 'assistant', 'content': 'b'}]}";

static ql_status load(ql_dataset **ds, const char *template, const char *record,
                      ql_train_on train_on)
{
    const char *path = check_tmp_path("toy/talk.jsonl");
    json_t *o = toy_text_json(record);
    char *text = json_dumps(o, 0);
    ql_dataset_options opt;
    ql_status st;

    toy_text_file("toy/talk.jsonl", text);
    free(text);
    json_decref(o);
    ql_dataset_options_init(&opt);
    opt.chat_template = template;
    opt.train_on = train_on;
    st = ql_dataset_open(ds, &path, 1, tok, &opt);
    return st;
}

/* The samples of a record, one a line. */
static void trains(const char *template, const char *record,
                   ql_train_on train_on, const char *want)
{
    ql_dataset *ds = NULL;
    char got[4096] = "";

    check_ok(load(&ds, template, record, train_on));
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const size_t n = strlen(got);

        snprintf(got + n, sizeof(got) - n, "%s%s", i > 0 ? "\n---\n" : "",
                 toy_text_marked(tok, ql_dataset_sample(ds, i)));
    }
    assert_string_equal(got, want);
    ql_dataset_close(&ds);
}

static void gives(const char *template, const char *record, const char *want)
{
    trains(template, record, QL_TRAIN_ON_COMPLETIONS, want);
}

#define EACH(body) "{% for m in messages %}" body "{% endfor %}"
#define PROMPT(text) "{% if add_generation_prompt %}" text "{% endif %}"

static const char chatml[] =
    EACH("<|u|>{{ m.role }}\n{{ m.content | trim }}<|e|>\n")
        PROMPT("<|u|>assistant\n");

static void turns__end_with_their_end_token(void **state)
{
    const char *want = "<|u|>user\nq<|e|>\n<|u|>assistant\n[[a<|e|>]]\n"
                       "<|u|>user\nr<|e|>\n<|u|>assistant\n[[b<|e|>]]\n";

    (void)state;
    gives(chatml, talk, want);
    trains(chatml, talk, QL_TRAIN_ON_LAST_TURN,
           "<|u|>user\nq<|e|>\n<|u|>assistant\na<|e|>\n"
           "<|u|>user\nr<|e|>\n<|u|>assistant\n[[b<|e|>]]\n");
    trains(chatml, talk, QL_TRAIN_ON_ALL,
           "<|u|>[[user\nq<|e|>\n<|u|>assistant\na<|e|>\n"
           "<|u|>user\nr<|e|>\n<|u|>assistant\nb<|e|>\n]]");
}

static void turns__heed_weights(void **state)
{
    (void)state;
    gives(chatml,
          "{'messages': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a', 'weight': 1},"
          "{'role': 'assistant', 'content': 'b', 'weight': 0},"
          "{'role': 'user', 'content': 'r', 'weight': 1}]}",
          "<|u|>user\nq<|e|>\n<|u|>assistant\n[[a<|e|>]]\n"
          "<|u|>assistant\nb<|e|>\n<|u|>user\nr<|e|>\n");
}

/* The end token is a part of what the user says, and of an answer. */
static void turns__go_by_place(void **state)
{
    (void)state;
    gives(chatml,
          "{'messages': [{'role': 'user', 'content': 'q<|e|>'},"
          "{'role': 'assistant', 'content': '<|e|>a<|e|> '},"
          "{'role': 'user', 'content': 'a'}]}",
          "<|u|>user\nq<|e|><|e|>\n<|u|>assistant\n"
          "[[<|e|>a<|e|><|e|>]]\n<|u|>user\na<|e|>\n");
    gives(chatml,
          "{'messages': [{'role': 'user', 'content': 'a'},"
          "{'role': 'assistant', 'content': ''}]}",
          "<|u|>user\na<|e|>\n<|u|>assistant\n[[<|e|>]]\n");
}

static void turns__without_a_prompt(void **state)
{
    (void)state;
    gives("{{ bos_token }}" EACH(
              "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
              "{% else %} {{ m.content }} {{ eos_token }}{% endif %}"),
          talk, "<s>[INST] q [/INST] [[a </s>]][INST] r [/INST] [[b </s>]]");
    gives(EACH("### {{ m.role }}: {{ m.content }}{{ eos_token }}\n"), talk,
          "### user: q</s>\n### assistant: [[a</s>]]\n"
          "### user: r</s>\n### assistant: [[b</s>]]\n");
}

static void turns__without_special_tokens(void **state)
{
    (void)state;
    gives(EACH("{{ m.role }}: {{ m.content }}\n") PROMPT("assistant:"), talk,
          "user: q\nassistant:[[ a\n]]user: r\nassistant:[[ b\n]]");
}

/* As the first template of Llama 3 did. */
static void turns__where_a_prompt_is_always_there(void **state)
{
    (void)state;
    gives(
        EACH(
            "<|u|>{{ m.role }}<|x|>{{ m.content }}<|e|>") "<|u|>assistant<|x|>",
        talk,
        "<|u|>user<|x|>q<|e|><|u|>assistant<|x|>[[a<|e|>]]"
        "<|u|>user<|x|>r<|e|><|u|>assistant<|x|>[[b<|e|>]]"
        "<|u|>assistant<|x|>");
    gives(EACH("<|u|>{{ m.role }}<|x|>"
               "{{ '<s>' if m.role == 'assistant' }}{{ m.content }}"
               "{{ '<|a|>' if m.role == 'assistant' }}<|e|>") "<|u|>assistant<|"
                                                              "x|>",
          talk,
          "<|u|>user<|x|>q<|e|><|u|>assistant<|x|>[[<s>a<|a|><|e|>]]"
          "<|u|>user<|x|>r<|e|><|u|>assistant<|x|>[[<s>b<|a|><|e|>]]"
          "<|u|>assistant<|x|>");
}

/* As Phi does; the headers of turns begin alike. */
static void turns__with_an_end_of_the_conversation(void **state)
{
    (void)state;
    gives(EACH("<|u|>{{ m.role }}\n{{ m.content }}<|e|>\n") "{% if "
                                                            "add_generation_"
                                                            "prompt "
                                                            "%}<|u|>assistant\n"
                                                            "{% else %}{{ "
                                                            "eos_token }}{% "
                                                            "endif %}",
          talk,
          "<|u|>user\nq<|e|>\n<|u|>assistant\n[[a<|e|>]]\n"
          "<|u|>user\nr<|e|>\n<|u|>assistant\n[[b<|e|>\n</s>]]");
}

/* As Qwen 3 does with thoughts. */
static const char forgetful[] =
    EACH("<|u|>{{ m.role }}\n"
         "{% if m.role == 'assistant' and loop.last %}(hm) {% endif %}"
         "{{ m.content }}<|e|>\n") PROMPT("<|u|>assistant\n");

static void turns__that_change_later_are_split_off(void **state)
{
    const char *both =
        "<|u|>user\nq<|e|>\n<|u|>assistant\n[[(hm) a<|e|>]]\n\n---\n"
        "<|u|>user\nq<|e|>\n<|u|>assistant\na<|e|>\n"
        "<|u|>user\nr<|e|>\n<|u|>assistant\n[[(hm) b<|e|>]]\n";

    (void)state;
    gives(forgetful, talk, both);
    trains(forgetful, talk, QL_TRAIN_ON_LAST_TURN, strstr(both, "---\n") + 4);
    gives(forgetful,
          "{'messages': [{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'},"
          "{'role': 'user', 'content': 'r'}]}",
          "<|u|>user\nq<|e|>\n<|u|>assistant\n[[(hm) a<|e|>]]\n");
}

/* As Mistral does: the system turn goes with the last question. The turns of
 * the first round are not changed, but what comes before them is. */
static void turns__whose_past_changes_are_split_off(void **state)
{
    (void)state;
    gives("{% for m in messages if m.role != 'system' %}"
          "{% if m.role == 'user' %}<|u|>"
          "{% if loop.index0 == messages | selectattr('role', 'equalto', "
          "'user') | list | length * 2 - 2 %}{{ messages[0].content }} "
          "{% endif %}{{ m.content }}<|a|>"
          "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
          "{'messages': [{'role': 'system', 'content': 'S'},"
          "{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'},"
          "{'role': 'assistant', 'content': 'c'},"
          "{'role': 'user', 'content': 'r'},"
          "{'role': 'assistant', 'content': 'b'}]}",
          "<|u|>S q<|a|>[[a</s>c</s>]]\n---\n"
          "<|u|>q<|a|>a</s>c</s><|u|>r<|a|>[[b</s>]]");
}

/* As DeepSeek R1: the prompt opens a thought, which turns are written without.
 * Each turn is what follows the prompt, and so a sample of its own. */
static const char opens[] =
    EACH("{{ '<|u|>' if m.role == 'user' else '<|a|>' }}"
         "{{ m.content.split('</think>')[-1] }}"
         "{{ '<|e|>' if m.role == 'assistant' }}") PROMPT("<|a|><think>\n");

static void thoughts__that_the_prompt_opens_are_learnt(void **state)
{
    static const char said[] =
        "{'messages': [{'role': 'user', 'content': 'q'},"
        "{'role': 'assistant', 'content': '<t'},"
        "{'role': 'user', 'content': 'r'},"
        "{'role': 'assistant', 'content': '<think>x</think><think'}]}";

    (void)state;
    gives(opens, said,
          "<|u|>q<|a|><think>\n[[\n</think>\n\n<t<|e|>]]\n---\n"
          "<|u|>q<|a|><t<|e|><|u|>r<|a|><think>\n"
          "[[x</think><think<|e|>]]");
    trains(opens, said, QL_TRAIN_ON_LAST_TURN,
           "<|u|>q<|a|><t<|e|><|u|>r<|a|><think>\n"
           "[[x</think><think<|e|>]]");
    trains(opens, said, QL_TRAIN_ON_ALL,
           "<|u|>[[q<|a|><t<|e|><|u|>r<|a|><think>\n"
           "x</think><think<|e|>]]");
}

/* Wherever a record has the thought, and if it was cut off with its blanks. */
static void thoughts__are_found(void **state)
{
    static const char *const says[] = {
        "'content': '<think>\\nx\\n</think>\\n\\na'",
        "'content': 'x\\n</think>\\n\\na'",
        "'content': 'a', 'reasoning_content': '\\nx '",
        "'content': 'a', 'thinking': 'x'",
    };
    static const char stripped[] =
        EACH("{{ '<|u|>' if m.role == 'user' else '<|a|>' }}"
             "{{ m.content.split('</think>')[-1].lstrip() }}"
             "{{ '<|e|>' if m.role == 'assistant' }}") PROMPT("<|a|><think>\n");

    (void)state;
    for (size_t i = 0; i < sizeof(says) / sizeof(*says); i++) {
        char record[256];

        snprintf(record, sizeof(record),
                 "{'messages': [{'role': 'user', 'content': 'q'},"
                 "{'role': 'assistant', %s}]}",
                 says[i]);
        gives(opens, record, "<|u|>q<|a|><think>\n[[x\n</think>\n\na<|e|>]]");
        gives(stripped, record,
              "<|u|>q<|a|><think>\n[[x\n</think>\n\na<|e|>]]");
    }
}

static size_t changed(const char *template, const char *record)
{
    ql_dataset *ds = NULL;
    size_t n;

    check_ok(load(&ds, template, record, QL_TRAIN_ON_COMPLETIONS));
    n = ql_dataset_report_of(ds)->changed;
    ql_dataset_close(&ds);
    return n;
}

static void turns__that_the_template_changes_are_counted(void **state)
{
    static const char said[] =
        "{'messages': [{'role': 'user', 'content': 'q'},"
        "{'role': 'assistant', 'content': '<think>\\nx</think>a'}]}";

    (void)state;
    assert_int_equal(
        changed(EACH("<|u|>{{ m.content.split('</think>')[-1] }}"), said), 1);
    assert_int_equal(changed(opens, said), 0);
}

/* A template that does not stand any part of a conversation. */
static void turns__where_the_past_cannot_be_written(void **state)
{
    (void)state;
    gives("{% if messages[-1].role == 'user' %}{{ raise_exception('no') }}"
          "{% endif %}" EACH("<|u|>{{ m.content }}<|e|>"),
          talk, "<|u|>q<|e|><|u|>[[a<|e|>]]<|u|>r<|e|><|u|>[[b<|e|>]]");
    gives(EACH("{% if loop.first and m.role == 'user' %}"
               "{{ raise_exception('no') }}{% endif %}"
               "{{ m.role }}\n{{ m.content }}<|e|>"),
          "{'messages': [{'role': 'assistant', 'content': 'a'}]}",
          "assistant\n[[a<|e|>]]");
}

static void turns__marked_by_the_template(void **state)
{
    const char *template = "{{ bos_token }}" EACH(
        "{{ m.role }} {% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}{% endgeneration %}<|e|>"
        "{% else %}{{ m.content }}{% endif %}{{ '\n' }}");
    const char *weighted = "{'messages': [{'role': 'user', 'content': 'q'},"
                           "{'role': 'assistant', 'content': 'a', 'weight': 0},"
                           "{'role': 'user', 'content': 'r'},"
                           "{'role': 'assistant', 'content': 'b'},"
                           "{'role': 'assistant', 'content': 'c'}]}";

    (void)state;
    gives(template, talk,
          "<s>user q\nassistant [[a<|e|>]]\nuser r\n"
          "assistant [[b<|e|>]]\n");
    trains(template, talk, QL_TRAIN_ON_LAST_TURN,
           "<s>user q\nassistant a<|e|>\nuser r\nassistant [[b<|e|>]]\n");
    gives(template, weighted,
          "<s>user q\nassistant a<|e|>\nuser r\nassistant [[b<|e|>]]\n"
          "assistant [[c<|e|>]]\n");
    trains(template, weighted, QL_TRAIN_ON_LAST_TURN,
           "<s>user q\nassistant a<|e|>\nuser r\nassistant b<|e|>\n"
           "assistant [[c<|e|>]]\n");
}

static void turns__have_one_bos(void **state)
{
    (void)state;
    gives("{{ bos_token }}" EACH("{{ bos_token }}{{ m.content }}</s>"), talk,
          "<s>q</s><s>[[a</s>]]<s>r</s><s>[[b</s>]]");
}

static void turns__with_tools(void **state)
{
    const char *template = "{{ tools | tojson if tools }}" EACH(
        "<|u|>{{ m.role }} {{ m.content }}"
        "{% for c in m.tool_calls or [] %}!{{ c.function.name }}"
        "{{ c.function.arguments.values() | join }}{% endfor %}<|e|>")
        PROMPT("<|u|>assistant ");
    const char *record =
        "{'tools': '[{\\'name\\': \\'f\\'}]', 'messages': ["
        "{'role': 'user', 'content': 'q'},"
        "{'role': 'assistant', 'content': null, 'tool_calls': [{'id': '1', "
        "'function': {'name': 'f', 'arguments': '{\\'k\\': \\'v\\'}'}}]},"
        "{'role': 'tool', 'content': {'x': 1}},"
        "{'role': 'assistant', 'content': 'a'}]}";

    (void)state;
    gives(template, record,
          "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]"
          "<|u|>user q<|e|><|u|>assistant [[!fv<|e|>]]"
          "<|u|>tool {\"x\": 1}<|e|><|u|>assistant [[a<|e|>]]");
    gives(chatml, record,
          "<|u|>user\nTools: [{\"type\": \"function\", \"function\": "
          "{\"name\": \"f\"}}]\n\nq<|e|>\n<|u|>assistant\n"
          "[[{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}<|e|>]]\n"
          "<|u|>user\n{\"x\": 1}<|e|>\n<|u|>assistant\n[[a<|e|>]]\n");
}

static void turns__calls_as_the_template_wants_them(void **state)
{
    const char *record =
        "{'messages': [{'role': 'user', 'content': 'q'},"
        "{'role': 'assistant', 'function_call': {'name': 'f', 'arguments': "
        "{'k': 'v'}}}, {'role': 'function', 'name': 'f', 'content': 'x'}]}";

    (void)state;
    gives(EACH("{% if m.content is none %}{{ m.tool_calls[0].function.name + "
               "m.tool_calls[0].function.arguments }}</s>{% else %}"
               "{{ m.role + m.content }}</s>{% endif %}"),
          record, "userq</s>[[f{\"k\": \"v\"}</s>]]toolx</s>");
    gives(EACH("{% for c in m.tool_calls %}{% if c.id | length != 9 %}"
               "{{ raise_exception('no id') }}{% endif %}{{ c.id }}"
               "{{ c.function | tojson }}{% endfor %}"
               "{% if m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}"
               "{{ m.content }}</s>"),
          record,
          "q</s>[[call00000{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}"
          "</s>]]call00000x</s>");
}

static void turns__with_calls_that_are_not_shown(void **state)
{
    ql_dataset *ds = NULL;

    (void)state;
    check_fails(load(&ds,
                     EACH("{{ m.content }}{% for c in m.tool_calls %}"
                          "{% if loop.first %}{{ c.function | tojson }}"
                          "{% endif %}{% endfor %}</s>"),
                     "{'messages': [{'role': 'user', 'content': 'q'},"
                     "{'role': 'assistant', 'tool_calls': ["
                     "{'name': 'f', 'arguments': {}},"
                     "{'name': 'second', 'arguments': {}}]}]}",
                     QL_TRAIN_ON_COMPLETIONS),
                QL_EUNSUPPORTED,
                "talk.jsonl:1: message 2: the chat template does not show the "
                "call of \"second\"");
}

static void turns__with_a_system_that_is_refused(void **state)
{
    (void)state;
    gives(EACH("{% if m.role == 'system' %}{{ raise_exception('no') }}"
               "{% endif %}{{ m.content }}</s>"),
          "{'messages': [{'role': 'system', 'content': 'S'},"
          "{'role': 'user', 'content': 'q'},"
          "{'role': 'assistant', 'content': 'a'},"
          "{'role': 'system', 'content': 'T'},"
          "{'role': 'assistant', 'content': 'b'}]}",
          "S\n\nq</s>[[a</s>]]T</s>[[b</s>]]");
}

/* A role that is left out, one that is shown, and one that has a place but no
 * content. */
static void turns__of_other_roles(void **state)
{
    const char *some = EACH("{% if m.role in ['system', 'user', 'assistant'] "
                            "%}{{ m.role[0] + m.content }}</s>"
                            "{% elif m.role == 'break' %}--{% endif %}");
    const char *all = EACH("{{ m.role[0] + m.content }}</s>");
    const char *none = EACH("{% if m.role in ['user', 'assistant'] %}"
                            "{{ m.content }}</s>{% endif %}");
    const char *kind = "{'messages': [{'role': 'developer', 'content': 'S'},"
                       "{'role': 'user', 'content': 'q'},"
                       "{'role': 'assistant', 'content': 'a'}]}";
    const char *martian = "{'messages': [{'role': 'user', 'content': 'q'},"
                          "{'role': 'martian', 'content': 'm'},"
                          "{'role': 'assistant', 'content': 'a'}]}";
    ql_dataset *ds = NULL;

    (void)state;
    gives(some, kind, "sS</s>uq</s>a[[a</s>]]");
    gives(all, kind, "dS</s>uq</s>a[[a</s>]]");
    gives(none, kind, "S\n\nq</s>[[a</s>]]");
    gives(all, martian, "uq</s>mm</s>a[[a</s>]]");
    gives(some,
          "{'messages': [{'role': 'user', 'content': 'q'},"
          "{'role': 'break', 'content': ''},"
          "{'role': 'assistant', 'content': 'a'}]}",
          "uq</s>--a[[a</s>]]");
    check_fails(load(&ds, some, martian, QL_TRAIN_ON_COMPLETIONS),
                QL_EUNSUPPORTED,
                "talk.jsonl:1: the chat template does not show messages of the "
                "role \"martian\"");
}

static void turns__that_the_template_refuses(void **state)
{
    ql_dataset *ds = NULL;

    (void)state;
    check_fails(load(&ds, EACH("{{ raise_exception('I will not') }}"), talk,
                     QL_TRAIN_ON_COMPLETIONS),
                QL_EFORMAT, "talk.jsonl:1: the chat template:1: I will not");
    check_fails(load(&ds, "{% if %}", talk, QL_TRAIN_ON_COMPLETIONS),
                QL_EFORMAT, "the chat template:1: ");
    check_fails(load(&ds, "x", talk, QL_TRAIN_ON_COMPLETIONS), QL_ENOTFOUND,
                "x: there is no file and no chat template");
    check_fails(load(&ds, "{{ 1 }}", talk, QL_TRAIN_ON_COMPLETIONS), QL_EFORMAT,
                "nothing to train on");
    check_fails(load(&ds, EACH("{{ m.role }}") PROMPT("x"), talk,
                     QL_TRAIN_ON_COMPLETIONS),
                QL_EUNSUPPORTED,
                "message 4: the chat template does not show it");
}

/* Random talk, each turn of which says a word of its own. */
static size_t make_talk(char *record, size_t size, uint64_t key)
{
    const size_t n = 1 + ql_rng_below(key, 0, 9);
    size_t at = (size_t)snprintf(record, size, "{'messages': [");

    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(
            record + at, size - at, "%s{'role': '%s', 'content': 'word%zu.'}",
            i > 0 ? ", " : "", i % 2 ? "assistant" : "user", i);
    }
    snprintf(record + at, size - at, "]}");
    return n;
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;

    while ((text = strstr(text, word))) {
        text += strlen(word);
        n++;
    }
    return n;
}

static void put_trained(const char *text, size_t len, bool trained, void *user)
{
    char *out = user;

    if (trained) {
        assert_true(strlen(out) + len < 4096);
        memcpy(out + strlen(out), text, len + 1);
    }
}

/* Every word of the assistant is trained once, and none of the user. */
static void words_are_trained_once(const char *template, uint64_t key)
{
    char record[1024];
    char trained[4096] = "";
    char word[32];
    const size_t n = make_talk(record, sizeof(record), key);
    ql_dataset *ds = NULL;

    if (n == 1) {
        return;
    }
    check_ok(load(&ds, template, record, QL_TRAIN_ON_COMPLETIONS));
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        check_ok(ql_sample_show(tok, ql_dataset_sample(ds, i), put_trained,
                                trained));
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(word, sizeof(word), "word%zu.", i);
        assert_int_equal(count(trained, word), i % 2);
    }
    assert_int_equal(count(trained, "<|e|>") + count(trained, "</s>"), n / 2);
    ql_dataset_close(&ds);
}

static void turns__are_all_trained_once(void **state)
{
    static const char *const templates[] = {
        chatml, forgetful, EACH("{{ m.role }}: {{ m.content }}{{ eos_token }}"),
        EACH("<|u|>{{ m.role }}<|x|>{{ m.content }}<|e|>") "<|u|>assistant<|x|"
                                                           ">"};

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        words_are_trained_once(templates[i % 4], ql_rng_split(check_seed(), i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns__end_with_their_end_token),
        cmocka_unit_test(turns__heed_weights),
        cmocka_unit_test(turns__go_by_place),
        cmocka_unit_test(turns__without_a_prompt),
        cmocka_unit_test(turns__without_special_tokens),
        cmocka_unit_test(turns__where_a_prompt_is_always_there),
        cmocka_unit_test(turns__with_an_end_of_the_conversation),
        cmocka_unit_test(turns__that_change_later_are_split_off),
        cmocka_unit_test(turns__whose_past_changes_are_split_off),
        cmocka_unit_test(thoughts__that_the_prompt_opens_are_learnt),
        cmocka_unit_test(thoughts__are_found),
        cmocka_unit_test(turns__that_the_template_changes_are_counted),
        cmocka_unit_test(turns__where_the_past_cannot_be_written),
        cmocka_unit_test(turns__marked_by_the_template),
        cmocka_unit_test(turns__have_one_bos),
        cmocka_unit_test(turns__with_tools),
        cmocka_unit_test(turns__calls_as_the_template_wants_them),
        cmocka_unit_test(turns__with_calls_that_are_not_shown),
        cmocka_unit_test(turns__with_a_system_that_is_refused),
        cmocka_unit_test(turns__of_other_roles),
        cmocka_unit_test(turns__that_the_template_refuses),
        cmocka_unit_test(turns__are_all_trained_once),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
