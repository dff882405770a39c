/* The linear layer with its LoRA pair, on a 4-bit base, against its formula in
 * double: outputs, and gradients of the input and of both matrices. Dropout is
 * taken as a given mask. */
#include "src/op/linear.h"

#include "quant/codec.h"
#include "src/op/gemm.h"
#include "src/op/vec.h"
#include "tests/grad/grad.h"

/* Odd widths: blocks of 64 cross the rows. */
typedef struct shape {
    size_t T, N, K, R;
    bool bias;
    float p;
} shape;

static const shape shapes[] = {
    {1, 3, 5, 1, false, 0},       {7, 20, 36, 3, true, 0},
    {65, 33, 77, 4, false, 0.3F}, {9, 64, 128, 16, true, 0.5F},
    {130, 50, 127, 2, true, 0},   {5, 40, 30, 0, true, 0},
    {1, 70, 128, 5, false, 0},    {4, 33, 192, 3, false, 0.2F},
};

/* All arrays of one layer and one call. */
typedef struct layer {
    shape s;
    ql_linear lin;
    ql_drop drop;
    uint8_t *packed;
    float *absmax, *bias, *a, *b, *da, *db;
    float *x, *y, *xa, *dy, *dx;
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
    l.xa = room_open(s.T * s.R);
    l.dx = room_open(s.T * s.K);
    l.lin.bias = s.bias ? l.bias : NULL;
    l.lin.lora = (ql_lora){
        .r = s.R, .scale = 0.75F, .a = l.a, .b = l.b, .da = l.da, .db = l.db};
    l.work =
        aligned_alloc(64, (ql_linear_work_bytes(&l.lin, s.T) + 63) / 64 * 64);
    ql_linear_fwd(l.y, false, l.xa, l.x, &l.lin, s.T, l.drop, l.work);
    ql_linear_bwd(l.dx, false, l.dy, l.x, l.xa, &l.lin, s.T, l.drop, l.work);
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
    room_close(l->xa, s.T * s.R);
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
        y[n] = r->bias_on ? r->bias[n] : 0;
        for (size_t k = 0; k < s.K; k++) {
            y[n] += r->x[t * s.K + k] * r->w[n * s.K + k];
        }
        for (size_t i = 0; i < s.R; i++) {
            y[n] += r->scale * xa[i] * r->b[n * s.R + i];
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

static void check_shape(shape s)
{
    layer l = layer_open(s);
    truth r = truth_open(&l);
    double *y = malloc(s.T * s.N * sizeof(double));

    for (size_t t = 0; t < s.T; t++) {
        forward_row(y + t * s.N, &r, t);
    }
    check_near(l.y, y, s.T * s.N, 1e-6, "y");
    check_slope(l.dx, r.x, s.T * s.K, weighed, &r, 1e-5, "dx");
    take_off(l.da, s.R * s.K, 5);
    take_off(l.db, s.N * s.R, 6);
    if (s.R > 0) {
        check_slope(l.da, r.a, s.R * s.K, weighed, &r, 1e-5, "dA");
        check_slope(l.db, r.b, s.N * s.R, weighed, &r, 1e-5, "dB");
    }
    free(y);
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
    const shape s = {130, 70, 127, 4, true, 0.2F};
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
        layer_close(&l);
    }
    layer_close(&first);
}

/* Adding to an output, and the parts that may be left out. */
static void linear__adds_and_leaves_out(void **state)
{
    const shape s = {6, 20, 36, 3, true, 0};
    const size_t n = s.T * s.N;
    layer l = layer_open(s);
    float *twice = room_fill(n, 20);
    float *xa = room_open(s.T * s.R);

    (void)state;
    ql_linear_fwd(twice, true, l.xa, l.x, &l.lin, s.T, l.drop, l.work);
    take_off(twice, n, 20);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(twice[i] - l.y[i]) < 1e-5F);
    }
    ql_linear_xa(xa, l.x, &l.lin, s.T, l.drop, l.work);
    assert_memory_equal(xa, l.xa, s.T * s.R * sizeof(float));
    take_off(l.da, s.R * s.K, 5);
    l.lin.lora.da = NULL;
    ql_linear_bwd(NULL, false, l.dy, l.x, l.xa, &l.lin, s.T, l.drop, l.work);
    room_close(twice, n);
    room_close(xa, s.T * s.R);
    layer_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear__agrees_with_double),
        cmocka_unit_test(linear__does_not_depend_on_threads),
        cmocka_unit_test(linear__adds_and_leaves_out),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
