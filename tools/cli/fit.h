/* Lines of progress that fit their terminal. */
#ifndef QL_CLI_FIT_H
#define QL_CLI_FIT_H

#include <stdbool.h>
#include <stddef.h>

/* Columns that a UTF-8 text takes, when none of its characters is wide. */
size_t cli_columns(const char *text);

/* A part of a line. */
typedef struct cli_part {
    char text[128]; /* "": nothing */
    int rank;       /* the higher, the sooner it is left out */
} cli_part;

enum {
    CLI_LINE_BYTES = 512
};

/* Joins n parts by two blanks. Where that is wider than width, those of the
 * highest rank are left out one by one; rank 0 stays. Returns line. */
const char *cli_fit(char line[CLI_LINE_BYTES], const cli_part *parts, size_t n,
                    size_t width);

/* A bar of so many columns, at most 40, filled to a share in [0, 1]; in plain
 * ASCII unless utf8. */
void cli_bar(cli_part *part, size_t columns, double share, bool utf8);

/* n finite values, at most 16, as a row of little columns; "" unless utf8, or
 * for fewer than two. */
void cli_spark(cli_part *part, const double *x, size_t n, bool utf8);

#endif
