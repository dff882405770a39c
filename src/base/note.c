#include "src/base/note.h"

#include <stdarg.h>
#include <stdio.h>

static ql_note_fn *note_fn;
static void *note_user;

void ql_note_set(ql_note_fn *fn, void *user)
{
    note_fn = fn;
    note_user = user;
}

void ql_note(const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (!note_fn) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    note_fn(text, note_user);
}
