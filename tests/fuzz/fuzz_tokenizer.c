/* Any bytes as tokenizer.json: refused, or a tokenizer that gives ids of its
 * own vocabulary for any text, and text for them. */
#include <string.h>

#include "qlora/tokenizer.h"
#include "src/base/alloc.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

static void use(const ql_tokenizer *tok)
{
    static const char text[] = "hi  <s>ab\xC3\xA4\xF0\x9F\x98\x80 h\n1";
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n;
    size_t len;

    if (ql_tokenizer_encode(tok, text, sizeof(text) - 1, true, &ids, &n) !=
        QL_OK) {
        FUZZ_CHECK(*ql_last_error());
        return;
    }
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && (size_t)ids[i] < ql_tokenizer_size(tok));
        FUZZ_CHECK(ql_tokenizer_token(tok, ids[i]));
    }
    if (ql_tokenizer_decode(tok, ids, n, false, &back, &len) == QL_OK) {
        FUZZ_CHECK(strlen(back) <= len);
        ql_free(back);
    }
    ql_free(ids);
}

/* A pair of texts: as many types as ids. */
static void use_pair(const ql_tokenizer *tok)
{
    const char *const texts[] = {"\xC3\xA4 a\xCC\xA3\xCC\x81", "b's 12"};
    const size_t lens[] = {8, 6};
    uint8_t *types = NULL;
    int32_t *ids = NULL;
    size_t n;

    if (ql_tokenizer_encode_pair(tok, texts, lens, true, &ids, &types, &n) !=
        QL_OK) {
        FUZZ_CHECK(!ids && !types && *ql_last_error());
    }
    ql_free(ids);
    ql_free(types);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *dir = fuzz_folder_write("tokenizer.json", data, size);
    ql_tokenizer *tok = NULL;

    if (ql_tokenizer_open(&tok, dir) == QL_OK) {
        use(tok);
        use_pair(tok);
    } else {
        FUZZ_CHECK(!tok && *ql_last_error());
    }
    ql_tokenizer_close(&tok);
    return 0;
}
