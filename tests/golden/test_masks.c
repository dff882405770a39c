/* What is trained of a conversation, by the chat templates of real models. The
 * trained parts were marked by hand; the text around them is that of the
 * reference. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/lines.h"
#include "src/data/dataset_handle.h"
#include "src/text/chat_file.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

static const char *const specials[] = {"<s>",
                                       "</s>",
                                       "<|im_start|>",
                                       "<|im_end|>",
                                       "<start_of_turn>",
                                       "<end_of_turn>",
                                       "<|start_header_id|>",
                                       "<|end_header_id|>",
                                       "<|eot_id|>",
                                       "<|eom_id|>",
                                       "<｜User｜>",
                                       "<｜Assistant｜>",
                                       "<｜tool▁call▁end｜>",
                                       "<｜tool▁calls▁end｜>",
                                       "<｜end▁of▁sentence｜>",
                                       "<|START_OF_TURN_TOKEN|>",
                                       "<|END_OF_TURN_TOKEN|>",
                                       "<|CHATBOT_TOKEN|>",
                                       "<|START_RESPONSE|>",
                                       "<|END_RESPONSE|>",
                                       "<|END_ACTION|>",
                                       "<|user|>",
                                       "<|assistant|>",
                                       "<|end|>",
                                       NULL};

static ql_tokenizer *tok;

/* Two rounds, the second with a thought. */
static const char thought[] =
    "{'messages': [{'role': 'user', 'content': 'Q1'},"
    "{'role': 'assistant', 'content': 'A1'},"
    "{'role': 'user', 'content': 'Q2'},"
    "{'role': 'assistant', 'content': '<think>\\nT\\n</think>\\n\\nA2'}]}";

/* A system turn, and a question that is not answered. */
static const char open_end[] =
    "{'messages': [{'role': 'system', 'content': 'S'},"
    "{'role': 'user', 'content': 'Q1'},"
    "{'role': 'assistant', 'content': 'A1'},"
    "{'role': 'user', 'content': 'Q2'},"
    "{'role': 'assistant', 'content': 'A2'},"
    "{'role': 'user', 'content': 'Q3'}]}";

/* A call of a tool. */
static const char call[] =
    "{'tools': [{'name': 'f', 'description': 'd', 'parameters': {'type': "
    "'object', 'properties': {'k': {'type': 'string', 'description': 'x'}}}}],"
    "'messages': [{'role': 'user', 'content': 'Q1'},"
    "{'role': 'assistant', 'tool_calls': [{'function': {'name': 'f', "
    "'arguments': '{\\'k\\': \\'v\\'}'}}]}, {'role': 'tool', 'content': 'R'},"
    "{'role': 'assistant', 'content': 'A1'}]}";

/* The trained parts, with | between them and # between samples; NULL where the
 * template refuses. */
static const struct {
    const char *name; /* a file, or a folder with a tokenizer */
    const char *thought, *open_end, *call;
} models[] = {
    {"qwen3",
     "<think>\n\n</think>\n\nA1<|im_end|>#"
     "<think>\nT\n</think>\n\nA2<|im_end|>",
     "<think>\n\n</think>\n\nA1<|im_end|>#"
     "<think>\n\n</think>\n\nA2<|im_end|>",
     "<think>\n\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
     "{\"k\": \"v\"}}\n</tool_call><|im_end|>#"
     "<think>\n\n</think>\n\nA1<|im_end|>"},
    {"gemma3", "A1<end_of_turn>|<think>\nT\n</think>\n\nA2<end_of_turn>",
     "A1<end_of_turn>|A2<end_of_turn>",
     "{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}<end_of_turn>|"
     "A1<end_of_turn>"},
    {"google-gemma-2-2b-it.jinja",
     "A1<end_of_turn>|<think>\nT\n</think>\n\nA2<end_of_turn>",
     "A1<end_of_turn>|A2<end_of_turn>",
     "{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}<end_of_turn>|"
     "A1<end_of_turn>"},
    {"llama3-instruct", "A1<|eot_id|>|<think>\nT\n</think>\n\nA2<|eot_id|>",
     "A1<|eot_id|>|A2<|eot_id|>",
     "{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}<|eot_id|>|"
     "A1<|eot_id|>"},
    {"meta-llama-Llama-3.1-8B-Instruct.jinja",
     "A1<|eot_id|>|<think>\nT\n</think>\n\nA2<|eot_id|>",
     "A1<|eot_id|>|A2<|eot_id|>",
     "{\"name\": \"f\", \"parameters\": {\"k\": \"v\"}}<|eot_id|>|"
     "A1<|eot_id|>"},
    {"meta-llama-Llama-3.2-3B-Instruct.jinja",
     "A1<|eot_id|>|<think>\nT\n</think>\n\nA2<|eot_id|>",
     "A1<|eot_id|>|A2<|eot_id|>",
     "{\"name\": \"f\", \"parameters\": {\"k\": \"v\"}}<|eot_id|>|"
     "A1<|eot_id|>"},
    {"microsoft-Phi-3.5-mini-instruct.jinja",
     "A1<|end|>|<think>\nT\n</think>\n\nA2<|end|>\n</s>", "A1<|end|>|A2<|end|>",
     "{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}<|end|>|"
     "A1<|end|>\n</s>"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja",
     "\n</think>\n\nA1<｜end▁of▁sentence｜>#"
     "T\n</think>\n\nA2<｜end▁of▁sentence｜>",
     "\n</think>\n\nA1<｜end▁of▁sentence｜>#"
     "\n</think>\n\nA2<｜end▁of▁sentence｜>",
     "\n</"
     "think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<"
     "｜tool▁sep｜>f\n```"
     "json\n"
     "{\"k\": \"v\"}\n```<｜tool▁call▁end｜>#A1<｜end▁of▁sentence｜>"},
    {"llama-cpp-deepseek-r1.jinja",
     "\n</think>\n\nA1<｜end▁of▁sentence｜>#"
     "T\n</think>\n\nA2<｜end▁of▁sentence｜>",
     "\n</think>\n\nA1<｜end▁of▁sentence｜>#"
     "\n</think>\n\nA2<｜end▁of▁sentence｜>",
     "\n</think>\n\n{\"name\": \"f\", \"arguments\": {\"k\": "
     "\"v\"}}<｜end▁of▁sentence｜>#"
     "\n</think>\n\nA1<｜end▁of▁sentence｜>"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja",
     "<|START_RESPONSE|>A1<|END_RESPONSE|><|END_OF_TURN_TOKEN|>|"
     "<|START_RESPONSE|><think>\nT\n</think>\n\nA2<|END_RESPONSE|>"
     "<|END_OF_TURN_TOKEN|>",
     "<|START_RESPONSE|>A1<|END_RESPONSE|><|END_OF_TURN_TOKEN|>|"
     "<|START_RESPONSE|>A2<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
     "<|START_THINKING|><|END_THINKING|><|START_ACTION|>[\n    "
     "{\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": "
     "{\"k\": \"v\"}}\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>|"
     "<|START_RESPONSE|>A1<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"},
    {"meetkai-functionary-medium-v3.1.jinja",
     "A1<|eot_id|>|<think>\nT\n</think>\n\nA2<|eot_id|>",
     "A1<|eot_id|>|A2<|eot_id|>",
     "<function=f>{\"k\": \"v\"}</function><|eom_id|>|A1<|eot_id|>"},
    {"meetkai-functionary-medium-v3.2.jinja",
     "all\nA1<|eot_id|>|all\n<think>\nT\n</think>\n\nA2<|eot_id|>",
     "all\nA1<|eot_id|>|all\nA2<|eot_id|>",
     "f\n{\"k\": \"v\"}<|eot_id|>|all\nA1<|eot_id|>"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", NULL, NULL,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}\n"
     "</tool_call><|im_end|>|A1<|im_end|>"},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", NULL, NULL,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"k\": \"v\"}}\n"
     "</tool_call><|im_end|>|A1<|im_end|>"},
    {"fireworks-ai-llama-3-firefunction-v2.jinja", NULL, NULL, NULL},
};

/* The template of a model. Owned: ql_free. */
static char *template_of(const char *name)
{
    char path[512];
    ql_chat_source s;
    size_t len;
    char *text;

    if (strstr(name, ".jinja")) {
        snprintf(path, sizeof(path), "tokenizers/chat_templates/%s", name);
        check_ok(ql_file_read(check_shared(path), 1 << 20, &text, &len));
        return text;
    }
    snprintf(path, sizeof(path), "tokenizers/%s", name);
    check_ok(ql_chat_source_find(&s, check_shared(path), NULL, false));
    text = s.text;
    s.text = NULL;
    ql_chat_source_free(&s);
    return text;
}

static ql_status load(ql_dataset **ds, const char *template,
                      const json_t *record)
{
    const char *path = check_tmp_path("toy/talk.jsonl");
    char *text = json_dumps(record, 0);
    ql_dataset_options opt;

    toy_text_file("toy/talk.jsonl", text);
    free(text);
    ql_dataset_options_init(&opt);
    opt.chat_template = template;
    opt.date = json_string_value(json_object_get(record, "strftime_now"));
    opt.max_length = 1 << 20;
    return ql_dataset_open(ds, &path, 1, tok, &opt);
}

static void put_trained(const char *text, size_t len, bool trained, void *user)
{
    char *out = user;

    if (trained) {
        assert_true(strlen(out) + len + 1 < 4096);
        if (*out && out[strlen(out) - 1] != '#') {
            out[strlen(out) + 1] = '\0';
            out[strlen(out)] = '|';
        }
        memcpy(out + strlen(out), text, len + 1);
    }
}

static void trains(const char *template, const char *record, const char *want)
{
    json_t *o = toy_text_json(record);
    ql_dataset *ds = NULL;
    char got[4096] = "";

    if (!want) {
        check_fails(load(&ds, template, o), QL_EFORMAT, "talk.jsonl:1: ");
    } else {
        check_ok(load(&ds, template, o));
        for (size_t i = 0; i < ql_dataset_size(ds); i++) {
            if (i > 0) {
                memcpy(got + strlen(got), "#", 2);
            }
            check_ok(ql_sample_show(tok, ql_dataset_sample(ds, i), put_trained,
                                    got));
        }
        assert_string_equal(got, want);
        ql_dataset_close(&ds);
    }
    json_decref(o);
}

static void masks__of_real_templates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++) {
        char *template = template_of(models[i].name);

        trains(template, thought, models[i].thought);
        trains(template, open_end, models[i].open_end);
        trains(template, call, models[i].call);
        ql_free(template);
    }
}

static void put_text(const char *text, size_t len, bool trained, void *user)
{
    (void)trained;
    check_ok(ql_buf_append(user, text, len));
}

/* Takes out the thought that the template's prompt opens, of which it knows
 * nothing in turns. Returns whether there was one. */
static bool drop_thought(ql_buf *text)
{
    static const char none[] = "<think>\n\n</think>\n\n";
    const size_t n = sizeof(none) - 1;
    char *at = strstr(text->data, none);

    if (at) {
        text->len -= n;
        memmove(at, at + n, text->len + 1 - (size_t)(at - text->data));
    }
    return at != NULL;
}

/* The text of the last sample is what the reference renders, whatever is
 * trained of it. Returns false where there is nothing to compare: no turn is
 * trained, or the reference cannot show what the record has, which we write as
 * text. */
static bool is_rendered(const json_t *o, const char *template)
{
    const char *want = json_string_value(json_object_get(o, "rendered"));
    json_t *messages = json_object_get(o, "messages");
    const json_t *last =
        json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    ql_dataset *ds = NULL;
    ql_buf text;
    size_t n;

    if (!want || !role || strcmp(role, "assistant") != 0) {
        return false;
    }
    check_ok(load(&ds, template, o));
    n = ql_dataset_size(ds);
    ql_buf_init(&text, QL_TAG_MISC, 1 << 20);
    check_ok(
        ql_sample_show(tok, ql_dataset_sample(ds, n - 1), put_text, &text));
    assert_true(drop_thought(&text) || n == 1);
    assert_string_equal(text.data, want);
    ql_buf_free(&text);
    ql_dataset_close(&ds);
    return true;
}

/* True for a template of which every case is compared: it shows tools
 * itself. */
static bool is_compared(const char *name, bool tools)
{
    return !tools || strstr(name, "Cohere") || strstr(name, "Hermes") ||
           strstr(name, "Llama-3") || strstr(name, "medium-v3.1");
}

static void masks__leave_the_text_as_it_is(void **state)
{
    size_t compared = 0;
    ql_lines lines;
    bool more;

    (void)state;
    check_ok(ql_lines_init(
        &lines, check_shared("tokenizers/golden/chat_templates.jsonl"),
        1 << 24));
    for (;;) {
        const char *name;
        char *template;
        json_t *o;

        check_ok(ql_lines_next(&lines, &more));
        if (!more) {
            break;
        }
        check_ok(ql_json_parse(&o, lines.line.data, lines.line.len, "golden"));
        name = json_string_value(json_object_get(o, "template"));
        if (is_compared(name, json_is_array(json_object_get(o, "tools"))) &&
            json_is_false(json_object_get(o, "add_generation_prompt"))) {
            template = template_of(name);
            compared += is_rendered(o, template);
            ql_free(template);
        }
        json_decref(o);
    }
    ql_lines_free(&lines);
    assert_int_equal(compared, 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks__of_real_templates),
        cmocka_unit_test(masks__leave_the_text_as_it_is),
    };
    int failed;

    check_need_shared();
    toy_text_file("toy/tokenizer_config.json",
                  "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    if (toy_text_open_bytes(&tok, specials) != QL_OK) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_tokenizer_close(&tok);
    return failed;
}
