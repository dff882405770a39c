/* Arguments to variables. The tables are walked for every argument, which is
 * nothing beside what the command does next. */
#include "tools/cli/opt.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/value.h"

/* A block of memory that belongs to a cli_args; its bytes follow. */
typedef struct block {
    struct block *next;
} block;

ql_status cli_args_fail(cli_args *args, ql_status st, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(args->error, sizeof(args->error), fmt, ap);
    va_end(ap);
    return st;
}

void *cli_args_alloc(cli_args *args, size_t n)
{
    block *b = malloc(sizeof(*b) + n);

    if (!b) {
        return NULL;
    }
    b->next = args->blocks;
    args->blocks = b;
    return b + 1;
}

char *cli_args_strdup(cli_args *args, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = cli_args_alloc(args, n);

    return copy ? memcpy(copy, text, n) : NULL;
}

static size_t count_rows(const cli_opt *opts)
{
    size_t n = 0;

    while (opts && opts[n].name) {
        n++;
    }
    return n;
}

/* The value that a variable holds before anything is parsed. */
static char *initial_text(const cli_opt *opt)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    if (!out) {
        return NULL;
    }
    cli_value_print(opt, false, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

ql_status cli_args_init(cli_args *args, const cli_command *cmd)
{
    const size_t own = count_rows(cmd->opts);
    const size_t n = own + count_rows(cmd->common);

    *args = (cli_args){.command = cmd};
    args->seen = calloc(n + 1, sizeof(args->seen[0]));
    if (!args->seen) {
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const cli_opt *opt = i < own ? &cmd->opts[i] : &cmd->common[i - own];

        assert(opt->max >= opt->min && opt->to.flag);
        assert(!cli_args_find(args, opt->name, strlen(opt->name), NULL));
        args->seen[i] = (cli_seen){.opt = opt, .initial = initial_text(opt)};
        args->n++;
        if (!args->seen[i].initial) {
            return cli_args_fail(args, QL_ENOMEM, "out of memory");
        }
    }
    return QL_OK;
}

void cli_args_free(cli_args *args)
{
    block *b = args->blocks;

    for (size_t i = 0; i < args->n; i++) {
        free(args->seen[i].initial);
    }
    free(args->seen);
    while (b) {
        block *next = b->next;

        free(b);
        b = next;
    }
    *args = (cli_args){0};
}

static char fold(char c)
{
    return c == '_' ? '-' : c;
}

bool cli_name_equal(const char *a, size_t n, const char *b)
{
    for (size_t i = 0; i < n; i++) {
        if (!b[i] || fold(a[i]) != fold(b[i])) {
            return false;
        }
    }
    return b[n] == '\0';
}

/* True if name[0..n) is the alias at the start of the list. */
static bool alias_equal(const char *name, size_t n, const char *alias,
                        size_t alias_len)
{
    if (n != alias_len) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (fold(name[i]) != fold(alias[i])) {
            return false;
        }
    }
    return true;
}

/* The alias list's entry for name[0..n): what follows the entry's name, which
 * is "=value", " next" or "". NULL if there is none. */
static const char *find_alias(const char *aliases, const char *name, size_t n)
{
    for (const char *a = aliases ? aliases : ""; *a;) {
        const size_t len = strcspn(a, " =");

        if (alias_equal(name, n, a, len)) {
            return a + len;
        }
        a += strcspn(a, " ");
        a += strspn(a, " ");
    }
    return NULL;
}

cli_seen *cli_args_find(const cli_args *args, const char *name, size_t n,
                        const char **implied)
{
    if (implied) {
        *implied = NULL;
    }
    for (size_t i = 0; i < args->n; i++) {
        const cli_opt *opt = args->seen[i].opt;
        const char *tail = find_alias(opt->aliases, name, n);

        if (cli_name_equal(name, n, opt->name)) {
            return &args->seen[i];
        }
        if (tail) {
            if (implied && *tail == '=') {
                *implied = tail + 1;
            }
            return &args->seen[i];
        }
    }
    return NULL;
}

bool cli_args_given(const cli_args *args, const char *name)
{
    const cli_seen *s = cli_args_find(args, name, strlen(name), NULL);

    return s && (s->given || s->configured);
}

void cli_args_idle(cli_args *args, const char *name)
{
    cli_seen *s = cli_args_find(args, name, strlen(name), NULL);

    if (s) {
        s->idle = true;
    }
}

/* Edits that turn one name into the other: insert, delete, replace a letter,
 * or swap two neighbours. Names longer than the rows are far from all. */
static size_t distance(const char *a, size_t an, const char *b, size_t bn)
{
    enum {
        LONGEST = 64
    };
    size_t rows[3][LONGEST + 1]; /* the rows i - 2, i - 1 and i, in turn */

    if (an > LONGEST || bn > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= bn; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= an; i++) {
        const size_t *up = rows[(i - 1) % 3];
        const size_t *up2 = rows[(i + 1) % 3];
        size_t *row = rows[i % 3];

        row[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            const char x = fold(a[i - 1]);
            const char y = fold(b[j - 1]);
            size_t best = up[j - 1] + (x != y);

            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && y == fold(a[i - 2]) &&
                up2[j - 2] + 1 < best) {
                best = up2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[an % 3][bn];
}

typedef struct nearest {
    const char *name;
    size_t len;
    size_t off;
} nearest;

static void consider(nearest *best, const char *name, size_t n,
                     const char *known, size_t known_len)
{
    const size_t off = distance(name, n, known, known_len);

    if (off < best->off) {
        *best = (nearest){known, known_len, off};
    }
}

/* A misspelling changes up to a third of a name; a name that was cut short
 * still begins the right one. */
bool cli_args_nearest(const cli_args *args, const char *name, size_t n,
                      char *out, size_t out_bytes)
{
    nearest best = {NULL, 0, 1 + (n > 3 ? n / 3 : 1)};

    for (size_t i = 0; i < args->n; i++) {
        const cli_opt *opt = args->seen[i].opt;
        const char *a = opt->aliases ? opt->aliases : "";

        consider(&best, name, n, opt->name, strlen(opt->name));
        while (*a) {
            consider(&best, name, n, a, strcspn(a, " ="));
            a += strcspn(a, " ");
            a += strspn(a, " ");
        }
    }
    for (size_t i = 0; !best.name && n > 2 && i < args->n; i++) {
        const char *known = args->seen[i].opt->name;

        if (strlen(known) > n && alias_equal(name, n, known, n)) {
            best = (nearest){known, strlen(known), 0};
        }
    }
    if (!best.name) {
        return false;
    }
    snprintf(out, out_bytes, "%.*s", (int)best.len, best.name);
    return true;
}

/* The arguments that are still to be read. */
typedef struct cursor {
    char **next;
    char **end;
    size_t places;    /* positional arguments seen */
    bool only_places; /* after "--" */
} cursor;

static ql_status unknown(cli_args *args, const char *text, size_t n)
{
    char near[80];

    if (cli_args_nearest(args, text + 2, n > 2 ? n - 2 : 0, near,
                         sizeof(near))) {
        return cli_args_fail(args, QL_EINVAL,
                             "unknown option %.*s; did you mean --%s?", (int)n,
                             text, near);
    }
    return cli_args_fail(args, QL_EINVAL, "unknown option %.*s", (int)n, text);
}

static bool is_list(const cli_opt *opt)
{
    return opt->kind == CLI_KIND_LIST || opt->kind == CLI_KIND_FILES;
}

static ql_status assign(cli_args *args, cli_seen *s, const char *label,
                        const char *text)
{
    if (!s->given) {
        cli_value_clear(s->opt);
    }
    s->given = true;
    if (s->opt->stops) {
        args->stopped = true;
    }
    return cli_value_set(args, s->opt, label, text, true);
}

static bool has_places(const cli_args *args)
{
    for (size_t i = 0; i < args->n; i++) {
        if (args->seen[i].opt->positional) {
            return true;
        }
    }
    return false;
}

static const char *bare_value(const cli_opt *opt)
{
    return opt->kind == CLI_KIND_FLAG ? "true" : opt->bare;
}

/* The value of an option without "=": the next argument, unless that begins
 * like a long option; or, if the value may be left out, only if it fits. */
static ql_status take_value(cli_args *args, cursor *c, cli_seen *s,
                            const char *label)
{
    const char *bare = bare_value(s->opt);
    const char *next = c->next < c->end ? *c->next : NULL;
    ql_status st;

    if (bare && !(next && cli_value_fits(s->opt, next))) {
        return assign(args, s, label, bare);
    }
    if (!next) {
        return cli_args_fail(args, QL_EINVAL, "%s needs a value", label);
    }
    if (strncmp(next, "--", 2) == 0) {
        return cli_args_fail(args, QL_EINVAL,
                             "%s needs a value, but %s follows; a value that "
                             "begins with -- is written %s=VALUE",
                             label, next, label);
    }
    c->next++;
    st = assign(args, s, label, next);
    if (is_list(s->opt) && !has_places(args)) {
        while (st == QL_OK && c->next < c->end && **c->next != '-') {
            st = assign(args, s, label, *c->next++);
        }
    }
    return st;
}

/* --no-x, which is --x=false for what knows that value. */
static cli_seen *find_negated(const cli_args *args, const char *name, size_t n)
{
    const char *implied;
    cli_seen *s;

    if (n <= 3 || !alias_equal(name, 3, "no-", 3)) {
        return NULL;
    }
    s = cli_args_find(args, name + 3, n - 3, &implied);
    if (!s || implied || !bare_value(s->opt) || s->opt->stops ||
        !cli_value_fits(s->opt, "false")) {
        return NULL;
    }
    return s;
}

/* A value that an alias stands for: up to a space or the end. */
static ql_status assign_implied(cli_args *args, cli_seen *s, const char *label,
                                const char *implied)
{
    char *value = cli_args_strdup(args, implied);

    if (!value) {
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    value[strcspn(value, " ")] = '\0';
    return assign(args, s, label, value);
}

static ql_status take_long(cli_args *args, cursor *c, char *text)
{
    const char *name = text + 2;
    const size_t n = strcspn(name, "=");
    const char *value = name[n] ? name + n + 1 : NULL;
    const char *implied;
    char label[80];
    cli_seen *s = cli_args_find(args, name, n, &implied);

    snprintf(label, sizeof(label), "%.*s", (int)(n + 2), text);
    if (s && s->opt->positional) {
        s = NULL;
    }
    if (s && implied) {
        if (value) {
            return cli_args_fail(args, QL_EINVAL, "%s takes no value", label);
        }
        return assign_implied(args, s, label, implied);
    }
    if (s && value) {
        return assign(args, s, label, value);
    }
    if (s) {
        return take_value(args, c, s, label);
    }
    s = find_negated(args, name, n);
    if (!s) {
        return unknown(args, text, n + 2);
    }
    if (value) {
        return cli_args_fail(args, QL_EINVAL, "%s takes no value", label);
    }
    return assign(args, s, label, "false");
}

/* -x, -x VALUE or -xVALUE. */
static ql_status take_short(cli_args *args, cursor *c, char *text)
{
    const char label[3] = {'-', text[1], '\0'};

    for (size_t i = 0; i < args->n; i++) {
        cli_seen *s = &args->seen[i];

        if (s->opt->letter != text[1]) {
            continue;
        }
        if (!text[2]) {
            return take_value(args, c, s, label);
        }
        if (bare_value(s->opt)) {
            return cli_args_fail(args, QL_EINVAL, "%s takes no value", label);
        }
        return assign(args, s, label, text + 2);
    }
    return cli_args_fail(args, QL_EINVAL, "unknown option %s", text);
}

/* The row of the next positional argument; a list takes all that follow. */
static ql_status take_place(cli_args *args, cursor *c, const char *text)
{
    size_t place = 0;

    for (size_t i = 0; i < args->n; i++) {
        cli_seen *s = &args->seen[i];

        if (!s->opt->positional) {
            continue;
        }
        if (place == c->places || is_list(s->opt)) {
            c->places++;
            return assign(args, s, cli_value_name(s->opt), text);
        }
        place++;
    }
    return cli_args_fail(args, QL_EINVAL, "unexpected argument '%s'", text);
}

static ql_status take(cli_args *args, cursor *c)
{
    char *text = *c->next++;

    if (c->only_places || text[0] != '-' || !text[1]) {
        return take_place(args, c, text);
    }
    if (strcmp(text, "--") == 0) {
        c->only_places = true;
        return QL_OK;
    }
    if (text[1] == '-') {
        return take_long(args, c, text);
    }
    return take_short(args, c, text);
}

ql_status cli_args_parse(cli_args *args, int argc, char **argv)
{
    cursor c = {.next = argv + 1, .end = argv + argc};
    ql_status st = QL_OK;

    while (st == QL_OK && !args->stopped && c.next < c.end) {
        st = take(args, &c);
    }
    return st;
}

ql_status cli_args_require(cli_args *args)
{
    for (size_t i = 0; i < args->n && !args->stopped; i++) {
        const cli_seen *s = &args->seen[i];
        const bool place = s->opt->positional;

        if (s->opt->required && !s->given && !s->configured) {
            return cli_args_fail(
                args, QL_EINVAL, "%s%s is missing: %s", place ? "" : "--",
                place ? cli_value_name(s->opt) : s->opt->name, s->opt->help);
        }
    }
    return QL_OK;
}
