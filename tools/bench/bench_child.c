#include "tools/bench/bench_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clock.h"
#include "src/base/cores.h"
#include "src/base/fail.h"
#include "tools/cli/exit.h"
#include "tools/cli/term.h"

enum {
    LINE_BYTES = 1 << 20,
    LOOK_MS = 20, /* between looks at its memory */
    NOT_STARTED = 127
};

/* This program. */
static const char self[] = "/proc/self/exe";

void bench_args_add(bench_args *a, const char *fmt, ...)
{
    char text[4352];
    va_list list;

    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    if (a->n == BENCH_ARGS ||
        !(a->items[a->n] = ql_strdup(QL_TAG_TEXT, text))) {
        a->incomplete = true;
        return;
    }
    a->n++;
}

void bench_args_free(bench_args *a)
{
    for (size_t i = 0; i < a->n; i++) {
        ql_free(a->items[i]);
    }
    *a = (bench_args){0};
}

void bench_args_self(bench_args *a, const char *what, const cli_common *common)
{
    static const char *const compute[] = {[QL_COMPUTE_AUTO] = "auto",
                                          [QL_COMPUTE_FP32] = "fp32",
                                          [QL_COMPUTE_BF16] = "bf16"};

    bench_args_add(a, "%s", self);
    bench_args_add(a, "%s", what);
    bench_args_add(a, "--threads=%d", common->threads);
    bench_args_add(a, "--compute=%s", compute[common->compute]);
    bench_args_add(a, "--seed=%zu", common->seed);
    if (common->isa) {
        bench_args_add(a, "--isa=%s", common->isa);
    }
    if (common->quiet) {
        bench_args_add(a, "--quiet");
    }
}

/* The child's way from fork to its program. */
static void start(const bench_child *c, const int ends[2])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* Ctrl-C comes by way of us, once: a second ends at once */
    ql_cores_bind(0, 0); /* anywhere: we are bound to one */
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    if (c->limit && !bench_limit_enter(c->limit)) {
        perror("qlora-bench: cannot limit the memory");
        _exit(NOT_STARTED);
    }
    execv(c->args->items[0], c->args->items);
    perror("qlora-bench: cannot start a process");
    _exit(NOT_STARTED);
}

static void raise_to(uint64_t *most, unsigned long long kib)
{
    *most = kib * 1024 > *most ? kib * 1024 : *most;
}

static void look(bench_child *c, pid_t pid)
{
    unsigned long long kib;
    char path[64];
    char line[128];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "VmHWM: %llu", &kib) == 1) {
            raise_to(&c->peak, kib);
        } else if (sscanf(line, "RssAnon: %llu", &kib) == 1) {
            raise_to(&c->anonymous, kib);
        } else if (sscanf(line, "RssFile: %llu", &kib) == 1) {
            raise_to(&c->file, kib);
        } else if (sscanf(line, "VmSwap: %llu", &kib) == 1) {
            raise_to(&c->swap, kib);
            c->swap_known = true;
        }
    }
    if (f) {
        fclose(f);
    }
    if (c->limit) {
        raise_to(&c->swap, bench_limit_swapped(c->limit) / 1024);
    }
}

/* Hands over the lines that are complete, and keeps the rest. */
static void give_lines(const bench_child *c, ql_buf *b)
{
    char *from = b->data;
    char *end;

    while (from && (end = strchr(from, '\n'))) {
        *end = '\0';
        c->line(from, c->user);
        from = end + 1;
    }
    if (from) {
        b->len -= (size_t)(from - b->data);
        memmove(b->data, from, b->len + 1);
    }
}

/* Reads what it writes, and looks at its memory, until it closes its end. */
static ql_status follow(bench_child *c, pid_t pid, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ql_status st = QL_OK;
    ssize_t n = 1;
    bool told = false;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, LINE_BYTES);
    while (n > 0 && st == QL_OK) {
        char text[4096];

        look(c, pid);
        if (cli_interrupted() && !told) {
            told = kill(pid, SIGTERM) == 0;
        }
        if (poll(&p, 1, LOOK_MS) <= 0) {
            continue;
        }
        n = read(fd, text, sizeof(text));
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n > 0) {
            st = ql_buf_append(&b, text, (size_t)n);
            give_lines(c, &b);
        }
    }
    ql_buf_free(&b);
    return st;
}

/* Of each status that a subcommand may have ended with, the kind. */
static ql_status status_of(int code)
{
    static const ql_status kinds[] = {
        [CLI_EXIT_FAILED] = QL_EIO,       [CLI_EXIT_USAGE] = QL_EINVAL,
        [CLI_EXIT_INPUT] = QL_EFORMAT,    [CLI_EXIT_NO_ROOM] = QL_ENOMEM,
        [CLI_EXIT_NUMERIC] = QL_ENUMERIC,
    };
    const bool known =
        code > 0 && code < (int)(sizeof(kinds) / sizeof(kinds[0]));

    return known ? kinds[code] : QL_EIO;
}

static ql_status judge(const bench_child *c, int status)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    const bool ours = strcmp(c->args->items[0], self) == 0;
    const char *name = ours ? "qlora-bench" : c->args->items[0];

    if (code == CLI_EXIT_OK) {
        return QL_OK;
    }
    if (cli_interrupted() || code == CLI_EXIT_INTERRUPTED) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    if (WIFSIGNALED(status)) {
        QL_FAIL(QL_ENOMEM, "%s %s was killed by signal %d%s", name,
                c->args->items[1], WTERMSIG(status),
                c->limit ? "; its memory may have met the limit" : "");
    }
    QL_FAIL(ours ? status_of(code) : QL_EIO,
            "%s %s ended with exit code %d; its reason stands before this",
            name, c->args->items[1], code);
}

ql_status bench_child_run(bench_child *c)
{
    const double started = ql_now_s();
    int ends[2];
    int status = 0;
    pid_t pid;
    ql_status st;

    if (c->args->incomplete) {
        return QL_ENOMEM;
    }
    if (pipe(ends) != 0) {
        return ql_fail_errno("cannot start a process");
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        start(c, ends);
    }
    close(ends[1]);
    st = pid > 0 ? follow(c, pid, ends[0])
                 : ql_fail_errno("cannot start a process");
    if (st != QL_OK && pid > 0) {
        kill(pid, SIGKILL);
    }
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    c->seconds = ql_now_s() - started;
    c->group_peak = c->limit ? bench_limit_peak(c->limit) : 0;
    return st == QL_OK ? judge(c, status) : st;
}
