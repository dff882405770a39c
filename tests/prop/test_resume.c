/* A run that is killed, anywhere, and started again ends with the same adapter
 * and log as one that is not. Each run is a process of its own; calls of the
 * system that change files are counted, and the process kills itself before
 * the n-th. */
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qlora/train.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    SAMPLES = 12,
    PATH_BYTES = 4200,
    MAX_FILE = 1 << 24,
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

static const char *model_dir;

static void options(ql_train_options *o)
{
    ql_train_options_init(o);
    o->lora_r = 2;
    o->learning_rate = 3e-2;
    o->lora_dropout = 0.1;
    o->packing = false;
    o->per_device_train_batch_size = 2;
    o->gradient_accumulation_steps = 2;
    o->num_train_epochs = 3;
    o->logging_steps = 2;
    o->eval_steps = 2;
    o->save_steps = 1;
    o->save_total_limit = 2;
}

/* In a process of its own, whose end is told by its exit. */
static void train(const ql_train_options *o, const char *out)
{
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data = NULL;
    ql_dataset *eval = NULL;

    omp_set_num_threads(1);
    check_ok(ql_model_open(&m, model_dir, NULL));
    check_ok(ql_tokenizer_open(&tok, model_dir));
    data = toy_data(tok, SAMPLES);
    check_ok(ql_dataset_split(data, 3, &eval));
    shared->calls = 0;
    shared->st = ql_train(m, data, eval, out, o, NULL, NULL, NULL);
    snprintf(shared->said, sizeof(shared->said), "%s", ql_last_error());
    _exit(0);
}

/* True if the run came to an end; false if it was killed. kill_after_us: so
 * many microseconds, else 0. */
static bool run(const ql_train_options *o, const char *out, long kill_at,
                useconds_t kill_after_us)
{
    int status;
    pid_t pid;

    shared->kill_at = kill_at;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        train(o, out);
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

/* A run that must be done and well. */
static void finish(const ql_train_options *o, const char *out)
{
    assert_true(run(o, out, -1, 0));
    if (shared->st != QL_OK) {
        fail_msg("%s: %s", ql_status_name(shared->st), shared->said);
    }
}

static char *read_file(const char *dir, const char *name, size_t *n)
{
    char path[PATH_BYTES];
    char *text = NULL;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    check_ok(ql_file_read(path, MAX_FILE, &text, n));
    return text;
}

static void check_same_file(const char *a, const char *b, const char *name)
{
    size_t n;
    size_t m;
    char *x = read_file(a, name, &n);
    char *y = read_file(b, name, &m);

    if (n != m || memcmp(x, y, n) != 0) {
        fail_msg("%s/%s is not %s/%s", a, name, b, name);
    }
    ql_free(x);
    ql_free(y);
}

/* metrics.csv without what depends on the clock: the last two columns. */
static void check_same_log(const char *a, const char *b)
{
    size_t n;
    char *x = read_file(a, "metrics.csv", &n);
    char *y = read_file(b, "metrics.csv", &n);
    char *rest_x = x;
    char *rest_y = y;

    for (;;) {
        char *line = strtok_r(rest_x, "\n", &rest_x);
        char *other = strtok_r(rest_y, "\n", &rest_y);

        assert_true((line == NULL) == (other == NULL));
        if (!line) {
            break;
        }
        for (int i = 0; i < 2; i++) {
            *strrchr(line, ',') = '\0';
            *strrchr(other, ',') = '\0';
        }
        assert_string_equal(line, other);
    }
    ql_free(x);
    ql_free(y);
}

/* Nothing half done lies about, and the same folders are there. */
static void check_same_names(const char *a, const char *b)
{
    char **x;
    char **y;
    size_t n;
    size_t m;

    check_ok(ql_dir_list(a, &x, &n));
    check_ok(ql_dir_list(b, &y, &m));
    for (size_t i = 0; i < n && i < m; i++) {
        assert_string_equal(x[i], y[i]);
    }
    assert_int_equal(n, m);
    ql_dir_list_free(x, n);
    ql_dir_list_free(y, m);
}

static void check_same(const char *a, const char *b)
{
    check_same_names(a, b);
    check_same_file(a, b, "adapter_model.safetensors");
    check_same_file(a, b, "adapter_config.json");
    check_same_file(a, b, "best/adapter_model.safetensors");
    check_same_file(a, b, "checkpoint-9/adapter_model.safetensors");
    check_same_file(a, b, "checkpoint-9/optimizer.bin");
    check_same_log(a, b);
}

static const char *reference(void)
{
    static char dir[PATH_BYTES];

    if (!dir[0]) {
        ql_train_options o;

        options(&o);
        snprintf(dir, sizeof(dir), "%.4000s", check_tmp_path("reference"));
        finish(&o, dir);
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
    ql_train_options o;

    (void)state;
    options(&o);
    print_message("%ld changes of files\n", calls);
    assert_true(calls > 200);
    for (long i = 0; i < SPREAD; i++) {
        const long at =
            (i * calls +
             (long)ql_rng_below(check_seed(), (uint64_t)i, (size_t)calls)) /
            SPREAD;
        const char *out = fresh();

        assert_false(run(&o, out, at, 0));
        finish(&o, out);
        check_same(want, out);
    }
}

/* Ends only when it was not killed; most runs get a few steps further. */
static void run__killed_a_hundred_times_ends_the_same(void **state)
{
    const char *want = reference();
    ql_train_options o;
    int kills = 0;
    int ends = 0;

    (void)state;
    options(&o);
    while (kills < KILLS) {
        const char *out = fresh();
        bool done = false;

        while (!done) {
            const uint64_t n = (uint64_t)(kills + ends);
            const size_t at =
                ql_rng_below(ql_rng_split(check_seed(), 1), n, 200);

            done = run(&o, out, (long)at, 0);
            kills += !done;
        }
        assert_int_equal(shared->st, QL_OK);
        check_same(want, out);
        ends++;
    }
    print_message("%d kills, %d runs\n", kills, ends);
}

static void run__killed_by_the_clock_ends_the_same(void **state)
{
    const char *want = reference();
    ql_train_options o;

    (void)state;
    options(&o);
    for (int i = 0; i < 5; i++) {
        const char *out = fresh();
        bool done = false;

        for (uint64_t n = 0; !done && n < 20; n++) {
            const size_t us =
                1 + ql_rng_below(check_seed(), (uint64_t)i * 100 + n, 60000);

            done = run(&o, out, -1, (useconds_t)us);
        }
        if (!done) {
            finish(&o, out);
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
    model_dir = toy_model();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
