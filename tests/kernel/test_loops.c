/* The loops of every set give the bits of the first: at every length and
 * address, for numbers of every kind; nothing is written beside an array. */
#include "src/op/loops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/cpu.h"
#include "quant/half.h"
#include "quant/kernels.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/kernel/qcase.h"

enum {
    ARRAYS = 5,
    SHORT = 130, /* all lengths up to here */
    OFFSETS = 4  /* floats from an aligned address */
};

typedef enum input {
    INPUT_UNIT,     /* [-1, 1) */
    INPUT_WIDE,     /* [-100, 100): all that exp has */
    INPUT_DENORMAL, /* below 2^-126 */
    INPUT_BITS,     /* any bits: NaN, inf, both zeros, the largest */
    INPUTS
} input;

/* What one call works on. */
typedef struct arrays {
    size_t n;
    uint64_t key;
    float *x[ARRAYS]; /* [n] each */
    double *wide;     /* [n] */
    float a, b;       /* numbers beside them */
} arrays;

static float special(uint64_t r)
{
    static const float few[] = {0.0F,      -0.0F,    1.0F,       -1.0F,
                                INFINITY,  NAN,      0x1p-149F,  -0x1p-126F,
                                -INFINITY, 3.4e38F,  -3.4e38F,   88.73F,
                                -103.9F,   -87.337F, 0x1.8p127F, -104.0F};

    return r % 2 ? few[r / 2 % 16] : ql_f32_from_bits((uint32_t)(r >> 32));
}

static float number(input kind, uint64_t key, uint64_t i)
{
    const float unit = (float)(2 * ql_rng_unit(key, i) - 1);

    switch (kind) {
    case INPUT_WIDE:
        return 100 * unit;
    case INPUT_DENORMAL:
        return 0x1p-126F * unit;
    case INPUT_BITS:
        return special(ql_rng_at(key, i));
    case INPUT_UNIT:
    case INPUTS:
        break;
    }
    return unit;
}

static arrays arrays_open(size_t n, size_t offset, input kind, uint64_t seed)
{
    const uint64_t key = ql_rng_split(check_seed(), seed);
    arrays s = {.n = n, .key = key};

    s.a = number(kind, key, 0);
    s.b = number(kind, key, 1);
    for (size_t j = 0; j < ARRAYS; j++) {
        const uint64_t own = ql_rng_split(key, j);

        s.x[j] = guarded_init(n + offset) + offset;
        for (size_t i = 0; i < n; i++) {
            s.x[j][i] = number(kind, own, i);
        }
    }
    s.wide = (double *)(void *)guarded_init(2 * n);
    for (size_t i = 0; i < n; i++) {
        s.wide[i] = (double)number(kind, key, 2 + i);
    }
    return s;
}

static void arrays_close(arrays *s, size_t offset)
{
    float *wide = (float *)(void *)s->wide;

    for (size_t j = 0; j < ARRAYS; j++) {
        float *start = s->x[j] - offset;

        assert_true(guarded_intact(start, s->n + offset));
        for (size_t i = 0; i < offset; i++) {
            assert_true(ql_f32_bits(start[i]) == UINT32_MAX);
        }
        guarded_free(start);
    }
    assert_true(guarded_intact(wide, 2 * s->n));
    guarded_free(wide);
}

/* One loop on the arrays; what it returns, or 0. */
typedef double call(const ql_loops *l, arrays *s);

static double call_max(const ql_loops *l, arrays *s)
{
    return (double)l->max(s->x[0], s->n);
}

static double call_exp(const ql_loops *l, arrays *s)
{
    return l->exp(s->x[0], s->n, s->a);
}

static double call_softmax_fwd(const ql_loops *l, arrays *s)
{
    return (double)l->softmax_fwd(s->x[0], s->n, s->a);
}

static double call_scale(const ql_loops *l, arrays *s)
{
    l->scale(s->x[0], s->n, s->a);
    return 0;
}

static double call_add(const ql_loops *l, arrays *s)
{
    l->add(s->x[0], s->x[1], s->n);
    return 0;
}

static double call_dot(const ql_loops *l, arrays *s)
{
    return l->dot(s->x[0], s->x[1], s->n);
}

static double call_dots(const ql_loops *l, arrays *s)
{
    const size_t rows = s->n < 3 ? s->n : 3;
    const size_t n = s->n - rows;

    /* Rows that overlap: each begins one value behind the one before. */
    l->dots(s->x[2], s->x[0], 1, rows, s->x[1], n);
    return 0;
}

static double call_mix(const ql_loops *l, arrays *s)
{
    const size_t rows = s->n < 3 ? s->n : 3;
    const size_t n = s->n - rows;

    l->mix(s->x[2], s->x[0], 1, rows, s->x[1], n);
    return 0;
}

static double call_sumsq(const ql_loops *l, arrays *s)
{
    return l->sumsq(s->x[0], s->n);
}

static double call_softmax_bwd(const ql_loops *l, arrays *s)
{
    l->softmax_bwd(s->x[0], s->x[1], s->n, s->x[2], s->x[3]);
    return 0;
}

static double call_softcap(const ql_loops *l, arrays *s)
{
    l->softcap(s->x[0], s->n, s->a);
    l->softcap(s->x[1], s->n, 30);
    return 0;
}

static double call_softcap_bwd(const ql_loops *l, arrays *s)
{
    l->softcap_bwd(s->x[0], s->x[1], s->n, s->x[2], s->x[3], 50);
    return 0;
}

static double call_norm_fwd(const ql_loops *l, arrays *s)
{
    l->norm_fwd(s->x[0], s->x[1], s->x[2], s->n, s->a);
    l->norm_fwd(s->x[3], s->x[3], s->x[2], s->n, s->b);
    return 0;
}

static double call_norm_dot(const ql_loops *l, arrays *s)
{
    return l->norm_dot(s->x[0], s->x[1], s->x[2], s->n);
}

static double call_norm_bwd(const ql_loops *l, arrays *s)
{
    l->norm_bwd(s->x[0], s->x[1], s->x[2], s->x[3], s->n, s->a, s->b);
    return 0;
}

static double call_norm_dw(const ql_loops *l, arrays *s)
{
    l->norm_dw(s->wide, s->x[0], s->x[1], s->n, s->a);
    return 0;
}

static double call_rotate(const ql_loops *l, arrays *s)
{
    l->rotate(s->x[0], s->x[1], s->x[2], s->n / 2, 1);
    l->rotate(s->x[3], s->x[1], s->x[2], s->n / 2, -1);
    return 0;
}

static double call_act_fwd(const ql_loops *l, arrays *s)
{
    for (int act = 0; act < QL_ACTS; act++) {
        ql_act_fwd_loop *fwd = l->act_fwd[act];

        fwd(s->x[0], s->x[1], s->x[2], s->n);
        fwd(s->x[3], s->x[3], s->x[2], s->n);
        fwd(s->x[4], s->x[1], s->x[4], s->n);
        fwd(s->x[2], s->x[0], NULL, s->n);
    }
    return 0;
}

static double call_act_bwd(const ql_loops *l, arrays *s)
{
    for (int act = 0; act < QL_ACTS; act++) {
        ql_act_bwd_loop *bwd = l->act_bwd[act];

        bwd(s->x[0], s->x[1], s->x[2], s->x[3], s->x[4], s->n);
        bwd(s->x[3], s->x[4], s->x[2], s->x[3], s->x[4], s->n);
        bwd(s->x[0], s->x[1], s->x[1], s->x[0], s->x[2], s->n);
        bwd(s->x[2], NULL, s->x[0], s->x[3], NULL, s->n);
    }
    return 0;
}

static double call_sum(const ql_loops *l, arrays *s)
{
    return l->sum(s->x[0], s->n);
}

static double call_layernorm(const ql_loops *l, arrays *s)
{
    l->layernorm_fwd(s->x[0], s->x[1], s->x[2], s->x[3], s->n, s->a, s->b);
    l->layernorm_fwd(s->x[4], s->x[4], s->x[2], s->x[3], s->n, s->b, s->a);
    l->layernorm_bwd(s->x[0], s->x[1], s->x[2], s->x[3], s->n, s->a, s->b, s->b,
                     s->a);
    return 0;
}

static double call_layernorm_dw(const ql_loops *l, arrays *s)
{
    double *db = calloc(s->n + 1, sizeof *db);

    assert_non_null(db);
    l->layernorm_dw(s->wide, db, s->x[0], s->x[1], s->n, s->a, s->b);
    for (size_t i = 0; i < s->n; i++) {
        s->x[2][i] = (float)db[i];
    }
    free(db);
    return 0;
}

static double call_softcap_loss(const ql_loops *l, arrays *s)
{
    l->softcap_loss(s->x[0], s->n, s->a, s->b, 3);
    return 0;
}

static ql_adam_factors factors(float clip)
{
    return (ql_adam_factors){.b1 = 0.9F,
                             .b2 = 0.999F,
                             .c1 = 0.1F,
                             .c2 = 0.001F,
                             .clip = clip,
                             .keep = 0.99F,
                             .rate = 0.1F,
                             .root = 1.5F,
                             .eps = 1e-8F};
}

/* Blocks of 256; codes are the bytes of the last array. */
static double call_adam8(const ql_loops *l, arrays *s)
{
    const ql_adam_factors f = factors(s->a);
    uint8_t *codes = (uint8_t *)s->x[4];
    ql_map8 m;
    ql_map8 v;
    size_t stayed = 0;

    ql_map8_init(&m, ql_dynamic_map);
    ql_map8_init(&v, ql_dynamic_map_unsigned);
    for (size_t i = 0; i < s->n; i += 256) {
        const size_t n = s->n - i < 256 ? s->n - i : 256;
        const ql_adam8_block b = {.cm = codes + i,
                                  .cv = codes + s->n + i,
                                  .am = s->x[1] + i / 256,
                                  .av = s->x[2] + i / 256};

        stayed += l->adam8(s->x[0] + i, &b, s->x[3] + i, n, &m, &v, &f);
    }
    return (double)stayed;
}

static double call_adam(const ql_loops *l, arrays *s)
{
    const ql_adam_factors f = factors(s->a);

    return (double)l->adam(s->x[0], s->x[1], s->x[2], s->x[3], s->n, &f);
}

/* The halves are bytes of the last array. */
static double call_halves(const ql_loops *l, arrays *s)
{
    uint16_t *halves = (uint16_t *)(void *)s->x[4];

    l->narrow(halves, s->x[0], s->n);
    l->widen(s->x[1], halves, s->n);
    return 0;
}

static double call_dropout(const ql_loops *l, arrays *s)
{
    const size_t first = 2 * (size_t)(s->key % 1000);

    l->dropout(s->x[0], s->x[1], s->n, first, s->key, 1u << 31, s->a);
    l->dropout(s->x[2], s->x[2], s->n, first, s->key, UINT32_MAX - 255, s->a);
    l->dropout(s->x[3], s->x[1], s->n, 0, s->key, 0, s->b);
    return 0;
}

static const struct {
    const char *name;
    call *call;
} calls[] = {
    {"max", call_max},
    {"exp", call_exp},
    {"scale", call_scale},
    {"add", call_add},
    {"dot", call_dot},
    {"dots", call_dots},
    {"mix", call_mix},
    {"sumsq", call_sumsq},
    {"softmax_fwd", call_softmax_fwd},
    {"softmax_bwd", call_softmax_bwd},
    {"softcap", call_softcap},
    {"softcap_bwd", call_softcap_bwd},
    {"norm_fwd", call_norm_fwd},
    {"norm_dot", call_norm_dot},
    {"norm_bwd", call_norm_bwd},
    {"norm_dw", call_norm_dw},
    {"rotate", call_rotate},
    {"act_fwd", call_act_fwd},
    {"act_bwd", call_act_bwd},
    {"sum", call_sum},
    {"layernorm", call_layernorm},
    {"layernorm_dw", call_layernorm_dw},
    {"softcap_loss", call_softcap_loss},
    {"adam", call_adam},
    {"adam8", call_adam8},
    {"halves", call_halves},
    {"dropout", call_dropout},
};

enum {
    CALLS = sizeof calls / sizeof calls[0]
};

/* The same bits, or NaN both. */
static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static bool same_arrays(const arrays *a, const arrays *b)
{
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < ARRAYS; j++) {
            if (!same((double)a->x[j][i], (double)b->x[j][i])) {
                return false;
            }
        }
        if (!same(a->wide[i], b->wide[i])) {
            return false;
        }
    }
    return true;
}

static void compare(const ql_loops *first, const ql_loops *set, size_t which,
                    size_t n, size_t offset, input kind)
{
    const uint64_t seed = n * INPUTS + kind;
    arrays want = arrays_open(n, offset, kind, seed);
    arrays got = arrays_open(n, offset, kind, seed);
    const double a = calls[which].call(first, &want);
    const double b = calls[which].call(set, &got);

    if (!same(a, b) || !same_arrays(&want, &got)) {
        fail_msg("%s of %s: n %zu, offset %zu, input %d: other bits than %s",
                 calls[which].name, set->name, n, offset, (int)kind,
                 first->name);
    }
    arrays_close(&want, offset);
    arrays_close(&got, offset);
}

static void check_set(const ql_loops *first, const ql_loops *set)
{
    static const size_t more[] = {511, 512, 513, 1029, 4099};

    for (size_t which = 0; which < CALLS; which++) {
        for (input kind = 0; kind < INPUTS; kind++) {
            for (size_t n = 0; n <= SHORT; n++) {
                compare(first, set, which, n, n % OFFSETS, kind);
            }
            for (size_t i = 0; i < OFFSETS; i++) {
                compare(first, set, which, 77, i, kind);
            }
            for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
                compare(first, set, which, more[i], i % OFFSETS, kind);
            }
        }
    }
}

static void loops__of_every_set_give_the_same_bits(void **state)
{
    size_t n;
    const ql_loops *const *sets = ql_loops_list(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        if (sets[i]->cpu_need & ~ql_cpu_bits()) {
            printf("SKIP: %s cannot run on this machine\n", sets[i]->name);
        } else {
            check_set(sets[0], sets[i]);
        }
    }
}

/* avx512bf16 has no loops of its own: it takes those of avx512. */
static void loops__follow_the_kernels(void **state)
{
    const ql_kernels *before = ql_kernels_get();
    size_t kernels;
    size_t loops;
    const ql_kernels *const *k = ql_kernels_list(&kernels);
    const ql_loops *const *l = ql_loops_list(&loops);

    (void)state;
    for (size_t i = 0; i < kernels; i++) {
        const ql_loops *got;

        if (!ql_kernels_choose(k[i]->name)) {
            continue;
        }
        got = ql_loops_get();
        assert_memory_equal(got->name, k[i]->name, strlen(got->name));
        assert_int_equal(got->cpu_need & ~k[i]->cpu_need, 0);
        for (size_t j = 0; j < loops; j++) {
            if (strcmp(l[j]->name, k[i]->name) == 0) {
                assert_ptr_equal(got, l[j]);
            }
        }
    }
    assert_true(ql_kernels_choose(before->name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops__of_every_set_give_the_same_bits),
        cmocka_unit_test(loops__follow_the_kernels),
    };

    return cmocka_run_group_tests_name("loops", tests, NULL, NULL);
}
