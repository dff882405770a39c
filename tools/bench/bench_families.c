#include "tools/bench/bench_families.h"

#include <string.h>

#include "src/base/fail.h"
#include "tools/bench/bench_table.h"

/* The steps of one round. */
static ql_status run_round(bench_family *f, size_t n, bench_trial *reference,
                           size_t round)
{
    bench_time before;

    QL_TRY(bench_trial_run(reference, &before));
    for (size_t i = 0; i < n; i++) {
        bench_family *own = &f[bench_turn(round, i, n)];
        bench_time behind;

        QL_TRY(bench_trial_step(&own->trial));
        QL_TRY(bench_trial_run(reference, &behind));
        own->seconds[round] = (before.seconds + behind.seconds) / 2;
        own->cpu[round] = (before.cpu + behind.cpu) / 2;
        own->rounds++;
        before = behind;
    }
    return QL_OK;
}

ql_status bench_families_run(bench_family *f, size_t n, bench_trial *reference,
                             size_t rounds)
{
    bench_time none;

    QL_TRY(bench_trial_run(reference, &none));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(bench_trial_run(&f[i].trial, &none));
    }
    for (size_t round = 0; round < rounds; round++) {
        QL_TRY(run_round(f, n, reference, round));
    }
    return QL_OK;
}

/* Of shares of peak: the same as that of times for a product parameter. */
static bench_ratio compare(const bench_family *f, const double *ours,
                           const bench_trial *reference, const double *theirs)
{
    const size_t P = bench_product_parameters(&f->trial.model->config);
    const size_t Q = bench_product_parameters(&reference->model->config);
    double scratch[BENCH_STEPS];

    return bench_ratio_of(scratch, ours, theirs, f->rounds,
                          (double)P / (double)Q);
}

static void show_one(const bench_table *table, const bench_family *f,
                     const bench_trial *reference, const bench_peaks *p)
{
    const bench_trial *t = &f->trial;
    const bench_ratio wall = compare(f, t->seconds, reference, f->seconds);
    const bench_ratio cpu = compare(f, t->cpu, reference, f->cpu);
    const bench_rate rate = bench_trial_rate(t);
    const double gflops = bench_trial_gflops(t, rate.median);
    const double *const peak[] = {p->gflops[BENCH_FP32], p->gflops[BENCH_BF16]};

    bench_table_row(table, (const bench_cell[]){
                               bench_text(t->shape.model_type),
                               bench_number((double)f->rounds),
                               bench_number(rate.median),
                               bench_number(100 * gflops / peak[0][BENCH_ALL]),
                               bench_number(100 * gflops / peak[1][BENCH_ALL]),
                               bench_number(wall.median),
                               bench_number(wall.low),
                               bench_number(wall.high),
                               bench_number(cpu.median),
                               bench_number(cpu.low),
                               bench_number(cpu.high),
                               bench_number(cpu.best),
                           });
}

void bench_families_show(const bench_family *f, size_t n,
                         const bench_trial *reference, const bench_peaks *p,
                         bool json)
{
    static const bench_column columns[] = {
        {"family", "family", -12, BENCH_TEXT},
        {"rounds", "rounds", 6, 0},
        {"tokens_per_second", "tokens/s", 9, 2},
        {"fp32_peak_percent", "fp32 %", 6, 1},
        {"bf16_peak_percent", "bf16 %", 6, 1},
        {"ratio", "ratio", 7, 3},
        {"ratio_low", "from", 6, 3},
        {"ratio_high", "to", 6, 3},
        {"cpu_ratio", "by cpu s", 10, 3},
        {"cpu_ratio_low", "from", 6, 3},
        {"cpu_ratio_high", "to", 6, 3},
        {"cpu_ratio_best", "best", 6, 3},
    };
    const bench_table table = {"families", columns,
                               sizeof(columns) / sizeof(columns[0]), json};

    bench_table_head(&table);
    for (size_t i = 0; i < n; i++) {
        if (f[i].rounds > 0) {
            show_one(&table, &f[i], reference, p);
        }
    }
}

void bench_families_profile(const bench_family *f, size_t n, bool json)
{
    bench_column columns[QL_WORK_KINDS + 1] = {
        {"family", "s a step", -12, BENCH_TEXT}};
    const bench_table table = {"profiles", columns, QL_WORK_KINDS + 1, json};
    bench_cell cells[QL_WORK_KINDS + 1];

    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        const char *name = ql_work_names[kind];
        const int width = (int)strlen(name);

        columns[kind + 1] =
            (bench_column){name, name, width < 7 ? 7 : width, 4};
    }
    bench_table_head(&table);
    for (size_t i = 0; i < n; i++) {
        const bench_trial *t = &f[i].trial;

        cells[0] = bench_text(t->shape.model_type);
        for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
            cells[kind + 1] = bench_number(t->work[kind] / (double)t->steps);
        }
        if (t->steps > 0) {
            bench_table_row(&table, cells);
        }
    }
}
