/* A page of results that needs nothing but itself, light and dark, in the
 * style of the reports of a training. */
#ifndef QL_BENCH_PAGE_H
#define QL_BENCH_PAGE_H

#include <jansson.h>

#include "src/base/buf.h"

typedef struct bench_page {
    ql_buf text;
    ql_status st; /* of all that was put */
} bench_page;

/* style: further rules. */
void bench_page_begin(bench_page *p, const char *title, const char *eyebrow,
                      const char *style);

/* HTML as it is. A failure is kept for the end. */
void bench_page_put(bench_page *p, const char *fmt, ...) QL_PRINTF(2, 3);

/* Text of others, whose signs mean nothing to HTML. */
void bench_page_quote(bench_page *p, const char *text);

enum {
    BENCH_QUOTED = 512
};

/* The same as a text, cut where it is too long. Returns out. */
const char *bench_quoted(char out[BENCH_QUOTED], const char *text);

/* Says that not all was measured, if member "stopped" of a result says why. */
void bench_page_stopped(bench_page *p, const json_t *root);

/* Adds what the measurement was made on, writes the file and frees the page.
 * Errors: QL_ENOMEM, QL_EIO, QL_ENOSPACE. */
ql_status bench_page_end(bench_page *p, const json_t *machine,
                         const char *path);

#endif
