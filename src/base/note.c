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

void ql_note(const char *fmt, ...)
{
    char text[sizeof(told)];
    va_list ap;

    if (!note_fn) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (strcmp(text, told) != 0) {
        memcpy(told, text, strlen(text) + 1);
        note_fn(text, note_user);
    }
}
