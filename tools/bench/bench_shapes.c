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
    {.name = "qwen2.5-1.5b",
     .model_type = "qwen2",
     .layers = 28,
     .C = 1536,
     .F = 8960,
     .H = 12,
     .KV = 2,
     .V = 151936,
     .tied = true},
    {.name = "qwen2.5-3b",
     .model_type = "qwen2",
     .layers = 36,
     .C = 2048,
     .F = 11008,
     .H = 16,
     .KV = 2,
     .V = 151936,
     .tied = true},
    {.name = "qwen2.5-7b",
     .model_type = "qwen2",
     .layers = 28,
     .C = 3584,
     .F = 18944,
     .H = 28,
     .KV = 4,
     .V = 152064},
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
    {.name = "llama-13b",
     .model_type = "llama",
     .layers = 40,
     .C = 5120,
     .F = 13824,
     .H = 40,
     .KV = 40,
     .V = 32000},
    {.name = "llama-33b",
     .model_type = "llama",
     .layers = 60,
     .C = 6656,
     .F = 17920,
     .H = 52,
     .KV = 52,
     .V = 32000},
    {.name = "llama-70b",
     .model_type = "llama",
     .layers = 80,
     .C = 8192,
     .F = 28672,
     .H = 64,
     .KV = 8,
     .V = 32000},
};

enum {
    SHAPES = sizeof(shapes) / sizeof(shapes[0])
};

ql_status bench_shape_find(const bench_shape **out, const char *name)
{
    const char family[] = "llama-";
    char list[320];
    size_t used = 0;

    for (size_t i = 0; i < SHAPES; i++) {
        const char *own = shapes[i].name;
        const bool llama = strncmp(own, family, sizeof(family) - 1) == 0;

        if (strcmp(own, name) == 0 ||
            (llama && strcmp(own + sizeof(family) - 1, name) == 0)) {
            *out = &shapes[i];
            return QL_OK;
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                 i ? ", " : "", shapes[i].name);
    }
    QL_FAIL(QL_EINVAL, "the shape \"%s\" is unknown; choose one of: %s", name,
            list);
}

ql_status bench_shape_as(bench_shape *out, const bench_shape *shape,
                         const char *family)
{
    const ql_arch *arch = ql_arch_find(family ? family : shape->model_type);

    if (!arch || arch->classifier) {
        QL_FAIL(QL_EINVAL,
                "the family \"%s\" is none that writes text; known are: %s",
                family, ql_arch_writers());
    }
    *out = *shape;
    out->model_type = arch->model_type;
    if (!arch->names->module[QL_MODULE_GATE] && !arch->fused_gate) {
        const size_t narrower = shape->H - shape->KV; /* of keys, and values */

        out->KV = shape->H;
        out->F = (3 * shape->F - 2 * narrower * (shape->C / shape->H)) / 2;
    }
    return QL_OK;
}

size_t bench_product_parameters(const ql_config *c)
{
    size_t layer = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        size_t out;
        size_t in;

        ql_config_module(c, (ql_module)m, &out, &in);
        layer += out * in;
    }
    return c->layers * layer + c->V * c->C;
}
