/* The optimizer against AdamW's formula in double, and its 8 bits against those
 * of bitsandbytes; its state in memory and in a file, and as a stream; what is
 * left after a failure. */
#include "src/train/optimizer.h"

#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "quant/codebook.h"
#include "src/base/alloc.h"
#include "tests/check/check.h"

enum {
    LARGE = 400000,
    /* one tensor of many pieces; small ones, and one of none; the largest of
       those that stay in 32 bits, the smallest of the others */
    COUNT = LARGE + 1 + 255 + QL_ADAM_PIECE + 4095 + 4096 + 20011,
    TENSORS = 8,
    STEPS = 5
};

static const size_t sizes[TENSORS] = {
    LARGE, 1, 0, 255, QL_ADAM_PIECE, 4095, 4096, 20011,
};

/* A training run without a model: gradients are random numbers. */
typedef struct training {
    ql_optimizer *o;
    float p[COUNT], g[COUNT];
} training;

static ql_adam_step numbers(void)
{
    return (ql_adam_step){.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .clip = 0.5};
}

/* Blocks of all sizes, of zeros, and of one number. */
static void gradients(float *g, size_t t)
{
    check_fill(g, COUNT, t);
    for (size_t i = 0; i < COUNT; i++) {
        const size_t block = i / 300;

        g[i] *= block % 7 == 0   ? 0
                : block % 5 == 0 ? (float)(i % 300 == 5)
                                 : exp2f((float)(block % 40) - 30);
    }
}

static ql_optimizer_options options(ql_optim kind, uint64_t memory)
{
    return (ql_optimizer_options){
        .kind = kind, .memory = memory, .page_dir = check_tmp()};
}

static training *start_with(const ql_optimizer_options *opt)
{
    training *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    check_fill(r->p, COUNT, 0);
    check_ok(ql_optimizer_open(&r->o, opt, sizes, TENSORS));
    return r;
}

static training *start(ql_optim kind, uint64_t memory)
{
    const ql_optimizer_options opt = options(kind, memory);

    return start_with(&opt);
}

static ql_status try_step(training *r)
{
    ql_adam_step s = numbers();

    gradients(r->g, ql_optimizer_updates(r->o) + 1);
    return ql_optimizer_update(r->o, r->p, r->g, &s);
}

static void step(training *r)
{
    check_ok(try_step(r));
}

static void end(training *r)
{
    ql_optimizer_close(&r->o);
    free(r);
}

static training *run(ql_optim kind, uint64_t memory, int threads)
{
    training *r = start(kind, memory);

    omp_set_num_threads(threads);
    for (size_t t = 1; t <= STEPS; t++) {
        step(r);
        assert_int_equal(ql_optimizer_updates(r->o), t);
    }
    omp_set_num_threads(2);
    return r;
}

/* The whole state. Owned: free. */
static unsigned char *state_of(ql_optimizer *o)
{
    const size_t n = (size_t)ql_optimizer_state_bytes(o);
    unsigned char *state = malloc(n);

    assert_non_null(state);
    check_ok(ql_optimizer_export(o, 0, state, n));
    return state;
}

static void check_same(training *a, training *b)
{
    unsigned char *x = state_of(a->o);
    unsigned char *y = state_of(b->o);

    assert_int_equal(ql_optimizer_state_bytes(a->o),
                     ql_optimizer_state_bytes(b->o));
    assert_memory_equal(a->p, b->p, sizeof(a->p));
    assert_memory_equal(x, y, (size_t)ql_optimizer_state_bytes(a->o));
    free(x);
    free(y);
}

/* The last tensors, so many, have no weight decay. */
static void check_double(size_t plain)
{
    static double m[COUNT], v[COUNT], p[COUNT];
    static float x[COUNT];
    const ql_optimizer_options opt = {.kind = QL_OPTIM_ADAMW_32BIT,
                                      .plain = plain};
    training *r = start_with(&opt);
    size_t decayed = COUNT;

    for (size_t i = 0; i < plain; i++) {
        decayed -= sizes[TENSORS - 1 - i];
    }
    memset(m, 0, sizeof(m));
    memset(v, 0, sizeof(v));
    check_fill(x, COUNT, 0);
    for (size_t i = 0; i < COUNT; i++) {
        p[i] = (double)x[i];
    }
    for (size_t t = 1; t <= STEPS; t++) {
        const ql_adam_step k = numbers();
        const double c1 = 1 - pow(k.beta1, (double)t);
        const double c2 = 1 - pow(k.beta2, (double)t);

        step(r);
        gradients(x, t);
        for (size_t i = 0; i < COUNT; i++) {
            const double g = (double)x[i] * k.clip;
            const double decay = i < decayed ? k.weight_decay : 0;

            m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
            v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
            p[i] -= k.lr * decay * p[i];
            p[i] -= k.lr * (m[i] / c1) / (sqrt(v[i] / c2) + k.eps);
        }
    }
    check_close(r->p, p, COUNT, 5e-7, "p");
    end(r);
}

static void adamw_32bit__agrees_with_double(void **unused)
{
    (void)unused;
    check_double(0);
}

static void weight_decay__leaves_the_last_tensors_alone(void **unused)
{
    (void)unused;
    check_double(3);
}

/* One moment of a tensor in 8 bits, as bitsandbytes has it: values are kept as
 * codes and the largest size of each block. */
typedef struct moment8 {
    const float *map;
    uint8_t code[LARGE];
    float top[LARGE / QL_ADAM_BLOCK + 1];
} moment8;

static uint8_t nearest(const float *map, float y)
{
    size_t best = 0;

    for (size_t i = 1; i < 256; i++) {
        if (fabs((double)y - (double)map[i]) <
            fabs((double)y - (double)map[best])) {
            best = i;
        }
    }
    return (uint8_t)best;
}

/* x = decay x + add[i], in place; x receives the values before they are
 * encoded. */
static void decay8(moment8 *s, float *x, size_t n, float decay,
                   const float *add)
{
    for (size_t at = 0; at < n; at += QL_ADAM_BLOCK) {
        const size_t len = n - at < QL_ADAM_BLOCK ? n - at : QL_ADAM_BLOCK;
        float *top = &s->top[at / QL_ADAM_BLOCK];
        const float before = *top;

        *top = 0;
        for (size_t i = at; i < at + len; i++) {
            x[i] = decay * (s->map[s->code[i]] * before) + add[i];
            *top = fmaxf(*top, fabsf(x[i]));
        }
        for (size_t i = at; i < at + len; i++) {
            s->code[i] = nearest(s->map, *top > 0 ? x[i] / *top : 0);
        }
    }
}

/* Compares the pieces of a tensor of n elements. Returns behind them. */
static const unsigned char *check_pieces(const unsigned char *state,
                                         const moment8 *m, const moment8 *v,
                                         size_t n)
{
    for (size_t at = 0; at < n; at += QL_ADAM_PIECE) {
        const size_t len = n - at < QL_ADAM_PIECE ? n - at : QL_ADAM_PIECE;
        const size_t block = at / QL_ADAM_BLOCK;
        const size_t blocks = (len + QL_ADAM_BLOCK - 1) / QL_ADAM_BLOCK;
        const unsigned char *codes = state + 2 * blocks * sizeof(float);

        assert_memory_equal(state, m->top + block, blocks * sizeof(float));
        assert_memory_equal(state + blocks * sizeof(float), v->top + block,
                            blocks * sizeof(float));
        assert_memory_equal(codes, m->code + at, len);
        assert_memory_equal(codes + len, v->code + at, len);
        state += ql_adam_state_bytes(len, QL_MOMENTS_8BIT);
    }
    return state;
}

/* The first tensor; the others differ in size only. */
static void adamw_8bit__is_that_of_bitsandbytes(void **unused)
{
    static moment8 m = {.map = ql_dynamic_map};
    static moment8 v = {.map = ql_dynamic_map_unsigned};
    static float x[LARGE], y[LARGE], g[COUNT], start[COUNT];
    static double p[LARGE];
    const ql_adam_step k = numbers();
    const float c1 = (float)(1 - k.beta1);
    const float c2 = (float)(1 - k.beta2);
    training *r = run(QL_OPTIM_ADAMW_8BIT, 0, 2);
    unsigned char *state = state_of(r->o);

    (void)unused;
    check_fill(start, COUNT, 0);
    for (size_t i = 0; i < LARGE; i++) {
        p[i] = (double)start[i];
    }
    for (size_t t = 1; t <= STEPS; t++) {
        const double b1 = 1 - pow(k.beta1, (double)t);
        const double b2 = 1 - pow(k.beta2, (double)t);

        gradients(g, t);
        for (size_t i = 0; i < LARGE; i++) {
            g[i] *= (float)k.clip;
            start[i] = c1 * g[i];
            g[i] = c2 * g[i] * g[i];
        }
        decay8(&m, x, LARGE, (float)k.beta1, start);
        decay8(&v, y, LARGE, (float)k.beta2, g);
        for (size_t i = 0; i < LARGE; i++) {
            p[i] *= 1 - k.lr * k.weight_decay;
            p[i] -=
                k.lr / b1 * (double)x[i] / (sqrt((double)y[i] / b2) + k.eps);
        }
    }
    check_pieces(state, &m, &v, LARGE);
    check_close(r->p, p, LARGE, 2e-6, "p");
    free(state);
    end(r);
}

/* Tensors below 4096 elements are as in the other kind. */
static void adamw_8bit__leaves_small_tensors_in_32_bits(void **unused)
{
    training *a = run(QL_OPTIM_ADAMW_32BIT, 0, 2);
    training *b = run(QL_OPTIM_ADAMW_8BIT, 0, 2);
    size_t at = 0;

    (void)unused;
    for (size_t i = 0; i < TENSORS; i++) {
        const bool same =
            memcmp(a->p + at, b->p + at, sizes[i] * sizeof(float)) == 0;

        assert_int_equal(same, sizes[i] < 4096);
        at += sizes[i];
    }
    end(a);
    end(b);
}

static const ql_optim in_memory[] = {QL_OPTIM_ADAMW_32BIT, QL_OPTIM_ADAMW_8BIT};
static const ql_optim paged[] = {QL_OPTIM_PAGED_ADAMW_32BIT,
                                 QL_OPTIM_PAGED_ADAMW_8BIT};

static void optimizer__does_not_depend_on_threads(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        training *one = run(in_memory[i], 0, 1);
        training *more = run(in_memory[i], 0, 3);

        check_same(one, more);
        end(one);
        end(more);
    }
}

/* The least memory that paging takes, as its refusal says. */
static uint64_t least_memory(ql_optim kind)
{
    const ql_optimizer_options none = options(kind, 1);
    ql_optimizer_need need;
    unsigned long long least = 0;

    check_fails(ql_optimizer_plan(&need, &none, sizes, TENSORS), QL_EINVAL,
                "optimizer-memory of 1 bytes: paging takes at least");
    sscanf(strstr(ql_last_error(), "least"), "least %llu", &least);
    return least;
}

static void paged__gives_the_same_bits_in_less_memory(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        training *whole = run(in_memory[i], 0, 2);
        const uint64_t bytes = ql_optimizer_state_bytes(whole->o);
        const uint64_t least = least_memory(paged[i]);
        const size_t held = ql_alloc_bytes(QL_TAG_OPTIM);

        for (size_t part = 0; part <= 5; part++) {
            const uint64_t memory = least + part * (bytes - least) / 4;
            const ql_optimizer_options opt = options(paged[i], memory);
            ql_optimizer_need need;
            training *r = run(paged[i], memory, 2);
            const size_t used = ql_alloc_bytes(QL_TAG_OPTIM) - held;

            check_same(whole, r);
            check_ok(ql_optimizer_plan(&need, &opt, sizes, TENSORS));
            assert_in_range(need.memory, used, used + 200);
            assert_true(need.memory <= memory);
            assert_int_equal(need.file == 0, part == 5);
            assert_true(need.file + need.memory >= bytes);
            end(r);
        }
        end(whole);
    }
}

/* Copies the state in parts of another size than any that it has. */
static void copy_state(ql_optimizer *to, ql_optimizer *from)
{
    const uint64_t bytes = ql_optimizer_state_bytes(from);
    unsigned char part[10007];

    assert_int_equal(ql_optimizer_state_bytes(to), bytes);
    for (uint64_t at = 0; at < bytes; at += sizeof(part)) {
        const size_t n =
            bytes - at < sizeof(part) ? (size_t)(bytes - at) : sizeof(part);

        check_ok(ql_optimizer_export(from, at, part, n));
        check_ok(ql_optimizer_import(to, at, part, n));
    }
    ql_optimizer_set_updates(to, ql_optimizer_updates(from));
}

static void carry_over(ql_optim from, uint64_t memory, ql_optim to,
                       uint64_t other_memory)
{
    training *one = run(from, memory, 2);
    training *other = start(to, other_memory);

    step(other); /* which leaves something to be replaced */
    copy_state(other->o, one->o);
    memcpy(other->p, one->p, sizeof(one->p));
    check_same(one, other);
    for (size_t t = 0; t < 3; t++) {
        step(one);
        step(other);
        check_same(one, other);
    }
    end(one);
    end(other);
}

static void state__carried_over_goes_on_as_before(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        const uint64_t least = least_memory(paged[i]);

        carry_over(in_memory[i], 0, paged[i], least);
        carry_over(paged[i], least, in_memory[i], 0);
        carry_over(paged[i], 2 * least, paged[i], least);
    }
}

static void update__that_diverges_leaves_the_parameters(void **unused)
{
    static const float bad[] = {NAN, INFINITY, -3e38F};
    ql_adam_step s = numbers();

    (void)unused;
    s.clip = 1;
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        training *r = run(in_memory[i % 2], 0, 2);
        float *before = malloc(sizeof(r->p));

        assert_non_null(before);
        memcpy(before, r->p, sizeof(r->p));
        gradients(r->g, 1);
        r->g[7] = r->g[LARGE] = r->g[COUNT - 1] = bad[i / 2];
        check_fails(ql_optimizer_update(r->o, r->p, r->g, &s), QL_ENUMERIC,
                    "3 trained weights would not be finite");
        assert_memory_equal(r->p, before, sizeof(r->p));
        free(before);
        end(r);
    }
}

/* The page file, or -1. */
static int page_file(void)
{
    return check_open_file("/.pages-");
}

/* Steps until one fails; its parameters are those of the step before. */
static void check_broken(training *r, ql_status want, const char *text)
{
    float *before = malloc(sizeof(r->p));
    size_t t = 0;
    ql_status st;

    assert_non_null(before);
    do {
        memcpy(before, r->p, sizeof(r->p));
        st = try_step(r);
    } while (st == QL_OK && ++t < 5);
    check_fails(st, want, text);
    assert_memory_equal(r->p, before, sizeof(r->p));
    free(before);
    end(r);
}

static void page_file__that_cannot_be_read_is_reported(void **unused)
{
    training *r = run(QL_OPTIM_PAGED_ADAMW_32BIT, least_memory(paged[0]), 2);
    int unreadable;

    (void)unused;
    if (page_file() < 0) { /* no /proc */
        end(r);
        skip();
    }
    unreadable = open("/dev/null", O_WRONLY);
    dup2(unreadable, page_file());
    close(unreadable);
    check_broken(r, QL_EIO, "cannot read the page file in ");
}

static void page_file__that_cannot_be_written_is_reported(void **unused)
{
    training *r = run(QL_OPTIM_PAGED_ADAMW_32BIT, least_memory(paged[0]), 2);
    struct rlimit old;
    struct rlimit small;

    (void)unused;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = 3 << 19, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    check_broken(r, QL_ENOSPACE, "cannot write the page file in ");
    setrlimit(RLIMIT_FSIZE, &old);
}

static void page_file__without_room_is_refused(void **unused)
{
    ql_optimizer_options opt =
        options(QL_OPTIM_PAGED_ADAMW_32BIT, least_memory(paged[0]));
    struct rlimit old;
    struct rlimit small;
    ql_optimizer *o;

    (void)unused;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = 3 << 19, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    check_fails(ql_optimizer_open(&o, &opt, sizes, TENSORS), QL_ENOSPACE,
                "MB for a page file in ");
    setrlimit(RLIMIT_FSIZE, &old);
    assert_null(o);
    opt.page_dir = "/nowhere";
    check_fails(ql_optimizer_open(&o, &opt, sizes, TENSORS), QL_ENOTFOUND,
                "/nowhere");
    assert_null(o);
    assert_int_equal(page_file(), -1);
    assert_int_equal(ql_alloc_bytes(QL_TAG_OPTIM), 0);
}

static void optimizer__survives_failing_allocations(void **unused)
{
    const ql_optimizer_options opt =
        options(QL_OPTIM_PAGED_ADAMW_8BIT, least_memory(paged[1]));
    bool ok = false;

    (void)unused;
    for (long n = 0; !ok; n++) {
        ql_optimizer *o;

        ok = check_lacking(n, ql_optimizer_open(&o, &opt, sizes, TENSORS));
        assert_true(ok || !o);
        ql_optimizer_close(&o);
        assert_int_equal(ql_alloc_bytes(QL_TAG_OPTIM), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_32bit__agrees_with_double),
        cmocka_unit_test(weight_decay__leaves_the_last_tensors_alone),
        cmocka_unit_test(adamw_8bit__is_that_of_bitsandbytes),
        cmocka_unit_test(adamw_8bit__leaves_small_tensors_in_32_bits),
        cmocka_unit_test(optimizer__does_not_depend_on_threads),
        cmocka_unit_test(paged__gives_the_same_bits_in_less_memory),
        cmocka_unit_test(state__carried_over_goes_on_as_before),
        cmocka_unit_test(update__that_diverges_leaves_the_parameters),
        cmocka_unit_test(page_file__that_cannot_be_read_is_reported),
        cmocka_unit_test(page_file__that_cannot_be_written_is_reported),
        cmocka_unit_test(page_file__without_room_is_refused),
        cmocka_unit_test(optimizer__survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
