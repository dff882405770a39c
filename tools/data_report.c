#include "tools/data_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/cli/results.h"
#include "tools/cli/term.h"

/* A count that is worth a line only where it is not zero. */
typedef struct count {
    const char *key, *text;
    size_t n;
} count;

enum {
    COUNTS = 7
};

static void list_counts(count out[COUNTS], const ql_dataset_report *r)
{
    const count all[COUNTS] = {
        {"refused", "records refused", r->refused},
        {"dropped_empty", "left out: nothing to train on", r->dropped_empty},
        {"dropped_long", "left out: too long", r->dropped_long},
        {"truncated", "cut to the maximum length", r->truncated},
        {"split", "conversations split into several samples", r->split},
        {"unended", "end in no special token", r->unended},
        {"bos_removed", "a second BOS token left out", r->bos_removed},
    };

    for (size_t i = 0; i < COUNTS; i++) {
        out[i] = all[i];
    }
}

static double share(size_t part, size_t all)
{
    return all > 0 ? 100 * (double)part / (double)all : 0;
}

static void file_json(const ql_dataset_report *r)
{
    count counts[COUNTS];

    fputs("{\"file\": ", stdout);
    if (r->path) {
        cli_json_string(stdout, r->path);
    } else {
        fputs("null", stdout);
    }
    printf(", \"format\": \"%s\", \"keys\": ", ql_format_name(r->format));
    cli_json_string(stdout, r->keys);
    printf(", \"records\": %zu, \"samples\": %zu, \"tokens\": %zu, "
           "\"trained_tokens\": %zu, \"longest\": %zu",
           r->records, r->samples, r->tokens, r->trained_tokens, r->longest);
    list_counts(counts, r);
    for (size_t i = 0; i < COUNTS; i++) {
        printf(", \"%s\": %zu", counts[i].key, counts[i].n);
    }
    puts("}");
}

static void file_text(const ql_dataset_report *r)
{
    count counts[COUNTS];
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];

    printf("%s\n", r->path ? r->path : "all files");
    if (r->path) {
        printf("  format   %s", ql_format_name(r->format));
        printf(*r->keys ? " (%s)\n" : "%s\n", r->keys);
    }
    printf("  records  %s\n", cli_format_count(a, r->records));
    printf("  samples  %s\n", cli_format_count(a, r->samples));
    printf("  tokens   %s, of which %s are trained (%.1f %%)\n",
           cli_format_count(a, r->tokens),
           cli_format_count(b, r->trained_tokens),
           share(r->trained_tokens, r->tokens));
    list_counts(counts, r);
    for (size_t i = 0; i < COUNTS; i++) {
        if (counts[i].n > 0) {
            printf("  %s: %s\n", counts[i].text,
                   cli_format_count(a, counts[i].n));
        }
    }
}

void data_report_file(const ql_dataset_report *r, bool json)
{
    (json ? file_json : file_text)(r);
}

static int rising(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;

    return (x > y) - (x < y);
}

ql_status data_report_lengths(const ql_dataset *ds, bool json)
{
    static const struct {
        const char *name;
        size_t percent;
    } places[] = {{"shortest", 0},
                  {"median", 50},
                  {"p90", 90},
                  {"p99", 99},
                  {"longest", 100}};
    const size_t n = ql_dataset_size(ds);
    size_t *lengths = calloc(n + 1, sizeof(*lengths));

    if (!lengths) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        lengths[i] = ql_dataset_sample(ds, i).n;
    }
    qsort(lengths, n, sizeof(*lengths), rising);
    printf(json ? "{\"lengths\": true" : "tokens of a sample\n ");
    for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        printf(json ? ", \"%s\": %zu" : " %s %zu ", places[i].name,
               lengths[(n - 1) * places[i].percent / 100]);
    }
    puts(json ? "}" : "");
    free(lengths);
    return QL_OK;
}

static void finding_json(const ql_finding *f)
{
    printf("{\"finding\": \"%s\", \"count\": %zu, \"stops\": %s, \"what\": ",
           f->name, f->count, f->stops ? "true" : "false");
    cli_json_string(stdout, f->what);
    fputs(", \"advice\": ", stdout);
    cli_json_string(stdout, f->advice);
    fputs(", \"examples\": [", stdout);
    for (size_t i = 0; i < f->n_examples; i++) {
        fputs(i > 0 ? ", {\"file\": " : "{\"file\": ", stdout);
        cli_json_string(stdout, f->examples[i].path);
        printf(", \"line\": %zu", f->examples[i].line);
        if (f->reasons[i]) {
            fputs(", \"reason\": ", stdout);
            cli_json_string(stdout, f->reasons[i]);
        }
        putchar('}');
    }
    puts("]}");
}

static void finding_text(const ql_finding *f)
{
    char n[CLI_TEXT_BYTES];

    printf("%s %s\n", cli_format_count(n, f->count), f->what);
    for (size_t i = 0; i < f->n_examples; i++) {
        printf("    %s:%zu", f->examples[i].path, f->examples[i].line);
        printf(f->reasons[i] ? ": %s\n" : "%s\n",
               f->reasons[i] ? f->reasons[i] : "");
    }
    if (f->n_examples > 0 && f->count > f->n_examples) {
        puts("    ...");
    }
    printf("    -> %s\n", f->advice);
}

void data_report_findings(const ql_finding *findings, size_t n, bool json)
{
    if (!json) {
        puts(n > 0 ? "\nfound" : "\nno mistakes found");
    }
    for (size_t i = 0; i < n; i++) {
        (json ? finding_json : finding_text)(&findings[i]);
    }
}
