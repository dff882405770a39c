/* Decoding in every set that runs here, to the bit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/half.h"
#include "quant/kernels.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/kernel/qcase.h"

/* Runs a check on every set, and names those that cannot run. */
static void each_set(void (*check)(const ql_kernels *set))
{
    size_t n;
    const ql_kernels *const *sets = ql_kernels_list(&n);

    for (size_t i = 0; i < n; i++) {
        if (ql_kernels_runnable(sets[i])) {
            check(sets[i]);
        } else {
            printf("SKIP: %s cannot run on this machine\n", sets[i]->name);
        }
    }
}

static void check_range(const ql_kernels *set, const ql_qtensor *w,
                        size_t start, size_t n)
{
    float *out = guarded_init(n);

    set->decode(out, w, start, n);
    assert_true(guarded_intact(out, n));
    for (size_t i = 0; i < n; i++) {
        const float want = qcase_value(w, start + i);

        if (ql_f32_bits(out[i]) != ql_f32_bits(want)) {
            fail_msg("%s: storage %d, block %zu, round %d, first %zu: element "
                     "%zu is %.9g, not %.9g",
                     set->name, (int)w->storage, w->block, (int)w->round,
                     w->first, start + i, (double)out[i], (double)want);
        }
    }
    guarded_free(out);
}

/* A matrix of odd shape, decoded whole, by rows of a view, and in ranges. */
static void check_matrix(const ql_kernels *set, ql_storage storage,
                         size_t block, ql_round round, uint64_t seed)
{
    const uint64_t key = ql_rng_split(check_seed(), seed);
    const size_t rows = 1 + ql_rng_below(key, 0, 9);
    const size_t cols = 1 + ql_rng_below(key, 1, 300);
    const size_t first = ql_rng_below(key, 2, 3) * ql_rng_below(key, 3, 300);
    qcase c;

    qcase_init(&c, rows, cols, first, storage, block, round,
               (qcase_input)(seed % QCASE_INPUTS), key);
    check_range(set, &c.w, 0, rows * cols);
    for (size_t r = 0; r < rows; r++) {
        const ql_qtensor view = ql_qtensor_rows(&c.w, r, rows - r);

        assert_int_equal(view.rows, rows - r);
        check_range(set, &view, 0, cols);
    }
    for (uint64_t i = 0; i < 20; i++) {
        const size_t start = ql_rng_below(key, 10 + i, rows * cols);
        const size_t rest = rows * cols - start;

        check_range(set, &c.w, start, ql_rng_below(key, 40 + i, rest + 1));
    }
    qcase_free(&c);
}

static void check_4bit(const ql_kernels *set)
{
    uint64_t seed = 0;

    for (size_t block = 2; block <= 4096; block *= 2) {
        for (ql_round round = QL_ROUND_NONE; round <= QL_ROUND_F16; round++) {
            for (size_t i = 0; i < 2 * QCASE_INPUTS; i++) {
                check_matrix(set, QL_STORAGE_4BIT, block, round, seed++);
            }
        }
    }
}

static void check_dense(const ql_kernels *set)
{
    for (uint64_t seed = 0; seed < 8 * QCASE_INPUTS; seed++) {
        check_matrix(set, QL_STORAGE_F32, 64, QL_ROUND_NONE, seed);
        check_matrix(set, QL_STORAGE_BF16, 64, QL_ROUND_NONE, seed);
        check_matrix(set, QL_STORAGE_F16, 64, QL_ROUND_NONE, seed);
    }
}

/* Rows of panels are what decoding, rounding and packing make of W, and beyond
 * its columns zero. */
static void check_slab(const ql_kernels *set, const ql_slab *s, size_t panels)
{
    const size_t ld = panels * s->width;
    const size_t cells = QL_SLAB_ROWS * s->width; /* of a panel, at the most */
    const size_t each = (s->rows + set->pair - 1) / set->pair * s->width;
    float *want = guarded_init(panels * cells);
    float *got = guarded_init(panels * s->step);
    float *rows = guarded_init(QL_SLAB_ROWS * ld);
    float *row = guarded_init(ld);

    memset(rows, 0, QL_SLAB_ROWS * ld * sizeof(*rows));
    for (size_t r = 0; r < s->rows; r++) {
        set->decode(row, s->w, s->start + r * s->w->cols, s->n);
        set->narrow((char *)rows + r * ld * ql_operand_bytes(set), row, s->n);
    }
    set->fill_nn((uint32_t *)(void *)got, s);
    for (size_t i = 0; i < panels; i++) {
        set->pack_nn((uint32_t *)(void *)want, s->width,
                     (char *)rows + i * s->width * ql_operand_bytes(set), ld,
                     s->rows);
        if (memcmp(want, got + i * s->step, each * sizeof(*want)) != 0) {
            fail_msg("%s: panel %zu of %zu columns from element %zu on, round "
                     "%d",
                     set->name, i, s->n, s->start, (int)s->w->round);
        }
    }
    assert_true(guarded_intact(got, panels * s->step));
    guarded_free(want);
    guarded_free(got);
    guarded_free(rows);
    guarded_free(row);
}

/* Some columns of some rows, whole blocks or not. */
static void check_columns(const ql_kernels *set, const qcase *c, uint64_t key,
                          size_t width)
{
    const size_t unit = ql_rng_below(key, 0, 2) ? 64 : 1;
    const size_t at = ql_rng_below(key, 1, c->w.cols / unit) * unit;
    const size_t most = c->w.cols - at;
    const size_t blocks = ql_rng_below(key, 2, most / 64 + 1);
    const size_t n = blocks > 0 ? blocks * 64 : 1 + ql_rng_below(key, 5, most);
    const size_t row = ql_rng_below(key, 3, c->w.rows);
    const size_t rows = 1 + ql_rng_below(key, 4, c->w.rows - row);
    const size_t panels = (n + width - 1) / width;
    float *room = guarded_init(QL_SLAB_ROWS * panels * width);
    const ql_slab s = {.w = &c->w,
                       .start = row * c->w.cols + at,
                       .rows = rows,
                       .n = n,
                       .width = width,
                       .step = width * (QL_SLAB_ROWS + 3),
                       .room = room};

    check_slab(set, &s, panels);
    assert_true(guarded_intact(room, QL_SLAB_ROWS * panels * width));
    guarded_free(room);
}

static void check_slabs(const ql_kernels *set)
{
    for (uint64_t seed = 0; seed < 60 * QCASE_INPUTS; seed++) {
        const uint64_t key = ql_rng_split(check_seed(), seed);
        const size_t cols = ql_rng_below(key, 0, 3)
                                ? 64 * (1 + ql_rng_below(key, 1, 5))
                                : 64 + ql_rng_below(key, 1, 256);
        const size_t first = ql_rng_below(key, 2, 3) * cols;
        const ql_round round = (ql_round)ql_rng_below(key, 3, 3);
        qcase c;

        qcase_init(&c, QL_SLAB_ROWS, cols, first, QL_STORAGE_4BIT, 64, round,
                   (qcase_input)(seed % QCASE_INPUTS), key);
        check_columns(set, &c, ql_rng_split(key, 0), set->tile.nr);
        check_columns(set, &c, ql_rng_split(key, 1), set->thin.nr);
        qcase_free(&c);
    }
}

/* All 65536 elements of the two half storages, NaNs included. */
static void check_halves(const ql_kernels *set)
{
    uint16_t *all = malloc(0x10000 * sizeof(*all));
    ql_qtensor w = {.rows = 256, .cols = 256, .data = all};

    assert_non_null(all);
    for (size_t i = 0; i < 0x10000; i++) {
        all[i] = (uint16_t)i;
    }
    w.storage = QL_STORAGE_F16;
    check_range(set, &w, 0, 0x10000);
    w.storage = QL_STORAGE_BF16;
    check_range(set, &w, 0, 0x10000);
    free(all);
}

/* All 16 codes by scales over the whole range of f32, NaN and infinity too:
 * rounding has every case to meet. */
static void check_scales(const ql_kernels *set)
{
    static const uint8_t packed[8] = {0x01, 0x23, 0x45, 0x67,
                                      0x89, 0xab, 0xcd, 0xef};
    float absmax;
    ql_qtensor w = {.rows = 1,
                    .cols = 16,
                    .storage = QL_STORAGE_4BIT,
                    .data = packed,
                    .block = 16,
                    .absmax = &absmax};

    for (size_t i = 0; i < 16; i++) {
        w.code[i] = (float)i / 8 - 0.9375f;
    }
    /* The step is no multiple of 3, so that each rounding meets all of it. */
    for (uint64_t u = 0; u < 0x100000000; u += 0x12347) {
        absmax = ql_f32_from_bits((uint32_t)u);
        w.round = (ql_round)(u % 3);
        check_range(set, &w, 0, 16);
    }
}

static void decode__4bit(void **state)
{
    (void)state;
    each_set(check_4bit);
}

static void decode__dense(void **state)
{
    (void)state;
    each_set(check_dense);
}

static void fill_nn__is_decoding_and_packing(void **state)
{
    (void)state;
    each_set(check_slabs);
}

static void decode__every_half(void **state)
{
    (void)state;
    each_set(check_halves);
}

static void decode__every_code_and_size_of_scale(void **state)
{
    (void)state;
    each_set(check_scales);
}

#if defined(__x86_64__)

/* As the compiler's own look at the processor and the system has it. */
static bool is_expected(const ql_kernels *set)
{
    const bool avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    const struct {
        const char *name;
        bool runs;
    } sets[] = {
        {"generic", true},
        {"generic-bf16", true},
        {"avx2", avx2},
        {"avx512", avx512},
        {"avx512bf16", avx512 && __builtin_cpu_supports("avx512bf16")},
    };

    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        if (strcmp(sets[i].name, set->name) == 0) {
            return sets[i].runs;
        }
    }
    fail_msg("%s: what does it need?", set->name);
    return false;
}

/* A set that is left out by mistake would be a slow machine, and no test. */
static void sets__run_where_the_processor_can(void **state)
{
    size_t n;
    const ql_kernels *const *sets = ql_kernels_list(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        if (ql_kernels_runnable(sets[i]) != is_expected(sets[i])) {
            fail_msg("%s: runnable: %d", sets[i]->name,
                     ql_kernels_runnable(sets[i]));
        }
    }
}

#else

/* Under emulation, tests/cross says which sets a processor lacks. */
static void sets__run_where_the_processor_can(void **state)
{
    (void)state;
}

#endif

static void choose__takes_known_names_only(void **state)
{
    size_t n;
    const ql_kernels *const *sets = ql_kernels_list(&n);
    const ql_kernels *best = ql_kernels_get();

    (void)state;
    assert_false(ql_kernels_choose("mmx"));
    assert_ptr_equal(ql_kernels_get(), best);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ql_kernels_choose(sets[i]->name),
                         ql_kernels_runnable(sets[i]));
        if (ql_kernels_runnable(sets[i])) {
            assert_ptr_equal(ql_kernels_get(), sets[i]);
        }
    }
    assert_true(ql_kernels_choose(best->name));
    assert_int_equal(ql_kernels_best(1)->pair, 1);
    assert_int_equal(ql_kernels_best(2)->pair, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets__run_where_the_processor_can),
        cmocka_unit_test(choose__takes_known_names_only),
        cmocka_unit_test(decode__4bit),
        cmocka_unit_test(decode__dense),
        cmocka_unit_test(fill_nn__is_decoding_and_packing),
        cmocka_unit_test(decode__every_half),
        cmocka_unit_test(decode__every_code_and_size_of_scale),
    };

    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
