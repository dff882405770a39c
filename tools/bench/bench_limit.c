#include "tools/bench/bench_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Where a version of control groups has its folders, and its files. */
typedef struct version {
    const char *controller; /* in /proc/self/cgroup */
    const char *mount, *limit, *peak;
    const char *swap_limit, *swap;
    const char *swap_line; /* what its line begins with */
    bool with_memory;      /* swap_limit is one on the sum of both */
} version;

static const version versions[] = {
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
     "memory.max_usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.stat",
     "swap ", true},
    {"", "/sys/fs/cgroup", "memory.max", "memory.peak", "memory.swap.max",
     "memory.swap.current", "", false},
};

/* Writes a number to a file that the kernel has put there. One that is not
 * there is not made: in a folder of another kind it would limit nothing. */
static bool put(const char *dir, const char *name, uint64_t value)
{
    char path[1088];
    char text[32];
    const int n =
        snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    bool done;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    done = write(fd, text, (size_t)n) == n;
    close(fd);
    return done;
}

/* Makes a group in the one that we are in, or beside it, since one of version
 * 2 that has processes can have no groups with limits below it. */
static bool make_group(bench_limit *l, const char *root, const version *v,
                       const char *group)
{
    const char *const ways[] = {"", "/.."};

    for (size_t i = 0; i < 2; i++) {
        const int n =
            snprintf(l->dir, sizeof(l->dir), "%s%s%s%s/qlora-bench-%ld", root,
                     v->mount, group, ways[i], (long)getpid());

        if (n < 0 || (size_t)n >= sizeof(l->dir) || mkdir(l->dir, 0755) != 0) {
            continue;
        }
        if (put(l->dir, v->limit, l->bytes)) {
            put(l->dir, v->swap_limit, v->with_memory ? l->bytes : 0);
            return true;
        }
        rmdir(l->dir);
    }
    return false;
}

/* Over the lines of /proc/self/cgroup: "4:memory:/a/b", "0::/a/b". */
static bool find_group(bench_limit *l, const char *root)
{
    bool made = false;
    char line[1024];
    FILE *f;

    snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    f = fopen(line, "r");
    while (f && !made && fgets(line, sizeof(line), f)) {
        char *controller = strchr(line, ':');
        char *group = controller ? strchr(controller + 1, ':') : NULL;

        if (!group) {
            continue;
        }
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        for (size_t i = 0; i < 2 && !made; i++) {
            l->v2 = i == 1;
            made = strcmp(controller + 1, versions[i].controller) == 0 &&
                   make_group(l, root, &versions[i], group);
        }
    }
    if (f) {
        fclose(f);
    }
    return made;
}

void bench_limit_init(bench_limit *l, uint64_t bytes, const char *root)
{
    *l = (bench_limit){.bytes = bytes};
    if (bytes > 0) {
        l->kind = find_group(l, root) ? BENCH_LIMIT_GROUP : BENCH_LIMIT_PRIVATE;
    }
}

bool bench_limit_enter(const bench_limit *l)
{
    const struct rlimit data = {l->bytes, l->bytes};

    switch (l->kind) {
    case BENCH_LIMIT_GROUP:
        return put(l->dir, "cgroup.procs", (uint64_t)getpid());
    case BENCH_LIMIT_PRIVATE:
        return setrlimit(RLIMIT_DATA, &data) == 0;
    default:
        return true;
    }
}

/* The number in the first line of a file that begins so; 0: none. */
static uint64_t number_in(const bench_limit *l, const char *name,
                          const char *begin)
{
    bool found = false;
    uint64_t n = 0;
    char path[1088];
    char line[128];
    FILE *f;

    if (l->kind != BENCH_LIMIT_GROUP) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s/%s", l->dir, name);
    f = fopen(path, "r");
    while (f && !found && fgets(line, sizeof(line), f)) {
        found = strncmp(line, begin, strlen(begin)) == 0;
        n = found ? strtoull(line + strlen(begin), NULL, 10) : 0;
    }
    if (f) {
        fclose(f);
    }
    return n;
}

uint64_t bench_limit_peak(const bench_limit *l)
{
    return number_in(l, versions[l->v2].peak, "");
}

uint64_t bench_limit_swapped(const bench_limit *l)
{
    return number_in(l, versions[l->v2].swap, versions[l->v2].swap_line);
}

void bench_limit_free(bench_limit *l)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};

    /* the kernel may take a moment to see that the process is gone */
    for (int i = 0; l->kind == BENCH_LIMIT_GROUP && i < 50; i++) {
        if (rmdir(l->dir) == 0) {
            break;
        }
        nanosleep(&moment, NULL);
    }
    *l = (bench_limit){0};
}

const char *bench_limit_name(bench_limit_kind kind)
{
    static const char *const names[] = {
        [BENCH_LIMIT_NONE] = "none",
        [BENCH_LIMIT_GROUP] = "control group",
        [BENCH_LIMIT_PRIVATE] = "private memory",
    };

    return names[kind];
}
