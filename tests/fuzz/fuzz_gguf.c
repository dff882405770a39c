/* Any bytes as GGUF: opened, or refused with a sentence. What is opened lies
 * inside the input. */
#include <string.h>

#include "src/format/gguf.h"
#include "tests/fuzz/fuzz.h"

static void inside(const unsigned char *p, size_t n, const uint8_t *data,
                   size_t size)
{
    FUZZ_CHECK(p >= data && n <= size && p + n <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_gguf *g = NULL;

    if (ql_gguf_open_memory(&g, data, size, "input") != QL_OK) {
        FUZZ_CHECK(!g);
        FUZZ_CHECK(strstr(ql_last_error(), "input: ") == ql_last_error());
        return 0;
    }
    for (size_t i = 0; i < ql_gguf_values(g); i++) {
        const ql_gguf_value *v = ql_gguf_value_at(g, i);

        inside(v->data, v->bytes, data, size);
        FUZZ_CHECK(ql_gguf_find(g, v->key) == v);
    }
    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);

        inside(t->data, t->bytes, data, size);
    }
    ql_gguf_close(&g);
    return 0;
}
