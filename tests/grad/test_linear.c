/* The linear layer with its LoRA pair, on a 4-bit base, against its formula in
 * double: outputs, and gradients of the input, of both matrices, and of
 * magnitudes. Dropout is taken as a given mask, norms of rows as given
 * numbers. */
#include "src/op/linear.h"

#include "quant/codec.h"
#include "quant/half.h"
#include "src/op/dora.h"
#include "src/op/gemm.h"
#include "src/op/vec.h"
#include "tests/grad/grad.h"

/* Odd widths: blocks of 64 cross the rows. */
typedef struct shape {
    size_t T, N, K, R;
    bool bias;
    float p;
    bool dora;
} shape;

static const shape shapes[] = {
    {1, 3, 5, 1, false, 0, false},       {7, 20, 36, 3, true, 0, false},
    {65, 33, 77, 4, false, 0.3F, false}, {9, 64, 128, 16, true, 0.5F, false},
    {130, 50, 127, 2, true, 0, false},   {5, 40, 30, 0, true, 0, false},
    {1, 70, 128, 5, false, 0, false},    {4, 33, 192, 3, false, 0.2F, false},
    {1, 3, 5, 1, false, 0, true},        {7, 20, 36, 3, true, 0, true},
    {65, 33, 77, 4, false, 0.3F, true},  {9, 64, 128, 16, true, 0.5F, true},
};

/* All arrays of one layer and one call. */
typedef struct layer {
    shape s;
    ql_linear lin;
    ql_drop drop;
    uint8_t *packed;
    float *absmax, *bias, *a, *b, *da, *db;
    float *m, *dm, *gains; /* gains: [3, N] */
    float *x, *y, *dy, *dx;
    ql_linear_kept kept;
    void *work;
} layer;

static void quantized_base(layer *l)
{
    const size_t n = l->s.N * l->s.K;
    float *w = room_fill(n, 1);

    l->packed = malloc(ql_codec_packed_bytes(n));
    l->absmax = malloc(ql_codec_blocks(n, 64) * sizeof(float));
    ql_quantize_4bit(w, n, 64, QL_CODEBOOK_NF4, l->packed, l->absmax);
    l->lin.w = (ql_qtensor){.rows = l->s.N,
                            .cols = l->s.K,
                            .storage = QL_STORAGE_4BIT,
                            .data = l->packed,
                            .block = 64,
                            .absmax = l->absmax};
    memcpy(l->lin.w.code, ql_codebooks[QL_CODEBOOK_NF4], 16 * sizeof(float));
    room_close(w, n);
}

/* Magnitudes around 3, and their factors. */
static void add_magnitudes(layer *l)
{
    const size_t N = l->s.N;
    void *work;

    for (size_t i = 0; i < N; i++) {
        l->m[i] += 3;
    }
    l->lin.dora = (ql_dora){.m = l->m,
                            .dm = l->dm,
                            .gain = l->gains,
                            .inverse = l->gains + N,
                            .base = l->gains + 2 * N};
    work = aligned_alloc(64, (ql_dora_work_bytes(&l->lin) + 63) / 64 * 64);
    ql_dora_prepare(&l->lin);
    ql_dora_refresh(&l->lin, work);
    free(work);
}

static layer layer_open(shape s)
{
    layer l = {.s = s, .drop = {.p = s.p, .key = 99}};

    quantized_base(&l);
    l.bias = room_fill(s.N, 2);
    l.a = room_fill(s.R * s.K, 3);
    l.b = room_fill(s.N * s.R, 4);
    l.da = room_fill(s.R * s.K, 5);
    l.db = room_fill(s.N * s.R, 6);
    l.x = room_fill(s.T * s.K, 7);
    l.dy = room_fill(s.T * s.N, 8);
    l.y = room_open(s.T * s.N);
    l.kept.xa = room_open(s.T * s.R);
    l.kept.u = room_open(s.T * s.N);
    l.dx = room_open(s.T * s.K);
    l.m = room_fill(s.N, 9);
    l.dm = room_fill(s.N, 10);
    l.gains = room_open(3 * s.N);
    l.lin.bias = s.bias ? l.bias : NULL;
    l.lin.lora = (ql_lora){
        .r = s.R, .scale = 0.75F, .a = l.a, .b = l.b, .da = l.da, .db = l.db};
    if (s.dora) {
        add_magnitudes(&l);
    }
    l.work =
        aligned_alloc(64, (ql_linear_work_bytes(&l.lin, s.T) + 63) / 64 * 64);
    ql_linear_fwd(l.y, false, l.kept, l.x, &l.lin, s.T, l.drop, l.work);
    ql_linear_bwd(l.dx, false, l.dy, l.x, l.kept, &l.lin, s.T, l.drop, l.work);
    return l;
}

static void layer_close(layer *l)
{
    const shape s = l->s;

    room_close(l->bias, s.N);
    room_close(l->a, s.R * s.K);
    room_close(l->b, s.N * s.R);
    room_close(l->da, s.R * s.K);
    room_close(l->db, s.N * s.R);
    room_close(l->x, s.T * s.K);
    room_close(l->dy, s.T * s.N);
    room_close(l->y, s.T * s.N);
    room_close(l->kept.xa, s.T * s.R);
    room_close(l->kept.u, s.T * s.N);
    room_close(l->m, s.N);
    room_close(l->dm, s.N);
    room_close(l->gains, 3 * s.N);
    room_close(l->dx, s.T * s.K);
    free(l->packed);
    free(l->absmax);
    free(l->work);
}

/* The same layer in double; mask holds 0 or 1 / (1 - p). */
typedef struct truth {
    shape s;
    bool bias_on;
    double scale;
    double *w, *bias, *a, *b, *x, *dy, *mask;
    double *m, *norm; /* NULL: no magnitudes; norms are of the layer's start */
} truth;

static double *mask_of(const layer *l)
{
    const size_t n = l->s.T * l->s.K;
    float *ones = malloc(n * sizeof(float));
    double *mask;

    for (size_t i = 0; i < n; i++) {
        ones[i] = 1;
    }
    if (l->s.p > 0) {
        ql_vec_dropout(ones, ones, n, l->s.p, l->drop.key);
    }
    mask = widen(ones, n);
    free(ones);
    return mask;
}

/* |W + s B A| of row n. */
static double row_norm(const truth *r, size_t n)
{
    double sum = 0;

    for (size_t k = 0; k < r->s.K; k++) {
        double w = r->w[n * r->s.K + k];

        for (size_t i = 0; i < r->s.R; i++) {
            w += r->scale * r->b[n * r->s.R + i] * r->a[i * r->s.K + k];
        }
        sum += w * w;
    }
    return sqrt(sum);
}

static truth truth_open(const layer *l)
{
    const shape s = l->s;
    float *w = malloc(s.N * s.K * sizeof(float));
    truth r = {.s = s,
               .bias_on = s.bias,
               .scale = (double)l->lin.lora.scale,
               .bias = widen(l->bias, s.N),
               .a = widen(l->a, s.R * s.K),
               .b = widen(l->b, s.N * s.R),
               .x = widen(l->x, s.T * s.K),
               .dy = widen(l->dy, s.T * s.N),
               .mask = mask_of(l)};

    ql_dequantize(w, &l->lin.w, 0, s.N * s.K);
    r.w = widen(w, s.N * s.K);
    free(w);
    if (s.dora) {
        r.m = widen(l->m, s.N);
        r.norm = malloc(s.N * sizeof(double));
        for (size_t n = 0; n < s.N; n++) {
            r.norm[n] = row_norm(&r, n);
        }
    }
    return r;
}

static void truth_close(truth *r)
{
    free(r->w);
    free(r->bias);
    free(r->a);
    free(r->b);
    free(r->x);
    free(r->dy);
    free(r->mask);
    free(r->m);
    free(r->norm);
}

/* Row t of the output. */
static void forward_row(double *y, const truth *r, size_t t)
{
    const shape s = r->s;
    double xa[16] = {0};

    for (size_t i = 0; i < s.R; i++) {
        for (size_t k = 0; k < s.K; k++) {
            xa[i] +=
                r->x[t * s.K + k] * r->mask[t * s.K + k] * r->a[i * s.K + k];
        }
    }
    for (size_t n = 0; n < s.N; n++) {
        const double gain = r->m ? r->m[n] / r->norm[n] : 1;

        y[n] = r->bias_on ? r->bias[n] : 0;
        for (size_t k = 0; k < s.K; k++) {
            /* PEFT: the base's part beyond 1 sees what is dropped */
            const double mask = r->m ? r->mask[t * s.K + k] : 0;

            y[n] +=
                (1 + (gain - 1) * mask) * r->x[t * s.K + k] * r->w[n * s.K + k];
        }
        for (size_t i = 0; i < s.R; i++) {
            y[n] += gain * r->scale * xa[i] * r->b[n * s.R + i];
        }
    }
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    double *y = malloc(r->s.N * sizeof(double));
    double sum = 0;

    for (size_t t = 0; t < r->s.T; t++) {
        forward_row(y, r, t);
        for (size_t n = 0; n < r->s.N; n++) {
            sum += y[n] * r->dy[t * r->s.N + n];
        }
    }
    free(y);
    return sum;
}

static void check_outputs(const layer *l, truth *r)
{
    const shape s = l->s;
    double *y = malloc(s.T * s.N * sizeof(double));

    for (size_t t = 0; t < s.T; t++) {
        forward_row(y + t * s.N, r, t);
    }
    check_near(l->y, y, s.T * s.N, 1e-6, "y");
    check_slope(l->dx, r->x, s.T * s.K, weighed, r, 1e-5, "dx");
    free(y);
}

static void check_shape(shape s)
{
    layer l = layer_open(s);
    truth r = truth_open(&l);

    check_outputs(&l, &r);
    take_off(l.da, s.R * s.K, 5);
    take_off(l.db, s.N * s.R, 6);
    take_off(l.dm, s.N, 10);
    if (s.R > 0) {
        check_slope(l.da, r.a, s.R * s.K, weighed, &r, 1e-5, "dA");
        check_slope(l.db, r.b, s.N * s.R, weighed, &r, 1e-5, "dB");
    }
    if (s.dora) {
        check_slope(l.dm, r.m, s.N, weighed, &r, 1e-5, "dm");
    }
    truth_close(&r);
    layer_close(&l);
}

static void linear__agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i]);
    }
}

static void linear__does_not_depend_on_threads(void **state)
{
    const shape s = {130, 70, 127, 4, true, 0.2F, true};
    layer first;

    (void)state;
    omp_set_num_threads(1);
    first = layer_open(s);
    for (int threads = 2; threads <= 3; threads++) {
        layer l;

        omp_set_num_threads(threads);
        l = layer_open(s);
        check_same(l.y, first.y, s.T * s.N, "y");
        check_same(l.dx, first.dx, s.T * s.K, "dx");
        check_same(l.da, first.da, s.R * s.K, "dA");
        check_same(l.db, first.db, s.N * s.R, "dB");
        check_same(l.dm, first.dm, s.N, "dm");
        check_same(l.gains, first.gains, 3 * s.N, "gains");
        layer_close(&l);
    }
    layer_close(&first);
}

/* Adding to an output, and the parts that may be left out. */
static void linear__adds_and_leaves_out(void **state)
{
    const shape s = {6, 20, 36, 3, true, 0, false};
    const size_t n = s.T * s.N;
    layer l = layer_open(s);
    float *twice = room_fill(n, 20);
    float *xa = room_open(s.T * s.R);

    (void)state;
    ql_linear_fwd(twice, true, l.kept, l.x, &l.lin, s.T, l.drop, l.work);
    take_off(twice, n, 20);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(twice[i] - l.y[i]) < 1e-5F);
    }
    ql_linear_keep((ql_linear_kept){xa, NULL}, l.x, &l.lin, s.T, l.drop,
                   l.work);
    assert_memory_equal(xa, l.kept.xa, s.T * s.R * sizeof(float));
    take_off(l.da, s.R * s.K, 5);
    l.lin.lora.da = NULL;
    ql_linear_bwd(NULL, false, l.dy, l.x, l.kept, &l.lin, s.T, l.drop, l.work);
    room_close(twice, n);
    room_close(xa, s.T * s.R);
    layer_close(&l);
}

/* With magnitudes: adding, and what is kept alone. */
static void linear__adds_with_magnitudes(void **state)
{
    const shape s = {6, 20, 36, 3, true, 0.3F, true};
    const size_t n = s.T * s.N;
    layer l = layer_open(s);
    float *twice = room_fill(n, 20);
    float *xa = room_open(s.T * s.R);
    float *u = room_open(n);

    (void)state;
    ql_linear_fwd(twice, true, l.kept, l.x, &l.lin, s.T, l.drop, l.work);
    take_off(twice, n, 20);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(twice[i] - l.y[i]) < 1e-5F);
    }
    ql_linear_keep((ql_linear_kept){xa, u}, l.x, &l.lin, s.T, l.drop, l.work);
    assert_memory_equal(xa, l.kept.xa, s.T * s.R * sizeof(float));
    assert_memory_equal(u, l.kept.u, n * sizeof(float));
    room_close(twice, n);
    room_close(xa, s.T * s.R);
    room_close(u, n);
    layer_close(&l);
}

/* The base dequantized, to train it. Owned: free. */
static void *dense_base(layer *l, bool half)
{
    const size_t n = l->s.N * l->s.K;
    float *wide = malloc(n * sizeof(float));
    uint16_t *narrow = malloc(n * sizeof(uint16_t));

    ql_dequantize(wide, &l->lin.w, 0, n);
    ql_vec_to_bf16(narrow, wide, n);
    l->lin.w = ql_qtensor_dense(wide, l->s.N, l->s.K);
    l->lin.trained = true;
    if (half) {
        l->lin.w.data = narrow;
        l->lin.w.storage = QL_STORAGE_BF16;
    }
    free(half ? (void *)wide : narrow);
    return half ? (void *)narrow : wide;
}

/* Both ways with a base that is trained itself. */
static void run_trained(layer *l)
{
    const size_t T = l->s.T;

    free(l->work);
    l->work =
        aligned_alloc(64, (ql_linear_work_bytes(&l->lin, T) + 63) / 64 * 64);
    ql_linear_fwd(l->y, false, l->kept, l->x, &l->lin, T, l->drop, l->work);
    ql_linear_bwd(l->dx, false, l->dy, l->x, l->kept, &l->lin, T, l->drop,
                  l->work);
}

/* dW = dY^T X, dbias = the sum of dY; outputs as of any base. */
static void linear__trains_its_base(void **state)
{
    const shape s = {65, 33, 20, 0, true, 0, false};
    layer l = layer_open(s);
    float *dw = room_fill(s.N * s.K, 30);
    float *dbias = room_fill(s.N, 31);
    void *base = dense_base(&l, false);
    truth r = truth_open(&l);

    (void)state;
    l.lin.dw = dw;
    l.lin.dbias = dbias;
    run_trained(&l);
    check_outputs(&l, &r);
    take_off(dw, s.N * s.K, 30);
    take_off(dbias, s.N, 31);
    check_slope(dw, r.w, s.N * s.K, weighed, &r, 1e-5, "dW");
    check_slope(dbias, r.bias, s.N, weighed, &r, 1e-5, "dbias");
    room_close(dw, s.N * s.K);
    room_close(dbias, s.N);
    free(base);
    truth_close(&r);
    layer_close(&l);
}

/* More rows than are summed at a time; each sum is rounded where it is added to
 * what is there. */
static void linear__trains_a_base_in_bf16(void **state)
{
    const shape s = {9, 600, 20, 0, true, 0, false};
    const size_t n = s.N * s.K;
    layer l = layer_open(s);
    uint16_t *dw = calloc(n + 1, sizeof(*dw));
    void *base = dense_base(&l, true);
    truth r = truth_open(&l);

    (void)state;
    l.lin.dw16 = dw;
    dw[0] = ql_f32_to_bf16(8);
    dw[n] = 0x5a5a;
    run_trained(&l);
    check_outputs(&l, &r);
    for (size_t i = 0; i < n; i++) {
        double want = i == 0 ? 8 : 0;

        for (size_t t = 0; t < s.T; t++) {
            want += (double)l.dy[t * s.N + i / s.K] *
                    (double)l.x[t * s.K + i % s.K];
        }
        assert_true(fabs((double)ql_bf16_to_f32(dw[i]) - want) <=
                    0x1.01p-8 * fabs(want) + 1e-5);
    }
    assert_int_equal(dw[n], 0x5a5a);
    free(dw);
    free(base);
    truth_close(&r);
    layer_close(&l);
}

/* Layers that read the same x, as one call: with and without what makes a layer
 * more than one product. */
static void check_calls(const shape *of, size_t n)
{
    layer l[QL_LINEAR_CALLS];
    ql_linear_call calls[QL_LINEAR_CALLS];
    const size_t T = of[0].T;
    size_t bytes;
    void *work;

    for (size_t i = 0; i < n; i++) {
        l[i] = layer_open(of[i]);
        calls[i] =
            (ql_linear_call){&l[i].lin,
                             room_open(T * of[i].N),
                             {room_open(T * of[i].R), room_open(T * of[i].N)},
                             l[i].drop};
    }
    bytes = ql_linear_calls_bytes(calls, n, T);
    work = aligned_alloc(64, (bytes + 63) / 64 * 64);
    ql_linear_fwd_calls(calls, n, l[0].x, T, work);
    for (size_t i = 0; i < n; i++) {
        const size_t N = of[i].N;

        check_same(calls[i].y, l[i].y, T * N, "y");
        check_same(calls[i].kept.xa, l[i].kept.xa, T * of[i].R, "xa");
        room_close(calls[i].y, T * N);
        room_close(calls[i].kept.xa, T * of[i].R);
        room_close(calls[i].kept.u, T * N);
        layer_close(&l[i]);
    }
    free(work);
}

static void linear__calls_are_those_apart(void **state)
{
    static const shape groups[][QL_LINEAR_CALLS] = {
        {{65, 33, 77, 4, true, 0, false},
         {65, 20, 77, 0, true, 0, false},
         {65, 20, 77, 3, false, 0, false}},
        {{1, 64, 128, 4, false, 0, false},
         {1, 30, 128, 16, true, 0, false},
         {1, 30, 128, 0, false, 0, false}},
        {{9, 64, 128, 16, true, 0.5F, false},
         {9, 20, 128, 3, true, 0, true},
         {9, 20, 128, 3, false, 0, false}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        check_calls(groups[i], 2);
        check_calls(groups[i], 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear__agrees_with_double),
        cmocka_unit_test(linear__calls_are_those_apart),
        cmocka_unit_test(linear__does_not_depend_on_threads),
        cmocka_unit_test(linear__adds_and_leaves_out),
        cmocka_unit_test(linear__adds_with_magnitudes),
        cmocka_unit_test(linear__trains_its_base),
        cmocka_unit_test(linear__trains_a_base_in_bf16),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
