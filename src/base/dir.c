/* Folders: making, listing, removing, and building one out of sight. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/base/fail.h"
#include "src/base/file.h"

/* One level. That the system will have no folder there is no missing input. */
static ql_status make_one(const char *path)
{
    ql_status st;

    if (mkdir(path, 0777) == 0 || errno == EEXIST) {
        return QL_OK;
    }
    st = ql_fail_errno("cannot make folder %s", path);
    return st == QL_ENOTFOUND ? QL_EIO : st;
}

ql_status ql_dir_make(const char *path)
{
    char *copy = ql_strdup(QL_TAG_TEXT, path);
    ql_status st = QL_OK;

    if (!copy) {
        return QL_ENOMEM;
    }
    for (char *p = copy + 1; st == QL_OK && *p; p++) {
        if (*p != '/') {
            continue;
        }
        *p = '\0';
        st = make_one(copy);
        *p = '/';
    }
    if (st == QL_OK) {
        st = make_one(path);
    }
    if (st == QL_OK && !ql_path_is_dir(path)) {
        st = ql_fail(QL_EIO, "cannot make folder %s: a file is there", path);
    }
    ql_free(copy);
    return st;
}

ql_status ql_dir_need(const char *path, const char *advice)
{
    if (!ql_path_exists(path)) {
        QL_FAIL(QL_ENOTFOUND, "%s: no such folder; %s", path, advice);
    }
    if (!ql_path_is_dir(path)) {
        QL_FAIL(QL_ENOTFOUND, "%s: a file, not a folder; %s", path, advice);
    }
    return QL_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ql_dir_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ql_free(names[i]);
    }
    ql_free(names);
}

static ql_status push_name(char ***names, size_t *n, const char *name)
{
    char **grown = ql_realloc(QL_TAG_TEXT, *names, *n + 1, sizeof(char *));
    char *copy;

    if (!grown) {
        return QL_ENOMEM;
    }
    *names = grown;
    copy = ql_strdup(QL_TAG_TEXT, name);
    if (!copy) {
        return QL_ENOMEM;
    }
    grown[(*n)++] = copy;
    return QL_OK;
}

ql_status ql_dir_list(const char *path, char ***names, size_t *n)
{
    ql_status st = QL_OK;
    DIR *dir = opendir(path);
    const struct dirent *e;

    *names = NULL;
    *n = 0;
    if (!dir) {
        return ql_fail_errno("cannot read folder %s", path);
    }
    while (st == QL_OK && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            st = push_name(names, n, e->d_name);
        }
    }
    closedir(dir);
    if (st != QL_OK) {
        ql_dir_list_free(*names, *n);
        *names = NULL;
        *n = 0;
        return st;
    }
    if (*n > 0) {
        qsort(*names, *n, sizeof(**names), by_name);
    }
    return QL_OK;
}

static ql_status remove_at(int dir, const char *name);

/* Removes all that is in an open folder, and closes it. Takes no memory of
 * ours, so that half an output can go when there is none left. */
static ql_status empty_folder(int fd)
{
    ql_status st = QL_OK;
    const struct dirent *e;
    DIR *dir = fdopendir(fd);

    if (!dir) {
        st = ql_fail_errno("cannot read a folder to remove it");
        close(fd);
        return st;
    }
    while (st == QL_OK && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            st = remove_at(fd, e->d_name);
        }
    }
    closedir(dir);
    return st;
}

/* Removes a file, a link, or a folder with all that is in it. */
static ql_status remove_at(int dir, const char *name)
{
    struct stat sb;
    int fd;

    if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
        return QL_OK;
    }
    if (S_ISDIR(sb.st_mode)) {
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
            return ql_fail_errno("cannot read folder %s", name);
        }
        QL_TRY(empty_folder(fd));
    }
    if (unlinkat(dir, name, S_ISDIR(sb.st_mode) ? AT_REMOVEDIR : 0) != 0) {
        return ql_fail_errno("cannot remove %s", name);
    }
    return QL_OK;
}

ql_status ql_dir_remove(const char *path)
{
    return remove_at(AT_FDCWD, path);
}

ql_status ql_dir_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ql_status st = QL_OK;

    if (fd < 0) {
        return ql_fail_errno("cannot open folder %s", path);
    }
    /* some file systems cannot, and need not, flush a folder */
    if (fsync(fd) != 0 && errno != EINVAL) {
        st = ql_fail_errno("cannot write folder %s", path);
    }
    close(fd);
    return st;
}

/* The folder that path is in. Owned. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;

    return ql_strndup(QL_TAG_TEXT, n ? path : ".", n ? n : 1);
}

ql_status ql_dir_make_parent(const char *path)
{
    char *parent = parent_of(path);
    const ql_status st = parent ? ql_dir_make(parent) : QL_ENOMEM;

    ql_free(parent);
    return st;
}

/* path + ".suffix-PID", without slashes at path's end. */
static char *sibling(const char *path, const char *suffix)
{
    const size_t bytes = strlen(path) + strlen(suffix) + 32;
    char *name = ql_alloc(QL_TAG_TEXT, bytes, 1);

    if (name) {
        snprintf(name, bytes, "%s.%s-%ld", path, suffix, (long)getpid());
    }
    return name;
}

static char *without_slashes(const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    return ql_strndup(QL_TAG_TEXT, path, n);
}

/* The folder that is put in place: where a link leads to another disk, it is
 * made there, and the link stays. */
static ql_status set_path(ql_outdir *d, const char *path)
{
    char *plain = without_slashes(path);
    const ql_status st = plain ? ql_path_follow(plain, &d->path) : QL_ENOMEM;

    ql_free(plain);
    return st;
}

ql_status ql_outdir_init(ql_outdir *d, const char *path, bool replace)
{
    ql_status st = QL_OK;

    *d = (ql_outdir){.replace = replace};
    QL_TRY(set_path(d, path));
    if (!replace && ql_path_exists(d->path)) {
        st = ql_fail(QL_EINVAL,
                     "%s exists already; name another folder or use --force",
                     d->path);
        goto done;
    }
    if (ql_path_exists(d->path) && !ql_path_is_dir(d->path)) {
        st = ql_fail(QL_EINVAL, "%s is a file, not a folder", d->path);
        goto done;
    }
    d->work = sibling(d->path, "part");
    if (!d->work) {
        st = QL_ENOMEM;
        goto done;
    }
    /* a killed process with our number may have left one */
    QL_TRY_DONE(ql_dir_remove(d->work));
    st = ql_dir_make(d->work);
done:
    if (st != QL_OK) {
        ql_outdir_free(d);
    }
    return st;
}

ql_status ql_outdir_commit(ql_outdir *d)
{
    ql_status st = QL_OK;
    char *old = sibling(d->path, "old");
    char *parent = parent_of(d->path);
    const bool aside = ql_path_exists(d->path);

    if (!old || !parent) {
        st = QL_ENOMEM;
        goto done;
    }
    QL_TRY_DONE(ql_dir_sync(d->work));
    if (aside && rename(d->path, old) != 0) {
        st = ql_fail_errno("cannot replace %s", d->path);
        goto done;
    }
    if (rename(d->work, d->path) != 0) {
        st = ql_fail_errno("cannot make %s", d->path);
        if (aside) {
            rename(old, d->path);
        }
        goto done;
    }
    ql_free(d->work);
    d->work = NULL;
    QL_TRY_DONE(ql_dir_sync(parent));
    st = aside ? ql_dir_remove(old) : QL_OK;
done:
    ql_free(old);
    ql_free(parent);
    return st;
}

void ql_outdir_free(ql_outdir *d)
{
    if (d->work) {
        ql_dir_remove(d->work);
    }
    ql_free(d->work);
    ql_free(d->path);
    *d = (ql_outdir){0};
}

ql_status ql_dir_discard(const char *path)
{
    char *old = sibling(path, "old");
    ql_status st = old ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && rename(path, old) != 0 && errno != ENOENT) {
        st = ql_fail_errno("cannot remove %s", path);
    }
    if (st == QL_OK) {
        st = ql_dir_remove(old);
    }
    ql_free(old);
    return st;
}

bool ql_dir_is_rest(const char *name)
{
    static const char *const marks[] = {".part-", ".old-"};

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *mark = strstr(name, marks[i]);
        const char *digits = mark ? mark + strlen(marks[i]) : "";

        if (*digits && digits[strspn(digits, "0123456789")] == '\0') {
            return true;
        }
    }
    return false;
}

/* Free bytes for us where path is, or will be. */
static ql_status disk_free(const char *path, uint64_t *bytes)
{
    ql_status st = QL_OK;
    struct statvfs sv;
    char *at = ql_strdup(QL_TAG_TEXT, path);

    if (!at) {
        return QL_ENOMEM;
    }
    while (statvfs(at, &sv) != 0) {
        char *slash = strrchr(at, '/');

        if (errno != ENOENT || strcmp(at, ".") == 0 || strcmp(at, "/") == 0) {
            st = ql_fail_errno("cannot ask for the free space of %s", path);
            goto done;
        }
        if (!slash) {
            at[0] = '.';
            at[1] = '\0';
        } else {
            slash[slash == at ? 1 : 0] = '\0';
        }
    }
    *bytes = (uint64_t)sv.f_bavail * sv.f_frsize;
done:
    ql_free(at);
    return st;
}

/* Adds what is in a file, or a folder, that has a name in an open folder. */
static void add_used(int dir, const char *name, uint64_t *bytes)
{
    const struct dirent *e;
    struct stat sb;
    DIR *inside = NULL;
    int fd;

    if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    *bytes += 512 * (uint64_t)sb.st_blocks; /* as POSIX counts them */
    if (S_ISDIR(sb.st_mode)) {
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        inside = fd >= 0 ? fdopendir(fd) : NULL;
        if (!inside && fd >= 0) {
            close(fd);
        }
    }
    while (inside && (e = readdir(inside)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            add_used(fd, e->d_name, bytes);
        }
    }
    if (inside) {
        closedir(inside);
    }
}

uint64_t ql_disk_used(const char *path)
{
    uint64_t bytes = 0;

    add_used(AT_FDCWD, path, &bytes);
    return bytes;
}

ql_status ql_disk_need(const char *path, uint64_t need)
{
    uint64_t have = 0;

    QL_TRY(disk_free(path, &have));
    if (have < need) {
        QL_FAIL(QL_ENOSPACE,
                "%s needs %.1f MB of disk, but only %.1f MB are free; free "
                "some space or write elsewhere",
                path, (double)need / 1e6, (double)have / 1e6);
    }
    return QL_OK;
}
