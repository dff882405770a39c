/* Notes for the user: one sentence each, handed to the runtime's callback; one
 * that repeats the one before it is not. */
#ifndef QL_BASE_NOTE_H
#define QL_BASE_NOTE_H

#include "qlora/runtime.h"

void ql_note(const char *fmt, ...) QL_PRINTF(1, 2);

/* Where notes go; set by ql_runtime_open. */
void ql_note_set(ql_note_fn *fn, void *user);

#endif
