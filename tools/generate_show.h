/* What qlora-generate shows: text on stdout, numbers on stderr. */
#ifndef QL_TOOLS_GENERATE_SHOW_H
#define QL_TOOLS_GENERATE_SHOW_H

#include "tools/generate_options.h"

/* Where a text goes, piece by piece. */
typedef struct generate_show {
    const ql_generator *plan; /* whose memory is told first, once; or NULL */
    const char *before;       /* written before the text, once; or NULL */
    bool silent;              /* no text is written */
} generate_show;

/* A ql_generate_fn; user is a generate_show. */
bool generate_show_piece(const char *piece, size_t len, void *user);

/* The adapter that a model has loaded, in a line on standard error. */
void generate_show_adapter(const ql_model *m);

/* How fast a text came. */
void generate_show_speed(const ql_generated *r);

/* Members of a JSON object that tell of a text, after a comma; then "}" and the
 * end of the line. */
void generate_show_json(const ql_generated *r);

#endif
