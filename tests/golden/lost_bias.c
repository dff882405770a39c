#include "tests/golden/lost_bias.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/format/names.h"
#include "tests/check/check.h"

enum {
    ROUNDS = 12,
    NAME_BYTES = 300
};

static const double CLOSE = 1e-3; /* rms where slopes are taken the last time */
static const double STEP = 2e-3;  /* of a difference */

/* The least squares problem: n unknowns, N logits. */
typedef struct problem {
    ql_model *m;
    const reference_rows *rows;
    const char *dir;
    ql_run *run;
    ql_adapter adapter; /* that of lora.safetensors */
    size_t n, N;
    double *want;   /* [N] of the base, then with the adapter */
    float *got;     /* [N] */
    double *rest;   /* [N] */
    double *slopes; /* [n, N] */
    double *square; /* [n, n] */
    double *move;   /* [n] */
} problem;

/* The bias beside a weight c_attn: false if the tensor is none. */
static bool bias_of(char *name, const char *weight)
{
    static const char end[] = "attn.c_attn.weight";
    const size_t n = strlen(weight);

    if (!ql_name_ends(weight, end)) {
        return false;
    }
    snprintf(name, NAME_BYTES, "%.*sbias", (int)(n - strlen("weight")), weight);
    return true;
}

bool lost_bias_is(const char *dir)
{
    ql_safetensors *f = NULL;
    bool lost = false;

    if (!ql_path_exists(reference_path(dir, "model.safetensors"))) {
        return false;
    }
    check_ok(ql_safetensors_open(&f, reference_path(dir, "model.safetensors")));
    for (size_t i = 0; i < ql_safetensors_count(f); i++) {
        char name[NAME_BYTES];

        lost |= bias_of(name, ql_safetensors_at(f, i)->name) &&
                !ql_safetensors_find(f, name);
    }
    ql_safetensors_close(&f);
    return lost;
}

/* Announces, or writes, all tensors of f and a bias for each weight c_attn. */
static void copy_tensors(ql_safetensors_writer *w, const ql_safetensors *f,
                         bool data)
{
    for (size_t i = 0; i < ql_safetensors_count(f); i++) {
        const ql_tensor *t = ql_safetensors_at(f, i);
        char name[NAME_BYTES];

        if (data) {
            check_ok(ql_safetensors_writer_put(w, t->name, t->data));
        } else {
            check_ok(ql_safetensors_writer_add(w, t->name, t->dtype, t->shape,
                                               t->rank));
        }
        if (bias_of(name, t->name)) {
            float *zeros = calloc(t->shape[1], sizeof(float));

            check_ok(data ? ql_safetensors_writer_put(w, name, zeros)
                          : ql_safetensors_writer_add(w, name, QL_DTYPE_F32,
                                                      &t->shape[1], 1));
            free(zeros);
        }
    }
}

const char *lost_bias_copy(const char *dir)
{
    static char copy[4096];
    ql_safetensors *f = NULL;
    ql_safetensors_writer *w = NULL;

    snprintf(copy, sizeof(copy), "%s", check_tmp_path("gpt2"));
    check_ok(ql_dir_remove(copy));
    check_ok(ql_dir_make(copy));
    check_ok(ql_file_copy(reference_path(dir, "config.json"),
                          reference_path(copy, "config.json")));
    check_ok(ql_safetensors_open(&f, reference_path(dir, "model.safetensors")));
    check_ok(ql_safetensors_writer_open(
        &w, reference_path(copy, "model.safetensors")));
    copy_tensors(w, f, false);
    check_ok(ql_safetensors_writer_begin(w));
    copy_tensors(w, f, true);
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
    ql_safetensors_close(&f);
    return copy;
}

/* Unknown i: those of a layer are the biases of q, then of v. */
static float *unknown(const problem *p, size_t i)
{
    const size_t wide = p->m->config.H * p->m->config.D;
    const ql_linear *lin =
        &p->m->weights.layers[i / (2 * wide)].linear[QL_MODULE_Q];
    const size_t at = i % (2 * wide);

    return (float *)(uintptr_t)lin->bias + (at < wide ? at : at + wide);
}

/* Logits of the base, then with the adapter. Returns the sum of squares of what
 * they are off. */
static double evaluate(problem *p)
{
    const ql_batch *b = &p->rows->batch;
    const size_t half = p->N / 2;
    size_t *all = malloc(b->T * sizeof(*all));
    double sum = 0;

    for (size_t t = 0; t < b->T; t++) {
        all[t] = t;
    }
    ql_model_use_adapter(p->m, NULL);
    ql_run_logits(p->run, b, all, b->T, p->got);
    ql_model_use_adapter(p->m, &p->adapter);
    ql_run_logits(p->run, b, all, b->T, p->got + half);
    for (size_t i = 0; i < p->N; i++) {
        p->rest[i] = (double)p->got[i] - p->want[i];
        sum += p->rest[i] * p->rest[i];
    }
    free(all);
    return sum;
}

/* Slopes of all logits by each unknown, and their products. */
static void take_slopes(problem *p)
{
    double *before = malloc(p->N * sizeof(double));

    evaluate(p);
    memcpy(before, p->rest, p->N * sizeof(double));
    for (size_t i = 0; i < p->n; i++) {
        float *x = unknown(p, i);
        const float keep = *x;

        *x += (float)STEP;
        evaluate(p);
        for (size_t k = 0; k < p->N; k++) {
            p->slopes[i * p->N + k] = (p->rest[k] - before[k]) / STEP;
        }
        *x = keep;
    }
    for (size_t i = 0; i < p->n * p->n; i++) {
        const double *a = p->slopes + i / p->n * p->N;
        const double *b = p->slopes + i % p->n * p->N;

        p->square[i] = 0;
        for (size_t k = 0; i % p->n <= i / p->n && k < p->N; k++) {
            p->square[i] += a[k] * b[k];
        }
    }
    free(before);
}

/* The lower triangle of square becomes its Cholesky factor; a little is added
 * to the diagonal, for what logits do not tell. */
static void factorize(problem *p)
{
    const size_t n = p->n;
    double *a = p->square;
    double trace = 0;

    for (size_t i = 0; i < n; i++) {
        trace += a[i * n + i];
    }
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] += 1e-8 * trace / (double)n;
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];

            for (size_t k = 0; k < j; k++) {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    }
}

/* Moves the unknowns to where the slopes say that nothing is off. */
static void step(problem *p)
{
    const size_t n = p->n;
    const double *a = p->square;

    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (size_t k = 0; k < p->N; k++) {
            sum -= p->slopes[i * p->N + k] * p->rest[k];
        }
        for (size_t k = 0; k < i; k++) {
            sum -= a[i * n + k] * p->move[k];
        }
        p->move[i] = sum / a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        double sum = p->move[i];

        for (size_t k = i + 1; k < n; k++) {
            sum -= a[k * n + i] * p->move[k];
        }
        p->move[i] = sum / a[i * n + i];
    }
    for (size_t i = 0; i < n; i++) {
        *unknown(p, i) += (float)p->move[i];
    }
}

static void solve(problem *p)
{
    double rms = HUGE_VAL;

    for (int round = 0; round < ROUNDS; round++) {
        const double before = rms;

        if (rms > CLOSE) {
            take_slopes(p);
            factorize(p);
        }
        evaluate(p);
        step(p);
        rms = sqrt(evaluate(p) / (double)p->N);
        print_message("  biases of c_attn: logits off by %.2g\n", rms);
        if (rms > 0.9 * before) {
            break;
        }
    }
}

/* The golden logits of a file, rows without padding. */
static void take_logits(const problem *p, const char *file, double *want)
{
    const size_t V = p->m->config.V;
    ql_safetensors *f = NULL;
    double *all;

    check_ok(ql_safetensors_open(&f, reference_path(p->dir, file)));
    all = reference_doubles(f, "logits");
    for (size_t t = 0; t < p->rows->batch.T; t++) {
        memcpy(want + t * V, all + p->rows->place[t] * V, V * sizeof(double));
    }
    free(all);
    ql_safetensors_close(&f);
}

static void make_adapter(problem *p)
{
    ql_safetensors *f = NULL;
    reference_adapter r;

    check_ok(
        ql_safetensors_open(&f, reference_path(p->dir, "lora.safetensors")));
    reference_adapter_load(&r, reference_path(p->dir, "lora.json"), f,
                           p->m->config.arch);
    check_ok(ql_adapter_make(&p->adapter, &p->m->config, &p->m->weights, &r.o,
                             1, false));
    reference_adapter_init(&p->adapter, f);
    reference_adapter_free(&r);
    ql_safetensors_close(&f);
}

void lost_bias_find(ql_model *m, const char *dir, const reference_rows *rows)
{
    const size_t T = rows->batch.T;
    const ql_run_options opt = {.max_tokens = T,
                                .max_length = reference_longest(&rows->batch),
                                .max_sequences = rows->batch.sequences};
    const ql_config *c = &m->config;
    problem p = {.m = m,
                 .rows = rows,
                 .dir = dir,
                 .n = c->layers * 2 * c->H * c->D,
                 .N = 2 * T * c->V};

    make_adapter(&p);
    ql_model_use_adapter(m, &p.adapter);
    check_ok(ql_run_open(&p.run, m, &opt));
    p.want = malloc(p.N * sizeof(double));
    p.got = malloc(p.N * sizeof(float));
    p.rest = malloc(p.N * sizeof(double));
    p.slopes = malloc(p.n * p.N * sizeof(double));
    p.square = malloc(p.n * p.n * sizeof(double));
    p.move = malloc(p.n * sizeof(double));
    take_logits(&p, "golden.safetensors", p.want);
    take_logits(&p, "lora.safetensors", p.want + p.N / 2);
    solve(&p);
    ql_run_close(&p.run);
    ql_model_use_adapter(m, NULL);
    ql_adapter_free(&p.adapter);
    free(p.want);
    free(p.got);
    free(p.rest);
    free(p.slopes);
    free(p.square);
    free(p.move);
}
