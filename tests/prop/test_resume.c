/* A run that is killed, anywhere, and started again ends with the same adapter
 * and log as one that is not. Each run is a process of its own; calls of the
 * system that change files are counted, and the process kills itself before
 * the n-th. */
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_run.h"

enum {
    PATH_BYTES = 4200,
    KILLS = 100,
    SPREAD = 40 /* moments of one run that are tried each by itself */
};

/* Shared with the processes of the runs. */
static struct {
    long calls;     /* that changed files, in the last run */
    long kill_at;   /* the run ends before this one; negative: never */
    ql_status st;   /* what the last run came to */
    char said[512]; /* its last error */
} * shared;

/* Called before each change of a file. */
static void moment(void)
{
    if (shared && shared->calls++ == shared->kill_at) {
        kill(getpid(), SIGKILL);
    }
}

int rename(const char *from, const char *to)
{
    moment();
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* What a process wrote stays when it is killed; a flush is only slow. */
int fsync(int fd)
{
    (void)fd;
    moment();
    return 0;
}

int mkdir(const char *path, mode_t mode)
{
    moment();
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlinkat(int dir, const char *path, int flags)
{
    moment();
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

/* One that is killed may have written a part. */
ssize_t write(int fd, const void *data, size_t n)
{
    if (fd > 2) {
        if (shared && shared->calls == shared->kill_at && n > 1) {
            syscall(SYS_write, fd, data, n / 2);
        }
        moment();
    }
    return syscall(SYS_write, fd, data, n);
}

/* A process of its own, whose end is told by its exit. */
static void train(const char *out)
{
    ql_train_options o;
    toy_run r;

    omp_set_num_threads(1);
    toy_run_open(&r);
    toy_run_options(&o);
    o.tokenizer = r.tok;
    o.sample_prompts = 1;
    o.settings = "lora-r: 4\n";
    shared->calls = 0;
    shared->st = ql_train(r.m, r.data, r.eval, out, &o, NULL, NULL, NULL);
    snprintf(shared->said, sizeof(shared->said), "%s", ql_last_error());
    _exit(0);
}

/* True if the run came to an end; false if it was killed. kill_after_us: so
 * many microseconds, else 0. */
static bool run(const char *out, long kill_at, useconds_t kill_after_us)
{
    int status;
    pid_t pid;

    shared->kill_at = kill_at;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        train(out);
    }
    if (kill_after_us > 0) {
        usleep(kill_after_us);
        kill(pid, SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    shared->kill_at = -1; /* this process changes files too */
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return false;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* A run that was killed after its last change of a file is done. */
static void check_end(void)
{
    if (shared->st != QL_OK && !strstr(shared->said, "holds an adapter")) {
        fail_msg("%s: %s", ql_status_name(shared->st), shared->said);
    }
}

static void finish(const char *out)
{
    assert_true(run(out, -1, 0));
    check_end();
}

static void check_same(const char *a, const char *b)
{
    toy_run_same(a, b);
    toy_run_same_file(a, b, "best/adapter_model.safetensors");
    toy_run_same_file(a, b, "checkpoint-9/adapter_model.safetensors");
    toy_run_same_file(a, b, "checkpoint-9/optimizer.bin");
    toy_run_same_file(a, b, "samples.json");
    toy_run_same_file(a, b, "run.yaml");
}

static const char *reference(void)
{
    static char dir[PATH_BYTES];

    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "%.4000s", check_tmp_path("reference"));
        finish(dir);
    }
    return dir;
}

/* A folder that is not there yet. */
static const char *fresh(void)
{
    const char *dir = check_tmp_path("out");

    check_ok(ql_dir_remove(dir));
    return dir;
}

static void run__killed_once_ends_the_same(void **state)
{
    const char *want = reference();
    const long calls = shared->calls;

    (void)state;
    print_message("%ld changes of files\n", calls);
    assert_true(calls > 200);
    for (long i = 0; i < SPREAD; i++) {
        const long more =
            (long)ql_rng_below(check_seed(), (uint64_t)i, (size_t)calls);
        const char *out = fresh();

        assert_false(run(out, (i * calls + more) / SPREAD, 0));
        finish(out);
        check_same(want, out);
    }
}

/* Ends only when it was not killed; most runs get a few steps further. */
static void run__killed_a_hundred_times_ends_the_same(void **state)
{
    const uint64_t key = ql_rng_split(check_seed(), 1);
    const char *want = reference();
    int kills = 0;
    int ends = 0;

    (void)state;
    while (kills < KILLS) {
        const char *out = fresh();
        bool done = false;

        while (!done) {
            done = run(
                out, (long)ql_rng_below(key, (uint64_t)(kills + ends), 200), 0);
            kills += !done;
        }
        check_end();
        check_same(want, out);
        ends++;
    }
    print_message("%d kills, %d runs\n", kills, ends);
}

static void run__killed_by_the_clock_ends_the_same(void **state)
{
    const char *want = reference();

    (void)state;
    for (uint64_t i = 0; i < 5; i++) {
        const uint64_t key = ql_rng_split(check_seed(), 2 + i);
        const char *out = fresh();
        bool done = false;

        for (uint64_t n = 0; !done && n < 20; n++) {
            done = run(out, -1, 1 + (useconds_t)ql_rng_below(key, n, 60000));
        }
        if (!done) {
            finish(out);
        }
        check_same(want, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run__killed_once_ends_the_same),
        cmocka_unit_test(run__killed_a_hundred_times_ends_the_same),
        cmocka_unit_test(run__killed_by_the_clock_ends_the_same),
    };

    check_ok(ql_runtime_open(&check_runtime));
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    shared->kill_at = -1;
    toy_model();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
