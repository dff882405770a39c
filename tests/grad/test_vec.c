/* Element loops: their formulas, and the same bits for any threads. */
#include "src/op/vec.h"

#include "quant/half.h"
#include "tests/grad/grad.h"

enum {
    MANY = 50001 /* more than one piece, and odd */
};

static const size_t lengths[] = {0, 1, 2, 3, 63, 64, 65, 8192, 8193, MANY};

enum {
    LENGTHS = sizeof lengths / sizeof *lengths
};

static void vec__adds_and_scales(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i];
        float *x = room_fill(n, 1);
        float *y = room_fill(n, 2);
        float *before = room_fill(n, 2);

        ql_vec_add(y, x, n);
        for (size_t j = 0; j < n; j++) {
            assert_true(y[j] == before[j] + x[j]);
        }
        room_close(x, n);
        room_close(y, n);
        room_close(before, n);
    }
}

static void vec__adds_a_bias_to_each_row(void **state)
{
    const size_t shapes[][2] = {{1, 5}, {3, 64}, {130, 100}, {7, 1}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const size_t N = shapes[i][1];
        const size_t n = shapes[i][0] * N;
        float *y = room_fill(n, 1);
        float *before = room_fill(n, 1);
        float *b = room_fill(N, 2);

        ql_vec_add_bias(y, b, shapes[i][0], N);
        for (size_t j = 0; j < n; j++) {
            assert_true(y[j] == before[j] + b[j % N]);
        }
        room_close(y, n);
        room_close(before, n);
        room_close(b, N);
    }
}

static void vec__sums_squares_in_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i];
        float *x = room_fill(n, 1);
        double want = 0;

        for (size_t j = 0; j < n; j++) {
            want += (double)x[j] * (double)x[j];
        }
        assert_true(fabs(ql_vec_sumsq(x, n) - want) <= 1e-12 * want);
        room_close(x, n);
    }
}

static void vec__in_bf16_are_those_of_f32_rounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i];
        float *x = room_fill(n, 1);
        float *y = room_fill(n, 2);
        float *back = room_open(n);
        uint16_t *half = malloc((n + 1) * sizeof(*half));
        double want = 0;

        half[n] = 0x5a5a;
        ql_vec_to_bf16(half, x, n);
        ql_vec_from_bf16(back, half, n);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(half[j], ql_f32_to_bf16(x[j]));
            assert_true(back[j] == ql_bf16_to_f32(half[j]));
            want += (double)back[j] * (double)back[j];
        }
        assert_true(fabs(ql_vec_sumsq_bf16(half, n) - want) <= 1e-12 * want);
        ql_vec_add_to_bf16(half, y, n);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(half[j], ql_f32_to_bf16(back[j] + y[j]));
        }
        assert_int_equal(half[n], 0x5a5a);
        free(half);
        room_close(x, n);
        room_close(y, n);
        room_close(back, n);
    }
}

/* Kept elements are scaled, about p of all are dropped. */
static void check_dropout(float p)
{
    float *x = room_fill(MANY, 1);
    float *y = room_open(MANY);
    const float keep = (float)(1 / (1 - (double)p));
    size_t dropped = 0;

    ql_vec_dropout(y, x, MANY, p, 77);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(y[i] == 0 || y[i] == x[i] * keep);
        dropped += y[i] == 0 && x[i] != 0;
    }
    /* Five standard deviations of the number dropped. */
    assert_true(fabs((double)dropped - (double)p * MANY) <=
                5 * sqrt((double)p * (1 - (double)p) * MANY));
    room_close(x, MANY);
    room_close(y, MANY);
}

static void dropout__keeps_the_right_share(void **state)
{
    (void)state;
    check_dropout(0);
    check_dropout(0.05F);
    check_dropout(0.5F);
    check_dropout(0.9F);
}

/* Any length gives the beginning of a longer one; in place is the same; each
 * key makes a choice of its own. */
static void dropout__depends_on_key_and_index_only(void **state)
{
    float *x = room_fill(MANY, 1);
    float *y = room_open(MANY);
    float *z = room_open(MANY);
    size_t differ = 0;

    (void)state;
    ql_vec_dropout(y, x, MANY, 0.5F, 5);
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i];
        float *in = room_fill(MANY, 1);

        ql_vec_dropout(in, in, n, 0.5F, 5);
        assert_memory_equal(in, y, n * sizeof *in);
        room_close(in, MANY);
    }
    ql_vec_dropout(z, x, MANY, 0.5F, 6);
    for (size_t i = 0; i < MANY; i++) {
        differ += (y[i] == 0) != (z[i] == 0);
    }
    assert_true(differ > 2 * MANY / 5 && differ < 3 * MANY / 5);
    room_close(x, MANY);
    room_close(y, MANY);
    room_close(z, MANY);
}

static float *all(double *sum)
{
    float *x = room_fill(MANY, 1);
    float *y = room_fill(MANY, 2);

    ql_vec_add(y, x, MANY);
    ql_vec_add_bias(y, x, 3, MANY / 3);
    ql_vec_dropout(y, y, MANY, 0.25F, 9);
    *sum = ql_vec_sumsq(y, MANY);
    room_close(x, MANY);
    return y;
}

static void vec__does_not_depend_on_threads(void **state)
{
    double first_sum;
    float *first;

    (void)state;
    omp_set_num_threads(1);
    first = all(&first_sum);
    for (int threads = 2; threads <= 3; threads++) {
        double sum;
        float *y;

        omp_set_num_threads(threads);
        y = all(&sum);
        assert_true(sum == first_sum);
        check_same(y, first, MANY, "y");
        room_close(y, MANY);
    }
    room_close(first, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vec__adds_and_scales),
        cmocka_unit_test(vec__adds_a_bias_to_each_row),
        cmocka_unit_test(vec__sums_squares_in_double),
        cmocka_unit_test(vec__in_bf16_are_those_of_f32_rounded),
        cmocka_unit_test(dropout__keeps_the_right_share),
        cmocka_unit_test(dropout__depends_on_key_and_index_only),
        cmocka_unit_test(vec__does_not_depend_on_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
