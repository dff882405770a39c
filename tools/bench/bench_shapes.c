#include "tools/bench/bench_shapes.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"

static const bench_shape shapes[] = {
    {.name = "tiny",
     .model_type = "llama",
     .layers = 2,
     .C = 64,
     .F = 176,
     .H = 4,
     .KV = 2,
     .V = 256},
    {.name = "220m",
     .model_type = "llama",
     .layers = 12,
     .C = 1024,
     .F = 2816,
     .H = 16,
     .KV = 16,
     .V = 32000},
    {.name = "qwen2.5-0.5b",
     .model_type = "qwen2",
     .layers = 24,
     .C = 896,
     .F = 4864,
     .H = 14,
     .KV = 2,
     .V = 151936,
     .tied = true},
    {.name = "tinyllama",
     .model_type = "llama",
     .layers = 22,
     .C = 2048,
     .F = 5632,
     .H = 32,
     .KV = 4,
     .V = 32000},
    {.name = "llama-7b",
     .model_type = "llama",
     .layers = 32,
     .C = 4096,
     .F = 11008,
     .H = 32,
     .KV = 32,
     .V = 32000},
};

enum {
    SHAPES = sizeof(shapes) / sizeof(shapes[0])
};

ql_status bench_shape_find(const bench_shape **out, const char *name)
{
    char list[160];
    size_t used = 0;

    for (size_t i = 0; i < SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            *out = &shapes[i];
            return QL_OK;
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                 i ? ", " : "", shapes[i].name);
    }
    QL_FAIL(QL_EINVAL, "the shape \"%s\" is unknown; choose one of: %s", name,
            list);
}
