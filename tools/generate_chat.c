#include "tools/generate_chat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/exit.h"
#include "tools/cli/results.h"
#include "tools/cli/term.h"
#include "tools/generate_show.h"

typedef struct message {
    const char *role; /* constant */
    char *content;
} message;

typedef struct talk {
    ql_generator *g;
    bool quiet;
    bool typed; /* somebody sits at a terminal */
    message *list;
    size_t n;
    bool has_system; /* the first one is the system's */
    generate_show show;
} talk;

static const char help[] =
    "/reset         forget the conversation\n"
    "/system TEXT   what the model is told first; begins anew\n"
    "/exit          end, as Ctrl-D does\n"
    "//TEXT         say /TEXT\n"
    "A line that ends in \\ goes on in the next. Ctrl-C stops an answer.\n";

static ql_status add(talk *t, const char *role, const char *content)
{
    message *list = realloc(t->list, (t->n + 1) * sizeof(*list));
    char *copy = strdup(content);

    t->list = list ? list : t->list;
    if (!list || !copy) {
        free(copy);
        return QL_ENOMEM;
    }
    list[t->n++] = (message){role, copy};
    return QL_OK;
}

static void cut(talk *t, size_t n)
{
    while (t->n > n) {
        free(t->list[--t->n].content);
    }
}

/* The list as JSON. Owned: free. NULL without memory. */
static char *list_json(const talk *t)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f) {
        return NULL;
    }
    for (size_t i = 0; i < t->n; i++) {
        fprintf(f, "%s{\"role\": \"%s\", \"content\": ", i > 0 ? ", " : "[",
                t->list[i].role);
        cli_json_string(f, t->list[i].content);
        fputc('}', f);
    }
    fputc(']', f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Answers what was said. What fails is not remembered, what was stopped is. */
static ql_status answer(talk *t, const char *said)
{
    const size_t before = t->n;
    ql_generated r = {0};
    char *json = NULL;
    ql_status st = add(t, "user", said);

    if (st == QL_OK) {
        json = list_json(t);
        st = json ? ql_generator_answer(t->g, json, "the conversation",
                                        generate_show_piece, &t->show, &r)
                  : QL_ENOMEM;
    }
    if (st == QL_ECANCELLED && cli_interrupted() && r.text) {
        st = QL_OK;
    }
    if (st == QL_OK) {
        st = add(t, "assistant", r.text);
        putchar('\n');
        fflush(stdout);
    }
    if (st == QL_OK && !t->quiet) {
        generate_show_speed(&r);
    }
    cut(t, st == QL_OK ? t->n : before);
    free(json);
    ql_free(r.text);
    return st;
}

static ql_status set_system(talk *t, const char *text)
{
    cut(t, 0);
    t->has_system = *text != '\0';
    return t->has_system ? add(t, "system", text) : QL_OK;
}

/* What follows a command, without blanks; NULL if line is another. */
static const char *after(const char *line, const char *command)
{
    const size_t n = strlen(command);

    if (strncmp(line, command, n) != 0 || (line[n] && line[n] != ' ')) {
        return NULL;
    }
    return line + n + strspn(line + n, " ");
}

/* Does what a line says; *end at /exit. */
static ql_status take_line(talk *t, const char *line, bool *end)
{
    const char *text = after(line, "/system");

    if (text) {
        return set_system(t, text);
    }
    if (after(line, "/reset")) {
        cut(t, t->has_system);
    } else if (after(line, "/exit")) {
        *end = true;
    } else if (after(line, "/help")) {
        fputs(help, stderr);
    } else if (strncmp(line, "//", 2) == 0) {
        return answer(t, line + 1);
    } else if (*line == '/') {
        fprintf(stderr, "there is no such command:\n%s", help);
    } else if (line[strspn(line, " \t\r\n")]) {
        return answer(t, line);
    }
    return QL_OK;
}

/* Reads a line into *line of *room bytes, and those that it goes on in. False
 * at the end of what there is, or after Ctrl-C. */
static bool read_line(const talk *t, char **line, size_t *room)
{
    char *more = NULL;
    size_t more_room = 0;
    ssize_t n;

    if (t->typed) {
        fputs("> ", stderr);
    }
    if (t->typed && !cli_await_input()) {
        return false;
    }
    n = getline(line, room, stdin);
    if (n < 0) {
        return false;
    }
    while (n > 0 && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r')) {
        (*line)[--n] = '\0';
    }
    if (n > 0 && (*line)[n - 1] == '\\' && read_line(t, &more, &more_room)) {
        const size_t m = strlen(more);
        char *both = realloc(*line, (size_t)n + m + 1);

        if (both) {
            both[n - 1] = '\n';
            memcpy(both + n, more, m + 1);
            *line = both;
            *room = (size_t)n + m + 1;
        }
    }
    free(more);
    return true;
}

/* Line by line. A failure ends it unless somebody can mend it. */
static ql_status converse(talk *t)
{
    ql_status st = QL_OK;
    char *line = NULL;
    size_t room = 0;
    bool end = false;

    while (st == QL_OK && !end) {
        const bool got = read_line(t, &line, &room);

        if (got) {
            st = take_line(t, line, &end);
        }
        if (cli_interrupt_clear()) {
            clearerr(stdin);
            fputs(got ? "" : "\n(Ctrl-D or /exit ends)\n", stderr);
        } else if (!got) {
            end = true;
            fputs(t->typed ? "\n" : "", stderr);
        }
        if (st != QL_OK && st != QL_ECANCELLED && t->typed) {
            cli_fail("qlora-generate", st, ql_last_error(),
                     "/reset begins anew.");
            st = QL_OK;
        }
    }
    free(line);
    return st;
}

ql_status generate_chat(ql_generator *g, const generate_options *o, bool quiet)
{
    talk t = {.g = g,
              .quiet = quiet,
              .typed = isatty(STDIN_FILENO),
              .show = {.plan = quiet ? NULL : g}};
    ql_status st = set_system(&t, o->system ? o->system : "");

    cli_signals_converse();
    if (st == QL_OK && t.typed && !quiet) {
        fputs("/help tells what there is. Ctrl-D ends.\n", stderr);
    }
    if (st == QL_OK) {
        st = converse(&t);
    }
    cut(&t, 0);
    free(t.list);
    return st;
}
