/* Any bytes as a chat template: refused with a place, or a text that is UTF-8
 * and whose parts inside {% generation %} lie in it, in order. */
#include <string.h>

#include "qlora/status.h"
#include "src/base/json.h"
#include "src/base/utf8_check.h"
#include "src/text/chat.h"
#include "tests/fuzz/fuzz.h"

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be brief.\\n\"}, "
    "{\"role\": \"user\", \"content\": \"Hi <é😀>\"}, {\"role\": "
    "\"assistant\", \"content\": null, \"tool_calls\": [{\"function\": "
    "{\"name\": \"f\", \"arguments\": {\"x\": 1.5}}}]}], \"tools\": "
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]}";

static const json_t *input(const char *key)
{
    static json_t *root;

    if (!root) {
        FUZZ_CHECK(ql_json_parse(&root, conversation, sizeof(conversation) - 1,
                                 "conversation") == QL_OK);
    }
    return json_object_get(root, key);
}

static void use(const ql_chat_template *t)
{
    const struct tm now = {.tm_year = 124, .tm_mday = 1};
    const ql_chat_input in = {.messages = input("messages"),
                              .tools = input("tools"),
                              .add_generation_prompt = true,
                              .now = &now};
    const ql_chat_span *span;
    size_t at = 0;
    ql_buf text;
    ql_buf spans;

    ql_buf_init(&text, QL_TAG_TEXT, (size_t)1 << 27);
    ql_buf_init(&spans, QL_TAG_TEXT, (size_t)1 << 27);
    if (ql_chat_render(t, &in, &text, &spans) == QL_OK) {
        FUZZ_CHECK(ql_utf8_valid(text.data, text.len));
        span = (const void *)spans.data;
        for (size_t i = 0; i < spans.len / sizeof(*span); i++) {
            FUZZ_CHECK(span[i].from <= span[i].to && span[i].to <= text.len);
            FUZZ_CHECK(at <= span[i].to);
            at = span[i].to;
        }
    } else {
        FUZZ_CHECK(strncmp(ql_last_error(), "t:", 2) == 0);
        FUZZ_CHECK(text.len == 0 && spans.len == 0);
    }
    ql_buf_free(&text);
    ql_buf_free(&spans);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_chat_template *t = NULL;

    if (ql_chat_template_open(&t, (const char *)data, size, "t") == QL_OK) {
        use(t);
    } else {
        FUZZ_CHECK(!t && strncmp(ql_last_error(), "t:", 2) == 0);
    }
    ql_chat_template_close(&t);
    return 0;
}
