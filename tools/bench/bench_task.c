#include "tools/bench/bench_task.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "tools/choices.h"

enum {
    SLACK = 16 /* part of a limit that the plan leaves to the kernel */
};

/* A line of the job: how far it is, or the result. */
static void take_line(const char *line, void *user)
{
    bench_task *t = user;
    json_t *o = json_loads(line, 0, NULL);
    const char *kind = json_string_value(json_object_get(o, "result"));
    char live[160];

    if (kind && strcmp(kind, "step") == 0) {
        snprintf(live, sizeof(live), "%s: step %d of %d", t->what,
                 (int)json_integer_value(json_object_get(o, "step")),
                 (int)json_integer_value(json_object_get(o, "of")));
        cli_term_live(&t->term, live);
    } else if (kind && strcmp(kind, "job") == 0) {
        json_decref(t->out);
        t->out = json_incref(o);
    }
    json_decref(o);
}

static void fill_args(const bench_task *t, bench_args *a)
{
    const bench_options *o = t->o;

    bench_args_self(a, "job", t->common);
    bench_args_add(a, "--model=%s", t->model);
    bench_args_add(a, "--method=%s",
                   bench_choice_name(method_choices, (int)t->method));
    bench_args_add(a, "--dtype=%s",
                   bench_choice_name(dtype_choices, (int)t->dtype));
    bench_args_add(a, "--optim=%s",
                   bench_choice_name(optim_choices, (int)t->optim));
    bench_args_add(a, "--max-length=%zu", o->max_length);
    bench_args_add(a, "--batch-size=%zu", o->batch_size);
    bench_args_add(a, "--lora-r=%zu", o->lora_r);
    bench_args_add(a, "--steps=%zu", o->steps);
    bench_args_add(a, "--gradient-checkpointing=%s",
                   o->gradient_checkpointing ? "true" : "false");
    bench_args_add(a, "--work-dir=%s", bench_work_dir(o));
    if (t->memory > 0) {
        bench_args_add(a, "--memory=%llu",
                       (unsigned long long)(t->memory - t->memory / SLACK));
    }
    for (size_t i = 0; i < t->more.n; i++) {
        bench_args_add(a, "%s", t->more.items[i]);
    }
    a->incomplete = a->incomplete || t->more.incomplete;
}

ql_status bench_task_run_args(bench_task *t, const bench_args *args)
{
    bench_limit limit;
    ql_status st;

    cli_term_init(&t->term, stderr, t->common->quiet);
    cli_term_live(&t->term, t->what);
    bench_limit_init(&limit, t->memory, "");
    t->enforced = limit.kind;
    t->child = (bench_child){
        .args = args, .limit = &limit, .line = take_line, .user = t};
    st = bench_child_run(&t->child);
    t->child.args = NULL;
    t->child.limit = NULL;
    cli_term_clear(&t->term);
    bench_limit_free(&limit);
    if (st == QL_OK && !t->out) {
        QL_FAIL(QL_EFORMAT, "%s: the process told no result", t->what);
    }
    return st == QL_OK ? QL_OK : ql_fail_prefix(st, "%s: ", t->what);
}

ql_status bench_task_run(bench_task *t)
{
    bench_args args = {0};
    ql_status st;

    fill_args(t, &args);
    st = bench_task_run_args(t, &args);
    bench_args_free(&args);
    bench_args_free(&t->more);
    return st;
}

void bench_task_steps(const bench_task *t, const char *key, double *to,
                      size_t *n, size_t most)
{
    const json_t *list = json_object_get(t->out, key);

    const size_t all = json_array_size(list);

    for (size_t i = all > 1; i < all && *n < most; i++) {
        to[(*n)++] = json_number_value(json_array_get(list, i));
    }
}

static void forget(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

void bench_forget_files(const char *dir)
{
    char **names;
    size_t n;

    if (ql_dir_list(dir, &names, &n) != QL_OK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char *path = ql_path_join(dir, names[i]);

        if (path) {
            forget(path);
        }
        ql_free(path);
    }
    ql_dir_list_free(names, n);
}
