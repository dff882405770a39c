/* Any bytes as tokenizer_config.json: refused with a sentence, or a tokenizer
 * that frames a text with ids of its vocabulary, and a chat template that
 * writes a conversation or says why not. */
#include <stdio.h>
#include <string.h>

#include "qlora/runtime.h"
#include "src/base/utf8_check.h"
#include "src/text/chat_model.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

static const char tokenizer[] =
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"</s>\", \"special\": true, "
    "\"normalized\": false}], \"model\": {\"type\": \"BPE\", \"unk_token\": "
    "\"u\", \"merges\": [], \"vocab\": {\"u\": 0, \"</s>\": 1, \"<s>\": 2, "
    "\"a\": 3, \"b\": 4}}}";

static void use(const ql_tokenizer *tok)
{
    int32_t *ids = NULL;
    size_t n = 0;

    FUZZ_CHECK(ql_tokenizer_encode(tok, "ab", 2, true, &ids, &n) == QL_OK);
    FUZZ_CHECK(n >= 2 && n <= 4);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < 5);
    }
    ql_free(ids);
}

static void write_talk(const ql_chat *chat)
{
    json_t *messages =
        json_pack("[{s:s, s:s}]", "role", "user", "content", "a<b>");
    const ql_chat_input in = {.messages = messages,
                              .add_generation_prompt = true};
    ql_buf text;

    FUZZ_CHECK(messages);
    ql_buf_init(&text, QL_TAG_TEXT, (size_t)1 << 27);
    if (ql_chat_write(chat, in, &text, NULL) == QL_OK) {
        FUZZ_CHECK(ql_utf8_valid(text.data, text.len));
    } else {
        FUZZ_CHECK(*ql_last_error());
    }
    ql_buf_free(&text);
    json_decref(messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *dir = fuzz_folder_write("tokenizer_config.json", data, size);
    ql_tokenizer *tok = NULL;
    ql_chat chat = {0};

    fuzz_folder_write("tokenizer.json", tokenizer, sizeof(tokenizer) - 1);
    if (ql_tokenizer_open(&tok, dir) != QL_OK) {
        FUZZ_CHECK(!tok && *ql_last_error());
        return 0;
    }
    use(tok);
    if (ql_chat_open(&chat, tok, NULL, NULL) == QL_OK) {
        write_talk(&chat);
    } else {
        FUZZ_CHECK(*ql_last_error());
    }
    ql_chat_close(&chat);
    ql_tokenizer_close(&tok);
    return 0;
}
