/* The usage text: one sentence, the shortest useful command, then the options
 * by group, in the order in which the groups first appear in the tables. */
#include <string.h>

#include "tools/cli/value.h"

enum {
    WIDTH = 79, /* a comma may follow */
    HELP_COLUMN = 30
};

/* Writes words from column on, wrapped with an indent of that column. */
static size_t put_words(const char *text, size_t column, size_t indent,
                        FILE *out)
{
    while (*text) {
        const size_t n = strcspn(text, " ");

        if (column > indent && column + 1 + n > WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            putc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)n, text);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    return column;
}

/* "  -o, --output DIR", and its length. */
static size_t put_name(const cli_opt *opt, FILE *out)
{
    const char *value = cli_value_name(opt);
    int n;

    if (opt->positional) {
        return (size_t)fprintf(out, "  %s", value);
    }
    n = opt->letter ? fprintf(out, "  -%c, ", opt->letter)
                    : fprintf(out, "      ");
    if (opt->kind == CLI_KIND_FLAG) {
        n += fprintf(out, "--%s%s", opt->stops ? "" : "[no-]", opt->name);
    } else {
        n += fprintf(out, "--%s %s%s%s", opt->name, opt->bare ? "[" : "", value,
                     opt->bare ? "]" : "");
    }
    return (size_t)n;
}

/* ": a, b", the first name of each value. */
static size_t put_choices(const cli_opt *opt, size_t column, FILE *out)
{
    const cli_choice *all = opt->choices;
    const char *mark = ":";

    for (size_t i = 0; all[i].name; i++) {
        size_t first = 0;
        char word[80];

        while (all[first].value != all[i].value) {
            first++;
        }
        if (first == i) {
            fputs(mark, out);
            snprintf(word, sizeof(word), "%s", all[i].name);
            column = put_words(word, column + 1, HELP_COLUMN, out);
            mark = ",";
        }
    }
    return column;
}

/* The default in brackets, if there is one. */
static void put_default(const cli_seen *s, size_t column, FILE *out)
{
    const cli_opt *opt = s->opt;
    const char *value = opt->default_text ? opt->default_text : s->initial;
    char text[160];

    if (!*value || opt->stops) {
        return;
    }
    if (opt->kind == CLI_KIND_FLAG && !opt->default_text) {
        value = strcmp(value, "true") == 0 ? "on" : "off";
    }
    snprintf(text, sizeof(text), "[%s]", value);
    put_words(text, column, HELP_COLUMN, out);
}

static void put_option(const cli_seen *s, FILE *out)
{
    const cli_opt *opt = s->opt;
    size_t column = put_name(opt, out);

    if (column + 2 > HELP_COLUMN) {
        putc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(HELP_COLUMN - column), "");
    column = put_words(opt->help, HELP_COLUMN, HELP_COLUMN, out);
    if (opt->kind == CLI_KIND_CHOICE) {
        column = put_choices(opt, column, out);
    }
    put_default(s, column, out);
    putc('\n', out);
}

static bool same_group(const cli_opt *a, const cli_opt *b)
{
    return a->positional == b->positional &&
           strcmp(a->group ? a->group : "", b->group ? b->group : "") == 0;
}

static void put_group(const cli_args *args, size_t first, FILE *out)
{
    const cli_opt *head = args->seen[first].opt;
    const char *name = head->positional ? "Arguments" : "Options";

    fprintf(out, "\n%s:\n", head->group ? head->group : name);
    for (size_t i = first; i < args->n; i++) {
        if (same_group(args->seen[i].opt, head)) {
            put_option(&args->seen[i], out);
        }
    }
}

static void put_synopsis(const cli_args *args, FILE *out)
{
    fprintf(out, "Usage: %s", args->command->name);
    for (size_t i = 0; i < args->n; i++) {
        const cli_opt *opt = args->seen[i].opt;

        if (opt->positional) {
            fprintf(out, opt->required ? " %s" : " [%s]", cli_value_name(opt));
        }
    }
    for (size_t i = 0; i < args->n; i++) {
        const cli_opt *opt = args->seen[i].opt;

        if (opt->required && !opt->positional) {
            fprintf(out, " --%s %s", opt->name, cli_value_name(opt));
        }
    }
    fputs(" [OPTION...]\n", out);
}

void cli_args_usage(const cli_args *args, FILE *out)
{
    put_words(args->command->about, 0, 0, out);
    putc('\n', out);
    if (args->command->example) {
        fprintf(out, "\n  %s\n", args->command->example);
    }
    putc('\n', out);
    put_synopsis(args, out);
    for (size_t i = 0; i < args->n; i++) {
        size_t first = 0;

        while (!same_group(args->seen[first].opt, args->seen[i].opt)) {
            first++;
        }
        if (first == i) {
            put_group(args, i, out);
        }
    }
}
