/* ql_quantize_model against folders whose codes, scales and quant_state were
 * made by bitsandbytes from the same weights: the files are equal to the
 * byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/quantize.h"
#include "quant/half.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/safetensors.h"
#include "src/model/run.h"
#include "tests/check/check.h"

enum {
    MAX_FILE = 1 << 26,
    PATH_BYTES = 4200
};

static void read_file(const char *dir, const char *name, char **data, size_t *n)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    check_ok(ql_file_read(path, MAX_FILE, data, n));
}

/* Names the first tensor that differs, before the bytes are compared. */
static void check_tensors(const char *got_dir, const char *want_dir)
{
    char path[PATH_BYTES];
    ql_safetensors *got = NULL;
    ql_safetensors *want = NULL;

    snprintf(path, sizeof(path), "%.4000s/model.safetensors", got_dir);
    check_ok(ql_safetensors_open(&got, path));
    snprintf(path, sizeof(path), "%.4000s/model.safetensors", want_dir);
    check_ok(ql_safetensors_open(&want, path));
    for (size_t i = 0; i < ql_safetensors_count(want); i++) {
        const ql_tensor *w = ql_safetensors_at(want, i);
        const ql_tensor *g = ql_safetensors_find(got, w->name);

        if (!g || g->dtype != w->dtype || g->rank != w->rank ||
            memcmp(g->shape, w->shape, w->rank * sizeof(*w->shape)) != 0 ||
            memcmp(g->data, w->data, w->bytes) != 0) {
            fail_msg("%s differs", w->name);
        }
    }
    assert_int_equal(ql_safetensors_count(got), ql_safetensors_count(want));
    ql_safetensors_close(&got);
    ql_safetensors_close(&want);
}

/* The same bytes, but for line breaks at the end. */
static void check_bytes(const char *got_dir, const char *want_dir,
                        const char *name)
{
    char *got;
    char *want;
    size_t n;
    size_t m;

    read_file(got_dir, name, &got, &n);
    read_file(want_dir, name, &want, &m);
    while (n > 0 && got[n - 1] == '\n') {
        n--;
    }
    while (m > 0 && want[m - 1] == '\n') {
        m--;
    }
    assert_int_equal(n, m);
    assert_memory_equal(got, want, n);
    ql_free(got);
    ql_free(want);
}

/* Logits of a few tokens; 16- and 32-bit weights are quantized while loading.
 * Owned: free. */
static float *logits(const char *dir, const ql_model_options *how, size_t *n)
{
    static const int32_t ids[] = {1, 5, 80, 127, 3, 3, 64};
    static const size_t start[2] = {0, 7};
    static const size_t rows[] = {0, 1, 2, 3, 4, 5, 6};
    const ql_batch batch = {.T = 7, .sequences = 1, .start = start, .ids = ids};
    const ql_run_options opt = {
        .max_tokens = 7, .max_length = 7, .max_sequences = 1};
    ql_model *m = NULL;
    ql_run *run = NULL;
    float *out;

    check_ok(ql_model_open(&m, dir, how));
    check_ok(ql_run_open(&run, m, &opt));
    *n = 7 * m->config.V;
    out = malloc(*n * sizeof(float));
    ql_run_logits(run, &batch, rows, 7, out);
    ql_run_close(&run);
    ql_model_close(&m);
    return out;
}

static void check_same_logits(const char *a, const char *b, bool nested)
{
    ql_model_options how;
    size_t n;
    size_t m;
    float *x;
    float *y;

    ql_model_options_init(&how);
    how.quant.double_quant = nested;
    x = logits(a, &how, &n);
    y = logits(b, &how, &m);

    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof(float));
    free(x);
    free(y);
}

static void check_pair(const char *model, const char *golden, bool nested)
{
    char out[PATH_BYTES];
    ql_quantize_options opt;

    print_message("%s\n", golden);
    ql_quantize_options_init(&opt);
    opt.quant.double_quant = nested;
    opt.verify = true;
    snprintf(out, sizeof(out), "%.4000s.nf4", check_tmp_path("out"));
    opt.force = true;
    check_ok(ql_quantize_model(model, out, &opt, NULL));
    check_tensors(out, golden);
    check_bytes(out, golden, "model.safetensors");
    check_bytes(out, golden, "config.json");
    check_same_logits(out, golden, nested);
    check_same_logits(model, golden, nested);
}

static void f32_model__becomes_what_bitsandbytes_makes(void **state)
{
    (void)state;
    check_pair(check_shared("golden/models/llama2"),
               check_shared("golden/qlora/llama2_nf4_nodq_f32"), false);
}

static void f32_model__becomes_it_with_double_quantization(void **state)
{
    (void)state;
    check_pair(check_shared("golden/models/llama3_gqa_tied_rope31"),
               check_shared("golden/qlora/llama3_nf4_dq_f32"), true);
}

/* Announces (data false) or writes every tensor of in as BF16. */
static void copy_bf16(const ql_safetensors *in, ql_safetensors_writer *w,
                      bool data)
{
    for (size_t i = 0; i < ql_safetensors_count(in); i++) {
        const ql_tensor *t = ql_safetensors_at(in, i);
        float *x = malloc(t->elements * sizeof(float));
        uint16_t *y = malloc(t->elements * sizeof(uint16_t));

        check_ok(ql_tensor_to_f32(x, t));
        for (size_t k = 0; k < t->elements; k++) {
            y[k] = ql_f32_to_bf16(x[k]);
        }
        if (data) {
            check_ok(ql_safetensors_writer_put(w, t->name, y));
        } else {
            check_ok(ql_safetensors_writer_add(w, t->name, QL_DTYPE_BF16,
                                               t->shape, t->rank));
        }
        free(x);
        free(y);
    }
}

/* The folder's weights rounded to BF16, with this torch_dtype. */
static void make_bf16(const char *from, const char *to)
{
    char path[PATH_BYTES];
    ql_safetensors *in = NULL;
    ql_safetensors_writer *w = NULL;
    json_t *config = NULL;

    check_ok(ql_dir_make(to));
    snprintf(path, sizeof(path), "%.4000s/model.safetensors", from);
    check_ok(ql_safetensors_open(&in, path));
    snprintf(path, sizeof(path), "%.4000s/model.safetensors", to);
    check_ok(ql_safetensors_writer_open(&w, path));
    copy_bf16(in, w, false);
    check_ok(ql_safetensors_writer_begin(w));
    copy_bf16(in, w, true);
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
    ql_safetensors_close(&in);
    snprintf(path, sizeof(path), "%.4000s/config.json", from);
    check_ok(ql_json_load(&config, path, MAX_FILE));
    json_object_set_new(config, "torch_dtype", json_string("bfloat16"));
    snprintf(path, sizeof(path), "%.4000s/config.json", to);
    check_ok(ql_json_save(config, true, path));
    json_decref(config);
}

static void bf16_model__becomes_what_bitsandbytes_makes(void **state)
{
    char base[PATH_BYTES];

    (void)state;
    snprintf(base, sizeof(base), "%.4000s", check_tmp_path("qwen2"));
    make_bf16(check_shared("golden/models/qwen2"), base);
    check_pair(base, check_shared("golden/qlora/qwen2_nf4_dq_bf16"), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_model__becomes_what_bitsandbytes_makes),
        cmocka_unit_test(f32_model__becomes_it_with_double_quantization),
        cmocka_unit_test(bf16_model__becomes_what_bitsandbytes_makes),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
