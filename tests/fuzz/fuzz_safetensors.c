/* Any bytes at all: opened, or refused with a sentence. What is opened must
 * lie inside the input, be found by name, and be written again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void visit(const ql_safetensors *st, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < ql_safetensors_count(st); i++) {
        const ql_tensor *t = ql_safetensors_at(st, i);
        float *out;

        FUZZ_CHECK(ql_safetensors_find(st, t->name) == t);
        FUZZ_CHECK(t->data >= data && t->bytes <= size);
        FUZZ_CHECK(t->data + t->bytes <= data + size);
        FUZZ_CHECK(t->elements <= 8 * size);
        out = malloc((t->elements + 1) * sizeof(*out));
        FUZZ_CHECK(out);
        FUZZ_CHECK(ql_tensor_to_f32(out, t) == QL_OK || *ql_last_error());
        free(out);
        ql_safetensors_drop(st, t);
    }
    ql_safetensors_metadata(st, "format");
    ql_safetensors_find(st, "");
}

static void open_bytes(const uint8_t *data, size_t size)
{
    ql_safetensors *st = NULL;

    if (ql_safetensors_open_memory(&st, data, size, "input") == QL_OK) {
        visit(st, data, size);
    } else {
        FUZZ_CHECK(!st);
        FUZZ_CHECK(strstr(ql_last_error(), "input: ") == ql_last_error());
    }
    ql_safetensors_close(&st);
}

/* The input once as it is, and once with a header length that ends at its
 * last brace, so that a change of length does not hide the header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    uint64_t end = size;

    open_bytes(data, size);
    while (end > 8 && data[end - 1] != '}') {
        end--;
    }
    if (end <= 8) {
        return 0;
    }
    copy = malloc(size);
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    end -= 8;
    memcpy(copy, &end, 8);
    open_bytes(copy, size);
    free(copy);
    return 0;
}
