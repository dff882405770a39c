#include "tools/bench/bench_race.h"

#include <cblas.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/cores.h"
#include "src/base/fail.h"
#include "tools/cli/term.h"

enum {
    BUSY_SAMPLES = 20 /* a busy sample is so many others long: longer than
                         the turns that the system gives to processes */
};

static pid_t foreign; /* 0: none */

ql_status bench_busy_start(void)
{
    foreign = fork();
    if (foreign == 0) {
        volatile unsigned long turns = 0;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ql_cores_bind(0, 0); /* anywhere */
        raise(SIGSTOP);
        for (;;) {
            turns++;
        }
    }
    if (foreign < 0 || waitpid(foreign, NULL, WUNTRACED) != foreign) {
        return ql_fail_errno("cannot start a process");
    }
    return QL_OK;
}

void bench_busy_stop(void)
{
    if (foreign > 0) {
        kill(foreign, SIGKILL);
        waitpid(foreign, NULL, 0);
    }
    foreign = 0;
}

double bench_cpu_s(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static double timed(const bench_runner *r, size_t calls)
{
    const double start = ql_now_s();

    for (size_t i = 0; i < calls; i++) {
        r->run(r->arg);
    }
    return (ql_now_s() - start) / (double)calls;
}

/* OpenBLAS's threads go on spinning after a product; what is measured next
 * must not have them beside it. */
static void let_blas_sleep(void)
{
    const struct timespec spin = {.tv_nsec = 40 * 1000 * 1000};

    openblas_set_num_threads(1);
    nanosleep(&spin, NULL);
}

/* One sample. The first call of all is to warm up and to see how many make up
 * a sample; if it alone is long enough, it is one. */
static void take(bench_runner *r, double sample_s)
{
    if (r->calls == 0) {
        const double once = timed(r, 1);

        r->calls = 1 + (size_t)(sample_s / once);
        if (r->calls == 1) {
            r->seconds[r->n++] = once;
            return;
        }
    }
    r->seconds[r->n++] = timed(r, r->calls);
}

static void take_turn(bench_runner *r, double sample_s)
{
    omp_set_num_threads(r->threads);
    if (r->blas_threads > 1) {
        openblas_set_num_threads(r->blas_threads);
    }
    if (r->busy) {
        kill(foreign, SIGCONT);
    }
    take(r, r->busy ? BUSY_SAMPLES * sample_s : sample_s);
    if (r->busy) {
        kill(foreign, SIGSTOP);
    }
    if (r->blas_threads > 1) {
        let_blas_sleep();
    }
}

void bench_race(bench_runner *r, size_t n, const bench_pace *pace)
{
    const int threads = omp_get_max_threads();
    const double start = ql_now_s();
    size_t round = 0;

    do {
        for (size_t i = 0; i < n; i++) {
            take_turn(&r[i], pace->sample_s);
        }
        round++;
    } while (!cli_interrupted() && round < BENCH_ROUNDS &&
             (round < pace->least || ql_now_s() - start < pace->race_s));
    omp_set_num_threads(threads);
}
