#include "tools/bench/bench_peaks.h"

#include <omp.h>
#include <string.h>

#include "quant/cpu.h"
#include "src/base/alloc.h"
#include "tools/bench/bench_table.h"

extern const bench_peak bench_peak_generic;

#if defined(__x86_64__)

extern const bench_peak bench_peak_avx2;
extern const bench_peak bench_peak_avx512;
extern const bench_peak bench_peak_avx512bf16;

static const bench_peak *const loops[] = {
    &bench_peak_generic,
    &bench_peak_avx2,
    &bench_peak_avx512,
    &bench_peak_avx512bf16,
};

#elif defined(__aarch64__)

extern const bench_peak bench_peak_neon;
extern const bench_peak bench_peak_neonbf16;

static const bench_peak *const loops[] = {
    &bench_peak_generic,
    &bench_peak_neon,
    &bench_peak_neonbf16,
};

#else

static const bench_peak *const loops[] = {
    &bench_peak_generic,
};

#endif

enum {
    LOOPS = sizeof(loops) / sizeof(loops[0]),
    TURNS = 1 << 19,           /* of a loop in a call */
    BUFFER = 256 * 1024 * 1024 /* far beyond the caches */
};

static const char *const type_names[BENCH_TYPES] = {"fp32", "bf16"};

static bool runnable(const bench_peak *p)
{
    return (p->cpu_need & ~ql_cpu_bits()) == 0;
}

static void compute(void *arg)
{
    const bench_peak **loop = arg;

#pragma omp parallel
    {
        volatile float sink = (*loop)->run(TURNS);

        (void)sink;
    }
}

static void raise_to(double *x, double y)
{
    *x = y > *x ? y : *x;
}

static void show_loop(const bench_peak *p, const bench_rate rate[BENCH_COUNTS],
                      bool json)
{
    static const bench_column columns[] = {
        {"isa", "peak of", -12, BENCH_TEXT},
        {"type", "type", -4, BENCH_TEXT},
        {"gflops_one_thread", "GFLOP/s x1", 10, 1},
        {"gflops", "all", 8, 1},
        {"spread_percent", "+-%", 5, 1},
    };
    const bench_table t = {"peak", columns, 5, json};
    const bench_cell cells[] = {
        bench_text(p->isa),
        bench_text(type_names[p->type]),
        bench_number(rate[BENCH_ONE].best),
        bench_number(rate[BENCH_ALL].best),
        bench_number(100 * rate[BENCH_ALL].spread),
    };

    if (p == loops[0]) {
        bench_table_head(&t);
    }
    bench_table_row(&t, cells);
}

static int threads_of(int count)
{
    return count == BENCH_ONE ? 1 : omp_get_max_threads();
}

void bench_peaks_measure(bench_peaks *p, const bench_pace *pace, bool show,
                         bool json)
{
    bench_runner r[LOOPS * BENCH_COUNTS] = {0};
    const bench_peak *of[LOOPS * BENCH_COUNTS];
    size_t n = 0;

    for (size_t i = 0; i < LOOPS; i++) {
        for (int c = 0; runnable(loops[i]) && c < BENCH_COUNTS; c++) {
            of[n] = loops[i];
            r[n] = (bench_runner){
                .run = compute, .arg = &of[n], .threads = threads_of(c)};
            n++;
        }
    }
    bench_race(r, n, pace);
    for (size_t i = 0; i < n; i += BENCH_COUNTS) {
        bench_rate rate[BENCH_COUNTS];

        for (int c = 0; c < BENCH_COUNTS; c++) {
            const size_t flop = TURNS * of[i]->flop * (size_t)threads_of(c);

            rate[c] = bench_rate_of(r[i + c].seconds, r[i + c].n,
                                    1e-9 * (double)flop);
            /* without bf16 instructions bf16 is computed as fp32 */
            for (int type = of[i]->type; type < BENCH_TYPES; type++) {
                raise_to(&p->gflops[type][c], rate[c].best);
            }
        }
        if (show) {
            show_loop(of[i], rate, json);
        }
    }
}

/* Reads the whole buffer once. */
static void read_buffer(void *arg)
{
    const uint64_t *x = arg;
    volatile uint64_t sink;
    uint64_t sum = 0;

#pragma omp parallel for simd reduction(+ : sum) schedule(static)
    for (size_t i = 0; i < BUFFER / sizeof(*x); i++) {
        sum += x[i];
    }
    sink = sum;
    (void)sink;
}

static void show_memory(const bench_rate rate[BENCH_COUNTS], bool json)
{
    static const bench_column columns[] = {
        {"gbytes_one_thread", "memory: reading, GB/s x1", 24, 1},
        {"gbytes", "all", 8, 1},
        {"spread_percent", "+-%", 5, 1},
    };
    const bench_table t = {"memory", columns, 3, json};
    const bench_cell cells[] = {
        bench_number(rate[BENCH_ONE].best),
        bench_number(rate[BENCH_ALL].best),
        bench_number(100 * rate[BENCH_ALL].spread),
    };

    bench_table_head(&t);
    bench_table_row(&t, cells);
}

ql_status bench_memory_measure(bench_peaks *p, const bench_pace *pace,
                               bool json)
{
    bench_runner r[BENCH_COUNTS] = {0};
    bench_rate rate[BENCH_COUNTS];
    void *buffer = ql_alloc(QL_TAG_MISC, BUFFER, 1);

    if (!buffer) {
        return QL_ENOMEM;
    }
    memset(buffer, 1, BUFFER); /* else all pages are one page of zeros */
    for (int c = 0; c < BENCH_COUNTS; c++) {
        r[c] = (bench_runner){
            .run = read_buffer, .arg = buffer, .threads = threads_of(c)};
    }
    bench_race(r, BENCH_COUNTS, pace);
    for (int c = 0; c < BENCH_COUNTS; c++) {
        rate[c] = bench_rate_of(r[c].seconds, r[c].n, 1e-9 * BUFFER);
        raise_to(&p->gbytes[c], rate[c].best);
    }
    show_memory(rate, json);
    ql_free(buffer);
    return QL_OK;
}
