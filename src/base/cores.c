#define _GNU_SOURCE /* sched_setaffinity */

#include "src/base/cores.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

enum {
    MAX_CPUS = CPU_SETSIZE
};

/* A number in a file of one line, -1 if it cannot be read. */
static long read_number(const char *path)
{
    FILE *f = fopen(path, "r");
    long n = -1;

    if (f) {
        if (fscanf(f, "%ld", &n) != 1) {
            n = -1;
        }
        fclose(f);
    }
    return n;
}

static long topology(int cpu, const char *what)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s",
             cpu, what);
    return read_number(path);
}

/* The physical cores among the processors that the affinity mask allowed at
 * the first look: binding threads narrows the mask. */
static struct {
    int n;
    int core[MAX_CPUS]; /* of each processor, -1: not allowed */
} allowed;

/* The core of an earlier allowed processor that this one shares, or -1. */
static int shared_core(int cpu)
{
    const long core = topology(cpu, "core_id");
    const long package = topology(cpu, "physical_package_id");

    for (int i = 0; core >= 0 && i < cpu; i++) {
        if (allowed.core[i] >= 0 && topology(i, "core_id") == core &&
            topology(i, "physical_package_id") == package) {
            return allowed.core[i];
        }
    }
    return -1;
}

static void find_allowed(void)
{
    cpu_set_t set;
    const bool known = sched_getaffinity(0, sizeof(set), &set) == 0;

    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        allowed.core[cpu] = -1;
        if (known && CPU_ISSET(cpu, &set)) {
            const int shared = shared_core(cpu);

            allowed.core[cpu] = shared >= 0 ? shared : allowed.n++;
        }
    }
}

static void look(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_allowed);
}

/* Processors' worth of time that the control group grants, 0: no limit. */
static int granted(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    double quota = 0;
    double period = 0;
    bool limited = false;

    if (f) {
        limited = fscanf(f, "%lf %lf", &quota, &period) == 2;
        fclose(f);
    } else {
        quota = (double)read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
        period = (double)read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
        limited = true;
    }
    if (!limited || quota <= 0 || period <= 0 || quota / period > MAX_CPUS) {
        return 0;
    }
    return (int)(quota / period + 0.999);
}

int ql_cores(void)
{
    const int limit = granted();
    int n;

    look();
    n = limit > 0 && limit < allowed.n ? limit : allowed.n;
    return n > 0 ? n : 1;
}

void ql_cores_bind(int thread, int threads)
{
    cpu_set_t set;

    look();
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (allowed.core[cpu] >= 0 &&
            (threads != allowed.n || allowed.core[cpu] == thread)) {
            CPU_SET(cpu, &set);
        }
    }
    /* A thread that cannot be bound runs where it did. */
    (void)sched_setaffinity(0, sizeof(set), &set);
}
