#include "src/train/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"

static const char config_name[] = "adapter_config.json";
static const char weights_name[] = "adapter_model.safetensors";

ql_status ql_output_check(const char *dir, bool overwrite)
{
    char *config = ql_path_join(dir, config_name);
    ql_status st = QL_OK;

    if (!config) {
        return QL_ENOMEM;
    }
    if (!*dir) {
        st = ql_fail(QL_EINVAL, "the output folder has no name");
    } else if (ql_path_exists(dir) && !ql_path_is_dir(dir)) {
        st = ql_fail(QL_EINVAL, "%s is a file; name a folder for the adapter",
                     dir);
    } else if (ql_path_exists(config) && !overwrite) {
        st = ql_fail(QL_EINVAL,
                     "%s holds an adapter already; name another folder or use "
                     "--overwrite-output-dir",
                     dir);
    }
    ql_free(config);
    return st;
}

ql_status ql_output_init(ql_output *o, const char *dir, bool overwrite,
                         uint64_t need)
{
    char name[32];
    ql_status st;

    *o = (ql_output){0};
    QL_TRY(ql_output_check(dir, overwrite));
    snprintf(name, sizeof(name), ".part-%ld", (long)getpid());
    o->dir = ql_strdup(QL_TAG_TEXT, dir);
    o->work = ql_path_join(dir, name);
    if (!o->dir || !o->work) {
        st = QL_ENOMEM;
        goto done;
    }
    o->made = !ql_path_exists(dir);
    QL_TRY_DONE(ql_dir_make(dir));
    /* a killed process with our number may have left one */
    QL_TRY_DONE(ql_dir_remove(o->work));
    QL_TRY_DONE(ql_dir_make(o->work));
    st = ql_disk_need(dir, need);
done:
    if (st != QL_OK) {
        ql_output_free(o);
    }
    return st;
}

static ql_status move(const ql_output *o, const char *name)
{
    char *from = ql_path_join(o->work, name);
    char *to = ql_path_join(o->dir, name);
    ql_status st = from && to ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && rename(from, to) != 0) {
        st = ql_fail_errno("cannot write %s", to);
    }
    ql_free(from);
    ql_free(to);
    return st;
}

/* Without its config, what is there is no adapter. */
static ql_status remove_old_config(const ql_output *o)
{
    char *path = ql_path_join(o->dir, config_name);
    ql_status st = path ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && unlink(path) != 0 && errno != ENOENT) {
        st = ql_fail_errno("cannot replace %s", path);
    }
    ql_free(path);
    return st;
}

ql_status ql_output_commit(ql_output *o)
{
    ql_status st = QL_OK;
    char **names;
    size_t n;

    QL_TRY(ql_dir_list(o->work, &names, &n));
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        if (strcmp(names[i], weights_name) != 0 &&
            strcmp(names[i], config_name) != 0) {
            st = move(o, names[i]);
        }
    }
    ql_dir_list_free(names, n);
    QL_TRY(st);
    QL_TRY(remove_old_config(o)); /* it does not fit the new weights */
    QL_TRY(move(o, weights_name));
    QL_TRY(move(o, config_name));
    o->written = true;
    return QL_OK;
}

void ql_output_free(ql_output *o)
{
    if (o->work) {
        ql_dir_remove(o->work);
    }
    if (o->dir && o->made && !o->written) {
        rmdir(o->dir);
    }
    ql_free(o->work);
    ql_free(o->dir);
    *o = (ql_output){0};
}
