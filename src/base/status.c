/* The last error of each thread. A fixed buffer, so that reporting a failure
 * can never fail itself; a sentence that is too long is cut. */
#include "qlora/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fail.h"

enum {
    ERROR_BYTES = 2048
};

static _Thread_local char last_error[ERROR_BYTES];

static const char *const names[] = {
    [-QL_OK] = "QL_OK",
    [-QL_ENOMEM] = "QL_ENOMEM",
    [-QL_EINVAL] = "QL_EINVAL",
    [-QL_EIO] = "QL_EIO",
    [-QL_EFORMAT] = "QL_EFORMAT",
    [-QL_EUNSUPPORTED] = "QL_EUNSUPPORTED",
    [-QL_ENOTFOUND] = "QL_ENOTFOUND",
    [-QL_ECANCELLED] = "QL_ECANCELLED",
    [-QL_EMISMATCH] = "QL_EMISMATCH",
    [-QL_ENUMERIC] = "QL_ENUMERIC",
    [-QL_ENOSPACE] = "QL_ENOSPACE",
};

const char *ql_last_error(void)
{
    return last_error;
}

const char *ql_status_name(ql_status st)
{
    const int i = -(int)st;

    if (i < 0 || i >= (int)(sizeof(names) / sizeof(names[0]))) {
        return "unknown status";
    }
    return names[i];
}

/* Folders under construction (see base/file.h) become those that the user
 * gave. */
static void hide_work(char *text)
{
    char mark[32];
    const size_t n =
        (size_t)snprintf(mark, sizeof(mark), ".part-%ld", (long)getpid());
    char *at = text;

    while ((at = strstr(at, mark))) {
        const size_t slash = at > text && at[-1] == '/';
        const char *rest = at + n;

        if (*rest >= '0' && *rest <= '9') {
            at += n;
            continue;
        }
        at -= slash;
        memmove(at, rest, strlen(rest) + 1);
    }
}

ql_status ql_fail(ql_status st, const char *fmt, ...)
{
    char text[ERROR_BYTES]; /* apart: an argument may be the last error */
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (st == QL_ENOSPACE) {
        hide_work(text);
    }
    memcpy(last_error, text, sizeof(text));
    return st;
}

ql_status ql_fail_prefix(ql_status st, const char *fmt, ...)
{
    char prefix[ERROR_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(prefix, sizeof(prefix), fmt, ap);
    va_end(ap);
    return ql_fail(st, "%s%s", prefix, last_error);
}

/* Codes of the system that are more than "it did not work". */
static const struct {
    int code;
    ql_status st;
    const char *advice;
} known[] = {
    {ENOENT, QL_ENOTFOUND, ""},
    {ENOMEM, QL_ENOMEM, ""},
    {ENOSPC, QL_ENOSPACE, "; free some space or write elsewhere"},
    {EDQUOT, QL_ENOSPACE, "; free some space or write elsewhere"},
    {EFBIG, QL_ENOSPACE,
     "; the file system or a limit (ulimit -f) allows no larger file"},
};

ql_status ql_fail_errno(const char *fmt, ...)
{
    const int code = errno;
    const size_t n = sizeof(known) / sizeof(known[0]);
    char what[ERROR_BYTES];
    va_list ap;
    size_t i = 0;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    while (i < n && known[i].code != code) {
        i++;
    }
    return ql_fail(i < n ? known[i].st : QL_EIO, "%s: %s%s", what,
                   strerror(code), i < n ? known[i].advice : "");
}
