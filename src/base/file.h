/* Files and folders: whole reads, and writes that are never seen half done. */
#ifndef QL_BASE_FILE_H
#define QL_BASE_FILE_H

#include "qlora/status.h"
#include "src/base/alloc.h"

/* dir + "/" + name. NULL when out of memory. Owned: ql_free. */
char *ql_path_join(const char *dir, const char *name);

bool ql_path_exists(const char *path);
bool ql_path_is_dir(const char *path);

/* Where a symbolic link leads in the end, or path itself where it is none.
 * Owned: ql_free(*out). Errors: QL_EINVAL for one that leads nowhere,
 * QL_ENOMEM. */
ql_status ql_path_follow(const char *path, char **out);

/* True when path is dir or lies in it, whatever links lead there. Both must
 * exist. */
bool ql_path_within(const char *path, const char *dir);

/* The whole content, followed by a NUL that does not count, which must not
 * exceed max bytes. Owned: ql_free. Errors: QL_ENOTFOUND, QL_EIO, QL_EFORMAT
 * (too large), QL_ENOMEM. */
ql_status ql_file_read(const char *path, size_t max, char **data, size_t *len);

/* A file that is read from its start to its end. */
typedef struct ql_infile {
    int fd;
    char *path;
    size_t bytes; /* of the file when it was opened */
} ql_infile;

/* Errors: QL_ENOTFOUND, QL_EIO, QL_EFORMAT (no regular file), QL_ENOMEM. */
ql_status ql_infile_init(ql_infile *f, const char *path);
/* The next n bytes. Errors: QL_EFORMAT when there are fewer, QL_EIO. */
ql_status ql_infile_read(ql_infile *f, void *data, size_t n);
void ql_infile_free(ql_infile *f);

/* A file under construction: written as path + ".part", flushed to disk and
 * renamed on commit, removed by free when not committed. */
typedef struct ql_outfile {
    int fd;
    char *path;
    char *part;
    uint64_t written; /* bytes */
} ql_outfile;

/* Errors: QL_EIO, QL_ENOTFOUND (no such folder), QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_outfile_init(ql_outfile *f, const char *path);
ql_status ql_outfile_write(ql_outfile *f, const void *data, size_t n);
/* Writes at a place of the file; it may lie beyond the end so far. */
ql_status ql_outfile_write_at(ql_outfile *f, uint64_t offset, const void *data,
                              size_t n);
ql_status ql_outfile_commit(ql_outfile *f);
void ql_outfile_free(ql_outfile *f);

/* Writes a whole file by the above. */
ql_status ql_file_write(const char *path, const void *data, size_t n);

/* Copies a file by the above. */
ql_status ql_file_copy(const char *from, const char *to);

/* A folder under construction beside its final name: work holds the folder
 * to write to. Commit flushes it to disk and renames it; free removes it when
 * not committed. */
typedef struct ql_outdir {
    char *path; /* final name */
    char *work; /* folder to write to, "PATH.part-PID" */
    bool replace;
} ql_outdir;

/* replace: an existing folder at path may be replaced on commit (it is moved
 * aside first and removed last). Errors: QL_EINVAL when path exists and
 * replace is false; QL_EIO, QL_ENOSPACE. */
ql_status ql_outdir_init(ql_outdir *d, const char *path, bool replace);
ql_status ql_outdir_commit(ql_outdir *d);
void ql_outdir_free(ql_outdir *d);

/* Fails with QL_ENOTFOUND unless path is a folder. advice is what to give
 * instead: "give a Hugging Face model folder". */
ql_status ql_dir_need(const char *path, const char *advice);

/* Makes a folder and its missing parents; an existing folder is fine. */
ql_status ql_dir_make(const char *path);

/* The same of the folder that path is in. */
ql_status ql_dir_make_parent(const char *path);

/* Removes a folder with all that is in it; of a symbolic link, only the link.
 * Missing: QL_OK. */
ql_status ql_dir_remove(const char *path);

/* The same, but under its name the folder is never seen half removed: first it
 * is moved aside, to "PATH.old-PID". */
ql_status ql_dir_discard(const char *path);

/* True for the name of a folder that is not done, or on its way out: it ends
 * with ".part-" or ".old-" and a number, as ql_outdir and ql_dir_discard name
 * theirs. */
bool ql_dir_is_rest(const char *name);

/* Sees to it that what was made, renamed or removed in a folder will be so
 * after a crash of the system. Errors: QL_EIO. */
ql_status ql_dir_sync(const char *path);

/* Names in a folder, sorted bytewise, without "." and "..". Owned: free with
 * ql_dir_list_free. */
ql_status ql_dir_list(const char *path, char ***names, size_t *n);
void ql_dir_list_free(char **names, size_t n);

/* Bytes of the disk that a file takes, or a folder with all that is in it; what
 * is not there, or cannot be read, takes none. */
uint64_t ql_disk_used(const char *path);

/* Fails with QL_ENOSPACE when the file system of path (or of its nearest
 * existing parent) has less than need bytes free for us. */
ql_status ql_disk_need(const char *path, uint64_t need);

#endif
