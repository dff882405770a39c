#include "src/base/note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static ql_note_fn *note_fn;
static void *note_user;
static char told[1024]; /* the last one */

void ql_note_set(ql_note_fn *fn, void *user)
{
    told[0] = '\0';
    note_fn = fn;
    note_user = user;
}

static QL_PRINTF(2, 0) void tell(ql_note_kind kind, const char *fmt, va_list ap)
{
    char text[sizeof(told)];

    if (!note_fn) {
        return;
    }
    vsnprintf(text, sizeof(text), fmt, ap);
    if (strcmp(text, told) != 0) {
        memcpy(told, text, strlen(text) + 1);
        note_fn(kind, text, note_user);
    }
}

void ql_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tell(QL_NOTE_NEWS, fmt, ap);
    va_end(ap);
}

void ql_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tell(QL_NOTE_WARNING, fmt, ap);
    va_end(ap);
}
