/* Parameters in bf16: updates are those of f32, rounded; and with moments in
 * bf16 those of AdamW's formula in double, rounded. */
#include "src/train/optimizer.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/alloc.h"
#include "tests/check/check.h"

enum {
    LARGE = 50 * QL_ADAM_PIECE + 4097, /* odd */
    SMALL = 255,
    WIDE = 301, /* in f32, behind those in bf16 */
    TENSORS = 4,
    HALVES = 3, /* of them in bf16 */
    FLOATS = (LARGE + 1) / 2 + 1 + (SMALL + 1) / 2 + WIDE,
    ALL = LARGE + 1 + SMALL + WIDE,
    STEPS = 4
};

static const size_t sizes[TENSORS] = {LARGE, 1, SMALL, WIDE};

static const ql_optim kinds[] = {QL_OPTIM_ADAMW_32BIT, QL_OPTIM_ADAMW_8BIT,
                                 QL_OPTIM_ADAMW_TORCH};

static ql_adam_step numbers(void)
{
    return (ql_adam_step){.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .clip = 0.5};
}

/* Element i of all of those in bf16, and of those in f32. */
static uint16_t *half_at(float *array, size_t i)
{
    uint16_t *halves = (uint16_t *)(void *)array;

    if (i < LARGE) {
        return halves + i;
    }
    halves = (uint16_t *)(void *)(array + (LARGE + 1) / 2);
    return i == LARGE ? halves : halves + 2 + (i - LARGE - 1);
}

static float *wide_at(float *array, size_t i)
{
    return array + FLOATS - ALL + i;
}

static float get(float *array, size_t i)
{
    return i < ALL - WIDE ? ql_bf16_to_f32(*half_at(array, i))
                          : *wide_at(array, i);
}

static void put(float *array, size_t i, float x)
{
    if (i < ALL - WIDE) {
        *half_at(array, i) = ql_f32_to_bf16(x);
    } else {
        *wide_at(array, i) = x;
    }
}

static void fill(float *array, uint64_t seed)
{
    static float x[ALL];

    check_fill(x, ALL, seed);
    memset(array, 0, FLOATS * sizeof(float));
    for (size_t i = 0; i < ALL; i++) {
        put(array, i, x[i] * exp2f((float)(i % 20) - 12));
    }
}

typedef struct training {
    ql_optimizer *o;
    float p[FLOATS], g[FLOATS];
} training;

static training *start(ql_optim kind, uint64_t memory)
{
    const ql_optimizer_options opt = {.kind = kind,
                                      .memory = memory,
                                      .page_dir = check_tmp(),
                                      .plain = 1,
                                      .half = HALVES};
    training *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    fill(r->p, 100);
    check_ok(ql_optimizer_open(&r->o, &opt, sizes, TENSORS));
    return r;
}

static void step(training *r)
{
    ql_adam_step s = numbers();

    fill(r->g, ql_optimizer_updates(r->o));
    check_ok(ql_optimizer_update(r->o, r->p, r->g, &s));
}

static void end(training *r)
{
    ql_optimizer_close(&r->o);
    free(r);
}

/* Moments do not depend on parameters, so an optimizer of the same kind in f32
 * whose parameters are put back has the same ones. */
static void updates__are_those_of_f32_rounded(void **unused)
{
    static float p[ALL], g[ALL];

    (void)unused;
    for (size_t k = 0; k < 2; k++) {
        const ql_optimizer_options opt = {.kind = kinds[k], .plain = 1};
        training *r = start(kinds[k], 0);
        ql_optimizer *wide;

        check_ok(ql_optimizer_open(&wide, &opt, sizes, TENSORS));
        for (size_t t = 0; t < STEPS; t++) {
            ql_adam_step s = numbers();

            fill(r->g, t);
            for (size_t i = 0; i < ALL; i++) {
                p[i] = get(r->p, i);
                g[i] = get(r->g, i);
            }
            check_ok(ql_optimizer_update(wide, p, g, &s));
            step(r);
            for (size_t i = 0; i < ALL; i++) {
                const float want = i < ALL - WIDE
                                       ? ql_bf16_to_f32(ql_f32_to_bf16(p[i]))
                                       : p[i];

                assert_true(get(r->p, i) == want);
            }
        }
        assert_int_equal(ql_optimizer_state_bytes(wide),
                         ql_optimizer_state_bytes(r->o));
        ql_optimizer_close(&wide);
        end(r);
    }
}

/* Bytes of the state of a tensor's pieces, with moments in bf16. */
static size_t state_of(size_t n)
{
    return n / QL_ADAM_PIECE *
               ql_adam_state_bytes(QL_ADAM_PIECE, QL_MOMENTS_BF16) +
           ql_adam_state_bytes(n % QL_ADAM_PIECE, QL_MOMENTS_BF16);
}

/* A moment in the state: pieces of m [n] and v [n]. */
static uint16_t *moment_at(unsigned char *state, size_t i, bool second)
{
    const size_t tensor = i < LARGE ? 0 : i == LARGE ? 1 : 2;
    const size_t in = tensor == 0 ? i : i - LARGE - tensor + 1;
    const size_t at = in / QL_ADAM_PIECE * QL_ADAM_PIECE;
    const size_t left = sizes[tensor] - at;
    const size_t n = left < QL_ADAM_PIECE ? left : QL_ADAM_PIECE;

    for (size_t k = 0; k < tensor; k++) {
        state += state_of(sizes[k]);
    }
    state += state_of(at);
    return (uint16_t *)(void *)state + (in - at) + (second ? n : 0);
}

/* Nearest to a sum of two terms, up to what f32 does to these. */
static void check_rounded(uint16_t got, double a, double b, const char *what,
                          size_t i)
{
    const double y = (double)ql_bf16_to_f32(got);
    const double off = 0x1p-8 * fabs(a + b) + 0x1p-21 * (fabs(a) + fabs(b));

    if (!(fabs(y - (a + b)) <= off + 1e-40)) {
        fail_msg("%s of %zu: %.9g, but %.9g", what, i, y, a + b);
    }
}

static void moments__in_bf16_follow_the_formula(void **unused)
{
    static float p[ALL], g[ALL];
    const ql_adam_step k = numbers();
    training *r = start(QL_OPTIM_ADAMW_TORCH, 0);
    const size_t n = (size_t)ql_optimizer_state_bytes(r->o);
    unsigned char *before = malloc(n);
    unsigned char *after = malloc(n);

    (void)unused;
    for (size_t t = 1; t <= STEPS; t++) {
        const double c1 = 1 - pow(k.beta1, (double)t);
        const double c2 = 1 - pow(k.beta2, (double)t);

        fill(r->g, t - 1);
        for (size_t i = 0; i < ALL; i++) {
            p[i] = get(r->p, i);
            g[i] = get(r->g, i);
        }
        check_ok(ql_optimizer_export(r->o, 0, before, n));
        step(r);
        check_ok(ql_optimizer_export(r->o, 0, after, n));
        for (size_t i = 0; i < ALL - WIDE; i++) {
            const double x = (double)g[i] * k.clip;
            const double m = (double)ql_bf16_to_f32(*moment_at(before, i, 0));
            const double v = (double)ql_bf16_to_f32(*moment_at(before, i, 1));
            const double m_now = k.beta1 * m + (1 - k.beta1) * x;
            const double v_now = k.beta2 * v + (1 - k.beta2) * x * x;
            const double next =
                (double)p[i] * (1 - k.lr * k.weight_decay) -
                k.lr * (m_now / c1) / (sqrt(v_now / c2) + k.eps);

            check_rounded(*moment_at(after, i, false), k.beta1 * m,
                          (1 - k.beta1) * x, "m", i);
            check_rounded(*moment_at(after, i, true), k.beta2 * v,
                          (1 - k.beta2) * x * x, "v", i);
            if (!(fabs((double)get(r->p, i) - next) <=
                  fabs(next) * 0x1.01p-8 + 1e-8)) {
                fail_msg("p of %zu: %.9g, but %.9g", i, (double)get(r->p, i),
                         next);
            }
        }
    }
    free(before);
    free(after);
    end(r);
}

static void bytes__are_as_few_as_they_say(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 3; k++) {
        training *r = start(kinds[k], 0);
        const uint64_t bytes = ql_optimizer_state_bytes(r->o);
        const uint64_t each[] = {8, 2, 4};

        assert_true(bytes >= LARGE * each[k]);
        assert_true(bytes <=
                    LARGE * each[k] + LARGE / 30 + (ALL - LARGE) * 8 + 2048);
        end(r);
    }
}

static void bits__do_not_depend_on_threads_or_pages(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 2; k++) {
        const ql_optim paged =
            k == 0 ? QL_OPTIM_PAGED_ADAMW_32BIT : QL_OPTIM_PAGED_ADAMW_8BIT;
        training *one = start(kinds[k], 0);
        training *more = start(paged, 0);
        const uint64_t bytes = ql_optimizer_state_bytes(one->o);
        training *least = start(paged, bytes / 2);
        const ql_optimizer_options opt = {
            .kind = paged, .memory = bytes / 2, .half = HALVES};
        ql_optimizer_need need;

        check_ok(ql_optimizer_plan(&need, &opt, sizes, TENSORS));
        assert_true(need.file > bytes / 4);
        for (size_t t = 0; t < STEPS; t++) {
            omp_set_num_threads(1);
            step(one);
            omp_set_num_threads(3);
            step(more);
            step(least);
            assert_memory_equal(one->p, more->p, sizeof(one->p));
            assert_memory_equal(one->p, least->p, sizeof(one->p));
        }
        omp_set_num_threads(2);
        end(one);
        end(more);
        end(least);
    }
}

static void update__that_diverges_leaves_the_parameters(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 3; k++) {
        training *r = start(kinds[k], 0);
        float *before = malloc(sizeof(r->p));
        ql_adam_step s = numbers();

        step(r);
        memcpy(before, r->p, sizeof(r->p));
        fill(r->g, 7);
        put(r->g, 7, INFINITY);
        put(r->g, ALL - 1, NAN);
        check_fails(ql_optimizer_update(r->o, r->p, r->g, &s), QL_ENUMERIC,
                    "2 trained weights would not be finite");
        assert_memory_equal(r->p, before, sizeof(r->p));
        free(before);
        end(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates__are_those_of_f32_rounded),
        cmocka_unit_test(moments__in_bf16_follow_the_formula),
        cmocka_unit_test(bytes__are_as_few_as_they_say),
        cmocka_unit_test(bits__do_not_depend_on_threads_or_pages),
        cmocka_unit_test(update__that_diverges_leaves_the_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
