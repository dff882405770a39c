#include "tools/bench/bench_table.h"

#include <math.h>
#include <stdio.h>

#include "tools/cli/results.h"

static void put_json(const bench_table *t, const bench_cell *cells)
{
    printf("{\"result\": \"%s\"", t->name);
    for (size_t i = 0; i < t->n; i++) {
        const bench_column *c = &t->columns[i];

        printf(", \"%s\": ", c->key);
        if (c->decimals == BENCH_TEXT) {
            cli_json_string(stdout, cells[i].text);
        } else if (isfinite(cells[i].number)) {
            printf("%.9g", cells[i].number);
        } else {
            fputs("null", stdout);
        }
    }
    puts("}");
}

static void put_cell(const bench_column *c, bench_cell cell, int width)
{
    if (c->decimals == BENCH_TEXT) {
        printf("%*s", width, cell.text);
    } else if (isfinite(cell.number)) {
        printf("%*.*f", width, c->decimals, cell.number);
    } else {
        printf("%*s", width, "-");
    }
}

void bench_table_head(const bench_table *t)
{
    for (size_t i = 0; i < t->n && !t->json; i++) {
        printf("%s%*s", i ? " " : "\n", t->columns[i].width,
               t->columns[i].head);
    }
    if (!t->json) {
        putchar('\n');
    }
}

void bench_table_row(const bench_table *t, const bench_cell *cells)
{
    if (t->json) {
        put_json(t, cells);
    } else {
        for (size_t i = 0; i < t->n; i++) {
            fputs(i ? " " : "", stdout);
            put_cell(&t->columns[i], cells[i], t->columns[i].width);
        }
        putchar('\n');
    }
    fflush(stdout);
}

void bench_table_list(const bench_table *t, const bench_cell *cells)
{
    if (t->json) {
        put_json(t, cells);
        return;
    }
    for (size_t i = 0; i < t->n; i++) {
        printf("%-30s ", t->columns[i].head);
        put_cell(&t->columns[i], cells[i], 0);
        putchar('\n');
    }
    fflush(stdout);
}
