/* The codec against bitsandbytes, bit for bit, over every case of the golden
 * data: packed codes, scales, double quantization, dequantized values.
 *
 * Where two backends of the reference differ (zero blocks, zeros in FP4, a map
 * of equal scales), the file's main entries, those of its portable backend,
 * are the rule for writers. There is no exception. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/dquant.h"
#include "quant/half.h"
#include "quant/kernels.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

enum {
    NAME_BYTES = 128
};

/* One case "NAME.BOOK.bBLOCK.DTYPE". */
typedef struct one_case {
    char key[NAME_BYTES];
    const ql_tensor *input;
    ql_codebook_id book;
    size_t block, n, blocks;
    float *x;
    uint8_t *packed;
    float *absmax;
} one_case;

static ql_safetensors *file;
static size_t mean_differs;

static const ql_tensor *part(const one_case *c, const char *name)
{
    char full[NAME_BYTES + 64];

    snprintf(full, sizeof(full), "%s.%s", c->key, name);
    return ql_safetensors_find(file, full);
}

static const ql_tensor *need_part(const one_case *c, const char *name)
{
    const ql_tensor *t = part(c, name);

    if (!t) {
        fail_msg("%s has no %s", c->key, name);
    }
    return t;
}

static bool open_case(one_case *c, const ql_tensor *t)
{
    const char *end = strstr(t->name, ".input");
    const char *block;

    if (!end || end[6] != '\0') {
        return false;
    }
    *c = (one_case){.input = t, .n = t->elements};
    snprintf(c->key, sizeof(c->key), "%.*s", (int)(end - t->name), t->name);
    c->book = strstr(c->key, ".fp4.") ? QL_CODEBOOK_FP4 : QL_CODEBOOK_NF4;
    block = strstr(c->key, "4.b") + 3;
    c->block = strtoul(block, NULL, 10);
    c->blocks = ql_codec_blocks(c->n, c->block);
    c->x = malloc(c->n * sizeof(float));
    c->packed = malloc(ql_codec_packed_bytes(c->n));
    c->absmax = malloc(c->blocks * sizeof(float));
    check_ok(ql_tensor_to_f32(c->x, t));
    return true;
}

static void close_case(one_case *c)
{
    free(c->x);
    free(c->packed);
    free(c->absmax);
}

static void check_bytes(const one_case *c, const char *name, const void *got,
                        size_t n)
{
    const ql_tensor *want = need_part(c, name);

    assert_int_equal(want->bytes, n);
    for (size_t i = 0; i < n; i++) {
        const unsigned char g = ((const unsigned char *)got)[i];

        if (g != want->data[i]) {
            fail_msg("%s.%s: byte %zu of %zu is %02x instead of %02x", c->key,
                     name, i, n, g, want->data[i]);
        }
    }
}

/* A view of the case's own 4-bit form. */
static ql_qtensor view_of(const one_case *c)
{
    ql_qtensor w = {.rows = 1,
                    .cols = c->n,
                    .storage = QL_STORAGE_4BIT,
                    .data = c->packed,
                    .block = c->block,
                    .absmax = c->absmax};

    memcpy(w.code, ql_codebooks[c->book], sizeof(w.code));
    w.round = c->input->dtype == QL_DTYPE_BF16  ? QL_ROUND_BF16
              : c->input->dtype == QL_DTYPE_F16 ? QL_ROUND_F16
                                                : QL_ROUND_NONE;
    return w;
}

/* Dequantized by every set, compared in the input's own type. */
static void check_values(const one_case *c, const ql_qtensor *w,
                         const char *name)
{
    const ql_tensor *want = need_part(c, name);
    float *got = malloc(c->n * sizeof(float));
    float *ref = malloc(c->n * sizeof(float));
    size_t sets;
    const ql_kernels *const *list = ql_kernels_list(&sets);

    check_ok(ql_tensor_to_f32(ref, want));
    for (size_t s = 0; s < sets; s++) {
        if (!ql_kernels_runnable(list[s])) {
            print_message("SKIP %s: this machine cannot run it\n",
                          list[s]->name);
            continue;
        }
        list[s]->decode(got, w, 0, c->n);
        for (size_t i = 0; i < c->n; i++) {
            /* -0.0 and 0.0 are one value: FP4 has two codes for it */
            if (!(got[i] == ref[i])) {
                fail_msg("%s.%s: element %zu is %.9g instead of %.9g (%s)",
                         c->key, name, i, (double)got[i], (double)ref[i],
                         list[s]->name);
            }
        }
    }
    free(got);
    free(ref);
}

static float stored_float(const ql_tensor *t)
{
    float x;

    memcpy(&x, t->data, sizeof(x));
    return x;
}

/* Double quantization: our own from our scales, then the stored one read. */
static void check_nested(const one_case *c)
{
    const ql_tensor *outer = need_part(c, "nested.nested_absmax");
    const ql_tensor *codes = need_part(c, "nested.absmax_u8");
    ql_qtensor w = view_of(c);
    uint8_t *q = malloc(c->blocks);
    float *mine = malloc(outer->bytes);
    float *theirs = malloc(outer->bytes);
    const float want_offset = stored_float(need_part(c, "nested.offset"));
    float offset;

    ql_dquantize(c->absmax, c->blocks, q, mine, &offset);
    if (memcmp(&offset, &want_offset, 4) != 0) {
        mean_differs++;
        print_message("%s: the mean is %.9g, the reference's %.9g\n", c->key,
                      (double)offset, (double)want_offset);
    } else {
        check_bytes(c, "nested.absmax_u8", q, c->blocks);
        check_bytes(c, "nested.nested_absmax", mine, outer->bytes);
    }
    memcpy(theirs, outer->data, outer->bytes);
    w.absmax = NULL;
    w.absmax_u8 = codes->data;
    w.nested_absmax = theirs;
    w.nested_code = ql_dynamic_map;
    w.nested_block = QL_NESTED_BLOCK;
    w.offset = want_offset;
    check_values(c, &w, "nested.dequant");
    free(q);
    free(mine);
    free(theirs);
}

static void bnb__codec_is_bit_exact(void **state)
{
    size_t cases = 0;

    (void)state;
    for (size_t i = 0; i < ql_safetensors_count(file); i++) {
        one_case c;
        ql_qtensor w;

        if (!open_case(&c, ql_safetensors_at(file, i))) {
            continue;
        }
        ql_quantize_4bit(c.x, c.n, c.block, c.book, c.packed, c.absmax);
        check_bytes(&c, "packed", c.packed, ql_codec_packed_bytes(c.n));
        check_bytes(&c, "absmax", c.absmax, c.blocks * sizeof(float));
        w = view_of(&c);
        check_values(&c, &w, "dequant");
        if (part(&c, "nested.offset")) {
            check_nested(&c);
        }
        close_case(&c);
        cases++;
    }
    print_message("%zu cases\n", cases);
    assert_true(cases >= 24);
    assert_int_equal(mean_differs, 0);
}

static void check_table(const ql_safetensors *books, const char *name,
                        const float *table, size_t n)
{
    const ql_tensor *t = ql_safetensors_find(books, name);

    assert_non_null(t);
    assert_int_equal(t->bytes, n * sizeof(float));
    assert_memory_equal(t->data, table, t->bytes);
}

static void bnb__tables_are_bit_exact(void **state)
{
    ql_safetensors *books = NULL;

    (void)state;
    check_ok(ql_safetensors_open(
        &books, check_shared("golden/bnb/codebooks.safetensors")));
    check_table(books, "nf4", ql_codebooks[QL_CODEBOOK_NF4], 16);
    check_table(books, "fp4", ql_codebooks[QL_CODEBOOK_FP4], 16);
    check_table(books, "dynamic_signed", ql_dynamic_map, 256);
    check_table(books, "dynamic_unsigned", ql_dynamic_map_unsigned, 256);
    ql_safetensors_close(&books);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bnb__tables_are_bit_exact),
        cmocka_unit_test(bnb__codec_is_bit_exact),
    };
    int failed;

    check_need_shared();
    check_ok(ql_safetensors_open(&file,
                                 check_shared("golden/bnb/quant.safetensors")));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_safetensors_close(&file);
    return failed;
}
