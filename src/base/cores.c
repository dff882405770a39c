#define _GNU_SOURCE /* sched_getaffinity */

#include "src/base/cores.h"

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

/* True if an earlier allowed processor lies on the same core. */
static bool shares_core(const cpu_set_t *set, int cpu)
{
    const long core = topology(cpu, "core_id");
    const long package = topology(cpu, "physical_package_id");

    for (int i = 0; core >= 0 && i < cpu; i++) {
        if (CPU_ISSET(i, set) && topology(i, "core_id") == core &&
            topology(i, "physical_package_id") == package) {
            return true;
        }
    }
    return false;
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
    cpu_set_t set;
    int n = 0;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        n += CPU_ISSET(cpu, &set) && !shares_core(&set, cpu);
    }
    n = limit > 0 && limit < n ? limit : n;
    return n > 0 ? n : 1;
}
