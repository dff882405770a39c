#include "tools/bench/bench_families.h"

#include <string.h>

#include "tools/bench/bench_table.h"

/* Of shares of peak: the same as that of times for a product parameter. */
static bench_ratio compare(const bench_trial *t, const double *ours,
                           const bench_trial *first, const double *theirs)
{
    const double P = (double)bench_product_parameters(&t->model->config);
    const double Q = (double)bench_product_parameters(&first->model->config);
    const size_t n = t->steps < first->steps ? t->steps : first->steps;
    double scratch[BENCH_STEPS];

    return bench_ratio_of(scratch, ours, theirs, n, P / Q);
}

static void show_one(const bench_table *table, const bench_trial *t,
                     const bench_trial *first, const bench_peaks *p)
{
    const bench_ratio wall = compare(t, t->seconds, first, first->seconds);
    const bench_ratio cpu = compare(t, t->cpu, first, first->cpu);
    const bench_rate rate = bench_trial_rate(t);
    const double gflops = bench_trial_gflops(t, rate.median);
    const double *const peak[] = {p->gflops[BENCH_FP32], p->gflops[BENCH_BF16]};

    bench_table_row(table, (const bench_cell[]){
                               bench_text(t->shape.model_type),
                               bench_number((double)t->steps),
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

void bench_families_show(const bench_trial *t, size_t n, const bench_peaks *p,
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
        if (t[i].steps > 0) {
            show_one(&table, &t[i], &t[0], p);
        }
    }
}

void bench_families_profile(const bench_trial *t, size_t n, bool json)
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
        cells[0] = bench_text(t[i].shape.model_type);
        for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
            cells[kind + 1] =
                bench_number(t[i].work[kind] / (double)t[i].steps);
        }
        if (t[i].steps > 0) {
            bench_table_row(&table, cells);
        }
    }
}
