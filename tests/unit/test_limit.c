/* Limits on the memory of a process: control groups, from files as both
 * versions have them, and what takes their place where none can be made. */
#include "tools/bench/bench_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/file.h"
#include "tests/check/check.h"

enum {
    LIMIT = 64 << 20
};

/* Whether folders of groups come with their files, as the kernel makes them. */
static bool with_files;

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

/* Takes mkdir's place, by the linker. */
int __wrap_mkdir(const char *path, mode_t mode)
{
    const bool first = strstr(path, "/cgroup/memory/") != NULL;
    const char *const names[] = {first ? "memory.limit_in_bytes" : "memory.max",
                                 first ? "memory.memsw.limit_in_bytes"
                                       : "memory.swap.max",
                                 "cgroup.procs"};
    const int failed = __real_mkdir(path, mode);
    char file[1100];

    if (failed || !with_files || !strstr(path, "/qlora-bench-")) {
        return failed;
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof(file), "%s/%s", path, names[i]);
        check_ok(ql_file_write(file, "", 0));
    }
    return 0;
}

/* A fresh root with a list of groups, for one case. Borrowed, one buffer. */
static const char *root_of(const char *name, const char *groups)
{
    static char root[512];
    char path[600];

    snprintf(root, sizeof(root), "%s/%s", check_tmp(), name);
    check_ok(ql_dir_make(root));
    snprintf(path, sizeof(path), "%s/proc", root);
    check_ok(ql_dir_make(path));
    snprintf(path, sizeof(path), "%s/proc/self", root);
    check_ok(ql_dir_make(path));
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    check_ok(ql_file_write(path, groups, strlen(groups)));
    return root;
}

/* Makes root/a/b/c. */
static void make(const char *root, const char *path)
{
    char full[1024];

    for (const char *c = path; c; c = strchr(c + 1, '/')) {
        snprintf(full, sizeof(full), "%s%.*s", root, (int)(c - path), path);
        check_ok(ql_dir_make(full));
    }
    snprintf(full, sizeof(full), "%s%s", root, path);
    check_ok(ql_dir_make(full));
}

/* The number in a file of the group. */
static unsigned long long number_in(const bench_limit *l, const char *name)
{
    unsigned long long n = 0;
    char path[1100];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", l->dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu", &n), 1);
    fclose(f);
    return n;
}

/* What the kernel tells in a file of the group. */
static void tell(const bench_limit *l, const char *name, const char *text)
{
    char path[1100];

    snprintf(path, sizeof(path), "%s/%s", l->dir, name);
    check_ok(ql_file_write(path, text, strlen(text)));
}

/* Names of files of a version, and what they tell. */
typedef struct files {
    const char *limit, *peak, *swap_limit, *swap, *swap_text;
    unsigned long long swap_most; /* limit on it */
} files;

static const files old = {"memory.limit_in_bytes",
                          "memory.max_usage_in_bytes",
                          "memory.memsw.limit_in_bytes",
                          "memory.stat",
                          "cache 9\nrss 8\nswap 4096\ntotal_swap 7\n",
                          LIMIT};
static const files new = {"memory.max",      "memory.peak",
                          "memory.swap.max", "memory.swap.current",
                          "4096\n",          0};

static void check_group(const char *root, const char *where, const files *of)
{
    bench_limit l;
    char want[1024];

    with_files = true;
    bench_limit_init(&l, LIMIT, root);
    with_files = false;
    assert_int_equal(l.kind, BENCH_LIMIT_GROUP);
    snprintf(want, sizeof(want), "%s%s/qlora-bench-%ld", root, where,
             (long)getpid());
    assert_string_equal(l.dir, want);
    assert_true(number_in(&l, of->limit) == LIMIT);
    assert_true(number_in(&l, of->swap_limit) == of->swap_most);
    assert_true(bench_limit_enter(&l));
    assert_true(number_in(&l, "cgroup.procs") == (unsigned long long)getpid());
    assert_true(bench_limit_peak(&l) == 0);
    tell(&l, of->peak, "12345\n");
    assert_true(bench_limit_peak(&l) == 12345);
    assert_true(bench_limit_swapped(&l) == 0);
    tell(&l, of->swap, of->swap_text);
    assert_true(bench_limit_swapped(&l) == 4096);
    check_ok(ql_dir_remove(l.dir));
}

static void group__of_version_1_is_made_below_our_own(void **state)
{
    const char *root = root_of("v1", "9:name=systemd:/\n4:memory:/a/b\n0::/\n");

    (void)state;
    make(root, "/sys/fs/cgroup/memory/a/b");
    check_group(root, "/sys/fs/cgroup/memory/a/b", &old);
}

static void group__of_version_2_is_made_below_our_own(void **state)
{
    const char *root = root_of("v2", "0::/user/me\n");

    (void)state;
    make(root, "/sys/fs/cgroup/user/me");
    check_group(root, "/sys/fs/cgroup/user/me", &new);
}

/* As where ours may have no groups with limits below it: the name of the one to
 * be made is taken by a file. */
static void group__is_made_beside_our_own_where_that_fails(void **state)
{
    const char *root = root_of("beside", "0::/user/me\n");
    char path[1024];

    (void)state;
    make(root, "/sys/fs/cgroup/user/me");
    snprintf(path, sizeof(path), "%s/sys/fs/cgroup/user/me/qlora-bench-%ld",
             root, (long)getpid());
    check_ok(ql_file_write(path, "", 0));
    check_group(root, "/sys/fs/cgroup/user/me/..", &new);
}

/* What a process under the limit cannot have: as much private memory, beside
 * what it has. Its exit code. */
static int ask_for_more(const bench_limit *l)
{
    struct rlimit now;

    if (!bench_limit_enter(l) || getrlimit(RLIMIT_DATA, &now) != 0 ||
        now.rlim_cur != LIMIT || now.rlim_max != LIMIT) {
        return 1;
    }
    return mmap(NULL, LIMIT, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? 0
               : 2;
}

static void limit__without_groups_is_one_on_private_memory(void **state)
{
    /* of the last ones the folders are there, but are not the kernel's */
    const char *const groups[] = {"", "0::/gone\n", "7:pids:/a\nnonsense\n",
                                  "0::/plain/a\n", "4:memory:/a\n"};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        const char *root = root_of("none", groups[i]);
        int status = 0;
        bench_limit l;
        pid_t pid;

        make(root, "/sys/fs/cgroup/plain/a");
        make(root, "/sys/fs/cgroup/memory/a");
        bench_limit_init(&l, LIMIT, root);
        assert_int_equal(l.kind, BENCH_LIMIT_PRIVATE);
        assert_int_equal(access(l.dir, F_OK), -1);
        pid = fork();
        if (pid == 0) {
            _exit(ask_for_more(&l));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(bench_limit_peak(&l) == 0);
        assert_true(bench_limit_swapped(&l) == 0);
        bench_limit_free(&l);
    }
}

static void limit__of_nothing_is_none(void **state)
{
    bench_limit l;

    (void)state;
    bench_limit_init(&l, 0, root_of("zero", "0::/\n"));
    assert_int_equal(l.kind, BENCH_LIMIT_NONE);
    assert_true(bench_limit_enter(&l));
    bench_limit_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group__of_version_1_is_made_below_our_own),
        cmocka_unit_test(group__of_version_2_is_made_below_our_own),
        cmocka_unit_test(group__is_made_beside_our_own_where_that_fails),
        cmocka_unit_test(limit__without_groups_is_one_on_private_memory),
        cmocka_unit_test(limit__of_nothing_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
