/* A sample as people read it: its text, with the trained part marked, in
 * colour on a terminal and between brackets elsewhere. */
#ifndef QL_TOOLS_SAMPLE_VIEW_H
#define QL_TOOLS_SAMPLE_VIEW_H

#include <stdio.h>

#include "qlora/dataset.h"

/* Whether out is a terminal that may be written to in colour: NO_COLOR is not
 * set, TERM is not dumb. */
bool sample_view_coloured(FILE *out);

/* How what is trained of a sample is marked, for a heading: "green" or "between
 * [[ and ]]"; of a classifier it is "the class". Borrowed, constant. */
const char *sample_view_mark(bool coloured, ql_sample s);

/* Writes the text of a sample of ds, its class if it has one, and a newline.
 * Characters that would move the
 * cursor of a terminal are written as \x1b, but for newlines and tabs. Errors:
 * QL_ENOMEM. */
ql_status sample_view_print(FILE *out, bool coloured, const ql_tokenizer *tok,
                            const ql_dataset *ds, ql_sample s);

#endif
