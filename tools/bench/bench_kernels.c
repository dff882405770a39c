#include "tools/bench/bench_kernels.h"

#include <math.h>
#include <omp.h>

#include "src/base/fail.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_operands.h"
#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_race.h"
#include "tools/bench/bench_shapes.h"
#include "tools/bench/bench_table.h"
#include "tools/cli/term.h"

enum {
    MOST_TOKENS = 1 << 16,
    QUICK_TOKENS = 128
};

/* How a product is run, a row of the result each. */
typedef enum setup {
    SETUP_ONE,  /* one thread */
    SETUP_ALL,  /* all threads */
    SETUP_BUSY, /* all threads beside a foreign busy process */
    SETUPS
} setup;

/* Who takes part. Of those but ours the fastest of a setup counts. */
static const struct {
    bench_fn *run;
    setup setup;
    bool blas; /* starts OpenBLAS's own threads */
} entrants[] = {
    {bench_product_4bit, SETUP_ONE, false},
    {bench_product_sgemm, SETUP_ONE, false},
    {bench_product_4bit, SETUP_ALL, false},
    {bench_product_tiled, SETUP_ALL, false},
    {bench_product_sgemm, SETUP_ALL, true},
    {bench_product_4bit, SETUP_BUSY, false},
    {bench_product_tiled, SETUP_BUSY, false},
    {bench_product_sgemm, SETUP_BUSY, true},
};

enum {
    ENTRANTS = sizeof(entrants) / sizeof(entrants[0])
};

static const bench_column columns[] = {
    {"N", "N", 5, 0},
    {"K", "K", 5, 0},
    {"tokens", "T", 5, 0},
    {"pass", "", -3, BENCH_TEXT},
    {"threads", "thr", 3, 0},
    {"busy", "busy", 4, 0},
    {"gflops", "GFLOP/s", 7, 1},
    {"best", "best", 7, 1},
    {"spread_percent", "+-%", 5, 1},
    {"gflops_per_thread", "/thr", 6, 1},
    {"fp32_peak_percent", "%fp32", 5, 1},
    {"bf16_peak_percent", "%bf16", 5, 1},
    {"sgemm_gflops", "sgemm", 7, 1},
    {"sgemm_ratio", "ratio", 5, 2},
    {"over_one_thread", "x1", 4, 2},
    {"gbytes", "GB/s", 5, 1},
    {"memory_percent", "%mem", 5, 1},
};

enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0])
};

/* A run of the command. */
typedef struct session {
    bench_pace pace;
    bench_peaks peaks;
    bench_numbers tokens;
    size_t longest;
    size_t setups; /* the first so many are run */
    bench_table table;
} session;

/* Rates of one setup. */
typedef struct outcome {
    bench_rate ours;
    double rival; /* GFLOP/s */
} outcome;

static int threads_of(setup how)
{
    return how == SETUP_ONE ? 1 : omp_get_max_threads();
}

/* Operations of a product, in 10^9. */
static double gflop_of(const bench_product *p)
{
    return 2e-9 * (double)p->M * (double)(p->o->N * p->o->K);
}

static ql_status read_tokens(session *s, const bench_options *o)
{
    bench_numbers all;

    QL_TRY(bench_numbers_read(&all, &o->tokens, "tokens", MOST_TOKENS));
    for (size_t i = 0; i < all.n; i++) {
        const size_t T = all.of[i];

        if (!o->quick || T <= QUICK_TOKENS) {
            s->tokens.of[s->tokens.n++] = T;
            s->longest = T > s->longest ? T : s->longest;
        }
    }
    return QL_OK;
}

/* Before anything is measured. */
static ql_status check_shapes(const bench_options *o)
{
    const bench_shape *shape;

    for (size_t i = 0; i < o->shapes.n; i++) {
        QL_TRY(bench_shape_find(&shape, o->shapes.items[i]));
    }
    return QL_OK;
}

static void show_row(const session *s, const bench_product *p, setup how,
                     const outcome *out)
{
    const bench_operands *o = p->o;
    const int count = how == SETUP_ONE ? BENCH_ONE : BENCH_ALL;
    const double threads = threads_of(how);
    const bench_rate *r = &out[how].ours;
    const double gbytes = p->M == 1
                              ? 1e-9 * (double)bench_operands_packed_bytes(o) *
                                    (r->median / gflop_of(p))
                              : (double)NAN;
    const bench_cell cells[COLUMNS] = {
        bench_number((double)o->N),
        bench_number((double)o->K),
        bench_number((double)p->M),
        bench_text(p->backward ? "bwd" : "fwd"),
        bench_number(threads),
        bench_number(how == SETUP_BUSY),
        bench_number(r->median),
        bench_number(r->best),
        bench_number(100 * r->spread),
        bench_number(r->median / threads),
        bench_number(100 * r->median / s->peaks.gflops[BENCH_FP32][count]),
        bench_number(100 * r->median / s->peaks.gflops[BENCH_BF16][count]),
        bench_number(out[how].rival),
        bench_number(r->median / out[how].rival),
        bench_number(r->median / out[SETUP_ONE].ours.median),
        bench_number(gbytes),
        bench_number(100 * gbytes / s->peaks.gbytes[count]),
    };

    bench_table_row(&s->table, cells);
}

/* One product in all setups. */
static void measure(const session *s, bench_product *p)
{
    bench_runner r[ENTRANTS] = {0};
    outcome out[SETUPS] = {0};
    size_t n = 0;

    for (; n < ENTRANTS && entrants[n].setup < s->setups; n++) {
        const int threads = threads_of(entrants[n].setup);

        r[n] = (bench_runner){.run = entrants[n].run,
                              .arg = p,
                              .threads = threads,
                              .blas_threads = entrants[n].blas ? threads : 1,
                              .busy = entrants[n].setup == SETUP_BUSY};
    }
    bench_race(r, n, &s->pace);
    for (size_t i = 0; i < n; i++) {
        const bench_rate rate =
            bench_rate_of(r[i].seconds, r[i].n, gflop_of(p));
        outcome *of = &out[entrants[i].setup];

        if (entrants[i].run == bench_product_4bit) {
            of->ours = rate;
        } else {
            of->rival = fmax(of->rival, rate.median);
        }
    }
    for (size_t i = 0; i < s->setups; i++) {
        show_row(s, p, (setup)i, out);
    }
}

/* Both directions of a matrix, for all numbers of tokens. */
static ql_status measure_matrix(const session *s, size_t N, size_t K)
{
    bench_operands o;

    QL_TRY(bench_operands_init(&o, N, K, s->longest));
    for (size_t i = 0; i < s->tokens.n; i++) {
        for (int backward = 0; backward < 2 && !cli_interrupted(); backward++) {
            bench_product p = {
                .o = &o, .M = s->tokens.of[i], .backward = backward};

            measure(s, &p);
        }
    }
    bench_operands_free(&o);
    return QL_OK;
}

static ql_status measure_shape(const session *s, const char *name)
{
    const bench_shape *shape;

    QL_TRY(bench_shape_find(&shape, name));
    QL_TRY(measure_matrix(s, shape->C, shape->C));
    QL_TRY(measure_matrix(s, shape->F, shape->C));
    return measure_matrix(s, shape->C, shape->F);
}

static ql_status measure_all(session *s, const bench_options *o)
{
    const bool json = s->table.json;

    bench_machine_show(json, o->command);
    bench_peaks_measure(&s->peaks, &s->pace, true, json);
    QL_TRY(bench_memory_measure(&s->peaks, &s->pace, json));
    bench_table_head(&s->table);
    for (size_t i = 0; i < o->shapes.n; i++) {
        QL_TRY(measure_shape(s, o->shapes.items[i]));
    }
    if (cli_interrupted()) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    return QL_OK;
}

ql_status bench_kernels(const bench_options *o, const cli_common *common)
{
    const bool many = omp_get_max_threads() > 1;
    session s = {
        .pace = {.least = o->repeat, .race_s = 0.25, .sample_s = 5e-3},
        .setups = many ? SETUP_BUSY : SETUP_ALL,
        .table = {"product", columns, COLUMNS, common->json},
    };
    ql_status st;

    if (o->quick) {
        s.pace = (bench_pace){.least = 1, .race_s = 0, .sample_s = 2e-3};
    }
    QL_TRY(read_tokens(&s, o));
    QL_TRY(check_shapes(o));
    if (o->busy) {
        if (!many) {
            QL_FAIL(QL_EINVAL, "--busy needs at least two threads");
        }
        s.setups = SETUPS;
        QL_TRY(bench_busy_start());
    }
    st = measure_all(&s, o);
    bench_busy_stop();
    return st;
}
