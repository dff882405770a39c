/* Quantizing streams: a folder of 600 MB in two shards, whose largest tensor
 * has 29 MB, is quantized by a process that never holds more than 200 MiB and
 * twice that tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qlora/quantize.h"
#include "src/base/buf.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

enum {
    C = 2048,
    F = 7168, /* F x C in BF16 is the largest tensor */
    LAYERS = 6,
    SHARDS = 2,
    PATH_BYTES = 4200,
    MIB = 1 << 20
};

/* An address checker's own memory would be counted too. */
#ifdef __has_feature
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if HAS_FEATURE(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
static const bool inflated = true;
#else
static const bool inflated = false;
#endif

static const uint64_t disk_needed = UINT64_C(4000000000);

static const struct {
    const char *path;
    size_t rows, cols;
} tensors[] = {
    {"self_attn.q_proj", C, C},
    {"self_attn.k_proj", C, C},
    {"self_attn.v_proj", C, C},
    {"self_attn.o_proj", C, C},
    {"mlp.gate_proj", F, C},
    {"mlp.up_proj", F, C},
    {"mlp.down_proj", C, F},
    {"input_layernorm", C, 0},
    {"post_attention_layernorm", C, 0},
};

enum {
    TENSORS = sizeof(tensors) / sizeof(tensors[0])
};

/* BF16 numbers of either sign between 2^-8 and 2. */
static uint16_t *make_numbers(void)
{
    const size_t n = (size_t)F * C;
    uint16_t *x = malloc(n * sizeof(*x));

    for (size_t i = 0; i < n; i += 4) {
        const uint64_t r = ql_rng_split(check_seed(), i);

        for (size_t k = 0; k < 4; k++) {
            const unsigned bits = (unsigned)(r >> 16 * k) & 0xFFFF;

            x[i + k] = (uint16_t)((bits & 0x83FF) | 0x3B80);
        }
    }
    return x;
}

/* Announces (data NULL) or writes what is outside the layers. */
static void write_ends(ql_safetensors_writer *w, const uint16_t *data)
{
    static const char embed[] = "model.embed_tokens.weight";
    static const char norm[] = "model.norm.weight";
    const size_t shape[2] = {30, C};

    if (data) {
        check_ok(ql_safetensors_writer_put(w, embed, data));
        check_ok(ql_safetensors_writer_put(w, norm, data));
    } else {
        check_ok(ql_safetensors_writer_add(w, embed, QL_DTYPE_BF16, shape, 2));
        check_ok(
            ql_safetensors_writer_add(w, norm, QL_DTYPE_BF16, shape + 1, 1));
    }
}

static void write_shard(const char *path, size_t shard, const uint16_t *x)
{
    ql_safetensors_writer *w = NULL;

    check_ok(ql_safetensors_writer_open(&w, path));
    for (int data = 0; data < 2; data++) {
        for (size_t i = 0; i < LAYERS * TENSORS; i++) {
            const size_t t = i % TENSORS;
            const size_t shape[2] = {tensors[t].rows, tensors[t].cols};
            char name[128];

            if (i / TENSORS % SHARDS != shard) {
                continue;
            }
            snprintf(name, sizeof(name), "model.layers.%zu.%s.weight",
                     i / TENSORS, tensors[t].path);
            check_ok(data ? ql_safetensors_writer_put(w, name, x)
                          : ql_safetensors_writer_add(w, name, QL_DTYPE_BF16,
                                                      shape, shape[1] ? 2 : 1));
        }
        if (shard == 0) {
            write_ends(w, data ? x : NULL);
        }
        check_ok(data ? ql_safetensors_writer_commit(w)
                      : ql_safetensors_writer_begin(w));
    }
    ql_safetensors_writer_close(&w);
}

static void write_index(const char *dir)
{
    char path[PATH_BYTES];
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, MIB);
    check_ok(ql_buf_puts(&b, "{\"weight_map\": {"));
    for (size_t i = 0; i < LAYERS * TENSORS; i++) {
        check_ok(ql_buf_printf(&b,
                               "%s\"model.layers.%zu.%s.weight\": "
                               "\"model-0000%zu-of-00002.safetensors\"",
                               i ? ", " : "", i / TENSORS,
                               tensors[i % TENSORS].path,
                               i / TENSORS % SHARDS + 1));
    }
    check_ok(ql_buf_puts(&b, "}}"));
    snprintf(path, sizeof(path), "%.4000s/model.safetensors.index.json", dir);
    check_ok(ql_file_write(path, b.data, b.len));
    ql_buf_free(&b);
}

static void write_model(const char *dir)
{
    static const char config[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 2048, "
        "\"intermediate_size\": 7168, \"num_hidden_layers\": 6, "
        "\"num_attention_heads\": 16, \"vocab_size\": 30, "
        "\"max_position_embeddings\": 64, \"torch_dtype\": \"bfloat16\", "
        "\"tie_word_embeddings\": true}";
    char path[PATH_BYTES];
    uint16_t *x = make_numbers();

    check_ok(ql_dir_make(dir));
    snprintf(path, sizeof(path), "%.4000s/config.json", dir);
    check_ok(ql_file_write(path, config, sizeof(config) - 1));
    for (size_t shard = 0; shard < SHARDS; shard++) {
        snprintf(path, sizeof(path),
                 "%.4000s/model-0000%zu-of-00002.safetensors", dir, shard + 1);
        write_shard(path, shard, x);
    }
    write_index(dir);
    free(x);
}

/* Peak memory of a child that quantizes, in bytes. */
static size_t peak_of_child(const char *program, const char *in,
                            const char *out)
{
    struct rusage use;
    int status = 1;
    const pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        execl(program, program, "--child", in, out, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(wait4(child, &status, 0, &use), child);
    assert_int_equal(status, 0);
    return (size_t)use.ru_maxrss * 1024;
}

static int quantize(const char *in, const char *out)
{
    ql_quantize_options o;

    ql_quantize_options_init(&o);
    o.verify = true;
    if (ql_runtime_open(&check_runtime) != QL_OK ||
        ql_quantize_model(in, out, &o, NULL) != QL_OK) {
        fprintf(stderr, "%s\n", ql_last_error());
        return 1;
    }
    return 0;
}

static const char *self;

static void memory__does_not_grow_with_the_model(void **state)
{
    const size_t limit = (size_t)200 * MIB + (size_t)2 * F * C * 2;
    char in[PATH_BYTES];
    char out[PATH_BYTES];
    size_t peak;

    (void)state;
    snprintf(in, sizeof(in), "%.4000s", check_tmp_path("large"));
    snprintf(out, sizeof(out), "%.4000s", check_tmp_path("small"));
    write_model(in);
    peak = peak_of_child(self, in, out);
    print_message("peak %zu MiB, allowed %zu MiB\n", peak / MIB, limit / MIB);
    assert_true(peak < limit);
    check_ok(ql_dir_remove(in));
    check_ok(ql_dir_remove(out));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory__does_not_grow_with_the_model),
    };

    self = argv[0];
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        return quantize(argv[2], argv[3]);
    }
    if (inflated) {
        printf("SKIP: built with an address checker, which takes memory\n");
        return 77;
    }
    if (ql_disk_need(check_tmp(), disk_needed) != QL_OK) {
        printf("SKIP: %s\n", ql_last_error());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
