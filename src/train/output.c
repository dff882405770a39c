#include "src/train/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/trained_folder.h"
#include "src/train/checkpoint.h"

/* True if dir holds an adapter, or a model. */
static bool holds(const char *dir, bool full)
{
    char *config = ql_path_join(dir, ql_trained_config(full));
    const bool there = config && ql_path_exists(config);

    ql_free(config);
    return there;
}

bool ql_output_finished(const char *dir, bool full)
{
    return holds(dir, false) || (full && holds(dir, true));
}

/* As a config is written last, and put in place by its name. */
static double written(const char *dir, bool full)
{
    char *config = ql_path_join(dir, ql_trained_config(full));
    double at = 0;
    struct stat sb;

    if (config && stat(config, &sb) == 0) {
        at = 1e9 * (double)sb.st_mtim.tv_sec + (double)sb.st_mtim.tv_nsec;
    }
    ql_free(config);
    return at;
}

double ql_output_written(const char *dir, bool full)
{
    const double adapter = written(dir, false);

    return adapter != 0 || !full ? adapter : written(dir, true);
}

ql_status ql_output_check(const char *dir, bool full, bool overwrite, bool anew)
{
    size_t *steps;
    size_t n;

    if (!*dir) {
        QL_FAIL(QL_EINVAL, "the output folder has no name");
    }
    if (ql_path_exists(dir) && !ql_path_is_dir(dir)) {
        QL_FAIL(QL_EINVAL, "%s is a file; name a folder for the %s", dir,
                full ? "model" : "adapter");
    }
    if (overwrite) {
        return QL_OK;
    }
    if (ql_output_finished(dir, full)) {
        QL_FAIL(QL_EINVAL,
                "%s holds %s already; name another folder or use "
                "--overwrite-output-dir",
                dir, holds(dir, false) ? "an adapter" : "a model");
    }
    QL_TRY(ql_checkpoint_list(dir, &steps, &n));
    ql_free(steps);
    if (anew && n > 0) {
        QL_FAIL(QL_EINVAL,
                "%s holds checkpoints of a run that was not finished; leave "
                "--resume off out to go on with it, or use "
                "--overwrite-output-dir as well to begin anew",
                dir);
    }
    return QL_OK;
}

/* A lock is gone with the process that holds it, however that ends. File
 * systems without locks do without. */
static ql_status lock(ql_output *o)
{
    o->lock = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->lock < 0) {
        return ql_fail_errno("cannot open folder %s", o->dir);
    }
    if (flock(o->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        QL_FAIL(QL_EINVAL,
                "another process is training into %s; wait for it or name "
                "another folder",
                o->dir);
    }
    return QL_OK;
}

/* Names of ours that end as ql_dir_is_rest says. */
static bool is_rest(const char *name)
{
    static const char *const starts[] = {
        ".part-", "checkpoint-",         "best.",      "adapter-",
        "model-", "adapter_config.json", "config.json"};

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) {
            return ql_dir_is_rest(name);
        }
    }
    return false;
}

/* What is written while a run goes on, as it is named until it is whole. */
static bool is_half(const char *name)
{
    static const char *const names[] = {"metrics.csv.part",
                                        "trainer_state.json.part",
                                        "report.html.part", "README.md.part"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Removes what is under construction, or on its way out, in dir. */
static ql_status sweep(const char *dir)
{
    ql_status st = QL_OK;
    char **names;
    size_t n;

    QL_TRY(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        if (is_rest(names[i]) || is_half(names[i])) {
            char *path = ql_path_join(dir, names[i]);

            st = path ? ql_dir_remove(path) : QL_ENOMEM;
            ql_free(path);
        }
    }
    ql_dir_list_free(names, n);
    return st;
}

ql_status ql_output_init(ql_output *o, const char *dir, bool full)
{
    char name[32];
    ql_status st;

    *o = (ql_output){.full = full, .lock = -1};
    snprintf(name, sizeof(name), ".part-%ld", (long)getpid());
    o->dir = ql_strdup(QL_TAG_TEXT, dir);
    o->work = ql_path_join(dir, name);
    if (!o->dir || !o->work) {
        st = QL_ENOMEM;
        goto done;
    }
    o->made = !ql_path_exists(dir);
    QL_TRY_DONE(ql_dir_make(dir));
    QL_TRY_DONE(lock(o));
    QL_TRY_DONE(sweep(dir));
    st = ql_dir_make(o->work);
done:
    if (st != QL_OK) {
        ql_output_free(o);
    }
    return st;
}

static ql_status move(const char *from, const char *to)
{
    return rename(from, to) == 0 ? QL_OK : ql_fail_errno("cannot write %s", to);
}

static ql_status move_name(const ql_output *o, const char *name)
{
    char *from = ql_path_join(o->work, name);
    char *to = ql_path_join(o->dir, name);
    const ql_status st = from && to ? move(from, to) : QL_ENOMEM;

    ql_free(from);
    ql_free(to);
    return st;
}

ql_status ql_output_show(const ql_output *o)
{
    ql_status st = QL_OK;
    char **names;
    size_t n;

    QL_TRY(ql_dir_list(o->work, &names, &n));
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        if (strcmp(names[i], ql_trained_weights(o->full)) != 0 &&
            strcmp(names[i], ql_trained_config(o->full)) != 0) {
            st = move_name(o, names[i]);
        }
    }
    ql_dir_list_free(names, n);
    return st;
}

/* Removes a file of dir, if it is there. */
static ql_status drop(const ql_output *o, const char *name)
{
    char *path = ql_path_join(o->dir, name);
    ql_status st = path ? QL_OK : QL_ENOMEM;

    if (path && unlink(path) != 0 && errno != ENOENT) {
        st = ql_fail_errno("cannot replace %s", path);
    }
    ql_free(path);
    return st;
}

/* The adapter, whose config gets its name when the work folder is gone. An old
 * config goes first: it does not fit the new weights, which without it are no
 * adapter. All weights are written alike, in the place of an adapter, too. */
static ql_status move_trained(const ql_output *o, const char *from,
                              const char *staged, const char *config)
{
    ql_status st;

    QL_TRY(drop(o, ql_trained_config(o->full)));
    if (o->full) {
        QL_TRY(drop(o, ql_trained_config(false)));
        QL_TRY(drop(o, ql_trained_weights(false)));
    }
    QL_TRY(move_name(o, ql_trained_weights(o->full)));
    QL_TRY(move(from, staged));
    QL_TRY_DONE(ql_dir_remove(o->work));
    QL_TRY_DONE(ql_dir_sync(o->dir));
    QL_TRY_DONE(move(staged, config));
    return ql_dir_sync(o->dir);
done:
    unlink(staged);
    return st;
}

ql_status ql_output_commit(ql_output *o)
{
    char name[64];
    char *from = ql_path_join(o->work, ql_trained_config(o->full));
    char *config = ql_path_join(o->dir, ql_trained_config(o->full));
    char *staged;
    ql_status st;

    snprintf(name, sizeof(name), "%s.part-%ld", ql_trained_config(o->full),
             (long)getpid());
    staged = ql_path_join(o->dir, name);
    st = from && config && staged ? ql_output_show(o) : QL_ENOMEM;
    if (st == QL_OK) {
        st = move_trained(o, from, staged, config);
    }
    o->written |= st == QL_OK;
    ql_free(from);
    ql_free(config);
    ql_free(staged);
    return st;
}

void ql_output_free(ql_output *o)
{
    if (o->work && o->lock >= 0) {
        ql_dir_remove(o->work);
    }
    if (o->dir && o->made && !o->written) {
        rmdir(o->dir);
    }
    if (o->lock >= 0) {
        close(o->lock);
    }
    ql_free(o->work);
    ql_free(o->dir);
    *o = (ql_output){.lock = -1};
}
