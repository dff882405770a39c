#include "tools/bench/bench_attention.h"

#include <math.h>
#include <omp.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/op/attention.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_race.h"
#include "tools/bench/bench_table.h"
#include "tools/cli/term.h"

static const bench_column columns[] = {
    {"head_size", "D", 4, 0},
    {"heads", "H", 3, 0},
    {"kv_heads", "KV", 3, 0},
    {"tokens", "T", 6, 0},
    {"sequences", "seq", 4, 0},
    {"pass", "", -3, BENCH_TEXT},
    {"threads", "thr", 3, 0},
    {"ms", "ms", 8, 2},
    {"gflops", "GFLOP/s", 7, 1},
    {"spread_percent", "+-%", 5, 1},
    {"fp32_peak_percent", "%fp32", 5, 1},
    {"bf16_peak_percent", "%bf16", 5, 1},
    {"over_one_thread", "x1", 4, 2},
};

enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0]),
    MOST_HEAD_SIZE = 1024,
    MOST_SEQUENCES = 4096
};

/* Both directions of one shape. */
typedef struct subject {
    ql_attention_shape s;
    size_t *start;               /* of the sequences */
    float *q, *k, *v, *o, *dout; /* k and v are as wide as q at most */
    float *dq, *dk, *dv, *lse;
    void *work;
} subject;

static void forward(void *arg)
{
    const subject *a = arg;

    ql_attention_fwd(a->o, a->lse, a->q, a->k, a->v, &a->s, a->work);
}

static void backward(void *arg)
{
    const subject *a = arg;
    const ql_attention_kept kept = {a->o, a->lse, a->q, a->k, a->v};

    ql_attention_bwd(a->dq, a->dk, a->dv, a->dout, &kept, &a->s, a->work);
}

/* A pass and its operations for each pair of tokens, head and element. */
static const struct {
    const char *name;
    bench_fn *run;
    double flop;
} passes[] = {
    {"fwd", forward, 4},   /* q k^T, p v */
    {"bwd", backward, 10}, /* q k^T again, dout v^T; dq, dk, dv */
};

enum {
    PASSES = sizeof(passes) / sizeof(passes[0])
};

static void close_subject(subject *a)
{
    float *const all[] = {a->q,  a->k,  a->v,  a->o,  a->dout,
                          a->dq, a->dk, a->dv, a->lse};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ql_free(all[i]);
    }
    ql_free(a->start);
    ql_free(a->work);
}

static float *random_floats(size_t n, uint64_t key)
{
    float *x = ql_alloc(QL_TAG_ACTIV, n, sizeof(*x));

    for (size_t i = 0; x && i < n; i++) {
        x[i] = 2 * (float)ql_rng_unit(key, i) - 1;
    }
    return x;
}

/* Sequences are equally long, or nearly so. */
static ql_status open_subject(subject *a, const bench_options *o, size_t D,
                              size_t sequences)
{
    const size_t n = o->length * o->heads * D;
    float **const all[] = {&a->q,  &a->k,  &a->v,  &a->o,  &a->dout,
                           &a->dq, &a->dk, &a->dv, &a->lse};

    *a = (subject){.s = {.T = o->length,
                         .H = o->heads,
                         .KV = o->kv_heads,
                         .D = D,
                         .sequences = sequences,
                         .scale = 1 / sqrtf((float)D)}};
    a->start = ql_alloc(QL_TAG_MISC, sequences + 1, sizeof(*a->start));
    if (!a->start) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i <= sequences; i++) {
        a->start[i] = o->length * i / sequences;
    }
    a->s.start = a->start;
    a->work = ql_alloc(QL_TAG_WORK, ql_attention_work_bytes(&a->s), 1);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = random_floats(n, i);
        if (!a->work || !*all[i]) {
            return QL_ENOMEM;
        }
    }
    return QL_OK;
}

/* Operations of a pass, in 10^9: of pairs of which one sees the other. */
static double gflop_of(const subject *a, double flop)
{
    double pairs = 0;

    for (size_t i = 0; i < a->s.sequences; i++) {
        const double n = (double)(a->start[i + 1] - a->start[i]);

        pairs += n * (n + 1) / 2;
    }
    return 1e-9 * flop * pairs * (double)(a->s.H * a->s.D);
}

static void show_row(const bench_table *t, const subject *a, size_t pass,
                     const bench_peaks *peaks,
                     const bench_rate rate[BENCH_COUNTS], int count)
{
    const double gflops = rate[count].median;
    const bench_cell cells[COLUMNS] = {
        bench_number((double)a->s.D),
        bench_number((double)a->s.H),
        bench_number((double)a->s.KV),
        bench_number((double)a->s.T),
        bench_number((double)a->s.sequences),
        bench_text(passes[pass].name),
        bench_number(count == BENCH_ONE ? 1 : omp_get_max_threads()),
        bench_number(1e3 * gflop_of(a, passes[pass].flop) / gflops),
        bench_number(gflops),
        bench_number(100 * rate[count].spread),
        bench_number(100 * gflops / peaks->gflops[BENCH_FP32][count]),
        bench_number(100 * gflops / peaks->gflops[BENCH_BF16][count]),
        bench_number(gflops / rate[BENCH_ONE].median),
    };

    bench_table_row(t, cells);
}

/* Both directions, by one thread and by all. The forward runs first: the
 * backward takes what it leaves. */
static void measure(const bench_table *t, subject *a, const bench_peaks *peaks,
                    const bench_pace *pace)
{
    const int counts = omp_get_max_threads() > 1 ? BENCH_COUNTS : 1;
    bench_runner r[PASSES][BENCH_COUNTS] = {0};

    for (size_t p = 0; p < PASSES; p++) {
        bench_rate rate[BENCH_COUNTS];

        for (int c = 0; c < counts; c++) {
            r[p][c] = (bench_runner){
                .run = passes[p].run,
                .arg = a,
                .threads = c == BENCH_ONE ? 1 : omp_get_max_threads()};
        }
        bench_race(r[p], (size_t)counts, pace);
        for (int c = 0; c < counts; c++) {
            rate[c] = bench_rate_of(r[p][c].seconds, r[p][c].n,
                                    gflop_of(a, passes[p].flop));
            show_row(t, a, p, peaks, rate, c);
        }
    }
}

/* What is asked for. */
typedef struct request {
    bench_numbers sizes, sequences;
} request;

static ql_status read_request(request *r, const bench_options *o)
{
    if (o->heads % o->kv_heads != 0) {
        QL_FAIL(QL_EINVAL, "--heads %zu is no multiple of --kv-heads %zu",
                o->heads, o->kv_heads);
    }
    QL_TRY(bench_numbers_read(&r->sizes, &o->head_sizes, "head-sizes",
                              MOST_HEAD_SIZE));
    return bench_numbers_read(&r->sequences, &o->sequences, "sequences",
                              o->length < MOST_SEQUENCES ? o->length
                                                         : MOST_SEQUENCES);
}

ql_status bench_attention(const bench_options *o, const cli_common *common)
{
    const bench_pace pace = {.least = 2, .race_s = 0.25, .sample_s = 5e-3};
    const bench_table t = {"attention", columns, COLUMNS, common->json};
    bench_peaks peaks = {0};
    request r;

    QL_TRY(read_request(&r, o));
    bench_machine_show(common->json, o->command);
    bench_peaks_measure(&peaks, &pace, true, common->json);
    bench_table_head(&t);
    for (size_t i = 0; i < r.sizes.n * r.sequences.n; i++) {
        ql_status st;
        subject a;

        st = open_subject(&a, o, r.sizes.of[i / r.sequences.n],
                          r.sequences.of[i % r.sequences.n]);
        if (st == QL_OK && !cli_interrupted()) {
            measure(&t, &a, &peaks, &pace);
        }
        close_subject(&a);
        QL_TRY(st);
    }
    if (cli_interrupted()) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    return QL_OK;
}
