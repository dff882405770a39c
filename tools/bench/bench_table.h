/* Results for people, as a table, or for programs, as JSON lines; both from
 * the same list of columns. */
#ifndef QL_BENCH_TABLE_H
#define QL_BENCH_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    BENCH_TEXT = -1 /* decimals of a column of text */
};

typedef struct bench_column {
    const char *key;  /* in JSON */
    const char *head; /* in the table */
    int width;        /* negative: to the left */
    int decimals;     /* or BENCH_TEXT */
} bench_column;

typedef struct bench_cell {
    const char *text;
    double number; /* NAN: there is none */
} bench_cell;

static inline bench_cell bench_text(const char *text)
{
    return (bench_cell){.text = text};
}

static inline bench_cell bench_number(double x)
{
    return (bench_cell){.number = x};
}

typedef struct bench_table {
    const char *name; /* in JSON, as "result" */
    const bench_column *columns;
    size_t n;
    bool json;
} bench_table;

/* The heads of the columns; nothing as JSON. */
void bench_table_head(const bench_table *t);

/* A row, cells [t->n]. */
void bench_table_row(const bench_table *t, const bench_cell *cells);

/* The only row of a table, as lines of head and value. */
void bench_table_list(const bench_table *t, const bench_cell *cells);

#endif
