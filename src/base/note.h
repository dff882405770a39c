/* Notes for the user: one sentence each, handed to the runtime's callback; one
 * that repeats the one before it is not. Each is of one of two kinds:
 *
 *     ql_note  how things go on, as they should: what was chosen, where it is;
 *     ql_warn  what the user would want to know who wants to know nothing
 *              else: a thing that was given is not used, or is damaged; what
 *              comes out is not, or may not be, what it is taken for. */
#ifndef QL_BASE_NOTE_H
#define QL_BASE_NOTE_H

#include "qlora/runtime.h"

void ql_note(const char *fmt, ...) QL_PRINTF(1, 2);
void ql_warn(const char *fmt, ...) QL_PRINTF(1, 2);

/* Where notes go; set by ql_runtime_open. */
void ql_note_set(ql_note_fn *fn, void *user);

#endif
