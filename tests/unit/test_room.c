/* What the kernel and control groups leave, from files as both versions of
 * control groups write them. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/room.h"
#include "tests/check/check.h"

static const uint64_t mib = 1 << 20;

/* A fresh root for one case. Borrowed, one buffer. */
static const char *root_of(const char *name)
{
    static char root[4096];

    snprintf(root, sizeof(root), "%s/%s", check_tmp(), name);
    check_ok(ql_dir_make(root));
    return root;
}

/* Writes root/path, with the folders on the way. */
static void put(const char *root, const char *path, const char *text)
{
    char full[8192];

    for (const char *c = path + 1; (c = strchr(c, '/')); c++) {
        snprintf(full, sizeof(full), "%s%.*s", root, (int)(c - path), path);
        if (!ql_path_exists(full)) {
            check_ok(ql_dir_make(full));
        }
    }
    snprintf(full, sizeof(full), "%s%s", root, path);
    check_ok(ql_file_write(full, text, strlen(text)));
}

static void room__is_unknown_without_files(void **state)
{
    (void)state;
    assert_true(ql_memory_room(root_of("empty")) == UINT64_MAX);
}

static void room__is_what_the_kernel_calls_available(void **state)
{
    const char *root = root_of("plain");

    (void)state;
    put(root, "/proc/meminfo",
        "MemTotal: 8192 kB\nMemFree: 1 kB\nMemAvailable:    4096 kB\n");
    assert_true(ql_memory_room(root) == 4 * mib);
    put(root, "/proc/self/cgroup", "0::/\n");
    put(root, "/sys/fs/cgroup/memory.max", "max\n");
    put(root, "/sys/fs/cgroup/memory.current", "12345\n");
    assert_true(ql_memory_room(root) == 4 * mib);
}

static void room__is_what_version_2_leaves(void **state)
{
    const char *root = root_of("v2");

    (void)state;
    put(root, "/proc/meminfo", "MemAvailable: 1048576 kB\n");
    put(root, "/proc/self/cgroup", "0::/user/app\n");
    put(root, "/sys/fs/cgroup/user/app/memory.max", "104857600\n");
    put(root, "/sys/fs/cgroup/user/app/memory.current", "31457280\n");
    put(root, "/sys/fs/cgroup/user/app/memory.stat",
        "anon 1\nfile 2\ninactive_file 8388608\nactive_file 2097152\n");
    assert_true(ql_memory_room(root) == 80 * mib);
    /* the group above is narrower */
    put(root, "/sys/fs/cgroup/user/memory.max", "41943040\n");
    put(root, "/sys/fs/cgroup/user/memory.current", "31457280\n");
    assert_true(ql_memory_room(root) == 10 * mib);
    /* and is full */
    put(root, "/sys/fs/cgroup/user/memory.current", "52428800\n");
    assert_true(ql_memory_room(root) == 0);
}

/* Inside a container the path is that of the host, and only the top is seen. */
static void room__is_what_version_1_leaves(void **state)
{
    const char *root = root_of("v1");

    (void)state;
    put(root, "/proc/self/cgroup",
        "9:name=systemd:/\n4:memory:/docker/0123\n1:cpu:/docker/0123\n0::/\n");
    put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n");
    put(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
    put(root, "/sys/fs/cgroup/memory/memory.stat",
        "cache 7\ninactive_file 9\ntotal_inactive_file 10485760\n"
        "total_active_file 0\n");
    assert_true(ql_memory_room(root) == 110 * mib);
    /* without a limit a number as large as can be stands there */
    put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712\n");
    put(root, "/proc/meminfo", "MemAvailable: 2048 kB\n");
    assert_true(ql_memory_room(root) == 2 * mib);
}

static void room__bears_odd_files(void **state)
{
    const char *root = root_of("odd");

    (void)state;
    put(root, "/proc/meminfo", "MemAvailable:\n");
    put(root, "/proc/self/cgroup", "nonsense\n0:\n0::\n0::no-slash\n\n");
    put(root, "/sys/fs/cgroup/memory.max", "");
    assert_true(ql_memory_room(root) == UINT64_MAX);
}

static void room__is_known_here(void **state)
{
    (void)state;
    assert_true(ql_memory_room("") > mib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room__is_unknown_without_files),
        cmocka_unit_test(room__is_what_the_kernel_calls_available),
        cmocka_unit_test(room__is_what_version_2_leaves),
        cmocka_unit_test(room__is_what_version_1_leaves),
        cmocka_unit_test(room__bears_odd_files),
        cmocka_unit_test(room__is_known_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
