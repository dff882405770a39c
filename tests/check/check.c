#define _XOPEN_SOURCE 700 /* mkdtemp, readlink */

#include "tests/check/check.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quant/kernels.h"
#include "src/base/file.h"
#include "src/base/rng.h"

ql_runtime_options check_runtime = {.compute = QL_COMPUTE_FP32};

/* Every test program runs on the instruction set that QL_ISA names, so that
 * whole suites can be repeated for each. */
__attribute__((constructor)) static void choose_isa(void)
{
    const char *isa = getenv("QL_ISA");

    if (!isa || !*isa) {
        return;
    }
    if (!ql_kernels_choose(isa)) {
        printf("SKIP: this machine cannot run QL_ISA=%s\n", isa);
        exit(77);
    }
    check_runtime.compute = QL_COMPUTE_AUTO;
}

enum {
    BUFFERS = 8,
    PATH_BYTES = 4096
};

static const char *join(const char *dir, const char *name)
{
    static char paths[BUFFERS][PATH_BYTES];
    static size_t next;
    char *path = paths[next++ % BUFFERS];

    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    return path;
}

static const char *shared_dir(void)
{
    const char *dir = getenv("QL_SHARED");

    return dir && *dir ? dir : "../shared";
}

const char *check_shared(const char *relative)
{
    return join(shared_dir(), relative);
}

void check_need_shared(void)
{
    if (!ql_path_is_dir(shared_dir())) {
        printf("SKIP: no reference data at %s (set QL_SHARED)\n", shared_dir());
        exit(77);
    }
}

static char tmp_dir[] = "/tmp/qlora-test-XXXXXX";

static void remove_tmp(void)
{
    ql_dir_remove(tmp_dir);
}

const char *check_tmp(void)
{
    static bool made;

    if (!made) {
        if (!mkdtemp(tmp_dir)) {
            perror("mkdtemp");
            exit(1);
        }
        made = true;
        atexit(remove_tmp);
    }
    return tmp_dir;
}

const char *check_tmp_path(const char *name)
{
    return join(check_tmp(), name);
}

void check_failed(ql_status got, ql_status want, const char *text,
                  const char *call)
{
    if (got != want) {
        fail_msg("%s: %s instead of %s (%s)", call, ql_status_name(got),
                 ql_status_name(want), ql_last_error());
    }
    if (!strstr(ql_last_error(), text)) {
        fail_msg("%s: \"%s\" is not in \"%s\"", call, text, ql_last_error());
    }
}

bool check_lacked(long n, ql_status st, const char *call)
{
    ql_alloc_fail_after(-1);
    if (st != QL_OK && st != QL_ENOMEM) {
        fail_msg("%s, allocation %ld: %s: %s", call, n, ql_status_name(st),
                 ql_last_error());
    }
    return st == QL_OK;
}

void check_close(const float *got, const double *want, size_t n,
                 double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - want[i]);

        if (!(d <= tolerance)) {
            fail_msg("%s[%zu]: %.9g, but %.9g is right (off by %.3g, allowed "
                     "%.3g)",
                     what, i, (double)got[i], want[i], d, tolerance);
        }
    }
}

double check_distance(const float *got, const double *want, size_t n)
{
    double off = 0;
    double size = 0;

    for (size_t i = 0; i < n; i++) {
        off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    if (off == 0) {
        return 0;
    }
    return size > 0 ? sqrt(off / size) : HUGE_VAL;
}

double check_ulps(float got, double want)
{
    int exponent;

    frexp(fmax(fabs(want), 0x1p-126), &exponent);
    return fabs((double)got - want) / ldexp(1, exponent - 24);
}

uint64_t check_seed(void)
{
    static bool known;
    static uint64_t seed = 20260101;
    const char *text = getenv("QL_SEED");

    if (!known) {
        known = true;
        if (text && *text) {
            seed = strtoull(text, NULL, 0);
        }
        printf("QL_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

void check_fill(float *x, size_t n, uint64_t salt)
{
    const uint64_t key = ql_rng_split(check_seed(), salt);

    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(2 * ql_rng_unit(key, i) - 1);
    }
}

int check_open_file(const char *text)
{
    DIR *dir = opendir("/proc/self/fd");
    int found = -1;

    for (struct dirent *e = NULL; dir && (e = readdir(dir));) {
        char link[64];
        char path[PATH_BYTES];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%.20s", e->d_name);
        n = readlink(link, path, sizeof(path) - 1);
        path[n > 0 ? n : 0] = '\0';
        if (strstr(path, text)) {
            found = (int)strtol(e->d_name, NULL, 10);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}
