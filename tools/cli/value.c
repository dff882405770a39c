/* One reader and one printer for each kind of option. A reader takes the whole
 * text or refuses it: no blanks around, nothing behind, nothing out of range.
 * What it prints, it reads back to the same value. */
#include "tools/cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct unit {
    const char *name;
    uint64_t bytes;
} units[] = {
    {"GB", 1000000000},
    {"GiB", UINT64_C(1) << 30},
    {"MB", 1000000},
    {"MiB", UINT64_C(1) << 20},
    {"kB", 1000},
    {"KiB", UINT64_C(1) << 10},
    {"TB", UINT64_C(1000000000000)},
    {"TiB", UINT64_C(1) << 40},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
    {"B", 1},
    {"", 1},
};

enum {
    UNITS = sizeof(units) / sizeof(units[0]),
    SHOWN_UNITS = 6 /* the first ones are used to print */
};

const char *cli_value_name(const cli_opt *opt)
{
    if (opt->value_name) {
        return opt->value_name;
    }
    return opt->positional ? opt->name : "VALUE";
}

static bool in_range(const cli_opt *opt, double x)
{
    return opt->min == opt->max || (x >= opt->min && x <= opt->max);
}

static bool read_flag(const char *text, bool *out)
{
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0) {
        *out = tolower((unsigned char)text[0]) == 't';
        return true;
    }
    return false;
}

static bool read_int(const char *text, int *out)
{
    char *end;
    long x;

    if (!isdigit((unsigned char)text[text[0] == '-' || text[0] == '+'])) {
        return false;
    }
    errno = 0;
    x = strtol(text, &end, 10);
    if (errno || *end || x < INT_MIN || x > INT_MAX) {
        return false;
    }
    *out = (int)x;
    return true;
}

static bool read_size(const char *text, size_t *out)
{
    char *end;
    unsigned long long x;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    x = strtoull(text, &end, 10);
    if (errno || *end || x > SIZE_MAX) {
        return false;
    }
    *out = (size_t)x;
    return true;
}

static const struct unit *find_unit(const char *text)
{
    for (size_t i = 0; i < UNITS; i++) {
        if (strcasecmp(units[i].name, text) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Whole numbers are exact; 1.5GiB goes through a double and is cut. */
static bool read_bytes(const char *text, uint64_t *out)
{
    const size_t digits = strspn(text, "0123456789");
    const size_t number = strspn(text, "0123456789.");
    const char *name = text + number + (text[number] == ' ');
    const struct unit *unit = find_unit(name);
    char *end;
    unsigned long long whole;
    double x;

    if (digits == 0 || !unit) {
        return false;
    }
    errno = 0;
    if (digits == number) {
        whole = strtoull(text, NULL, 10);
        *out = (uint64_t)whole * unit->bytes;
        return !errno && whole <= UINT64_MAX / unit->bytes;
    }
    x = strtod(text, &end) * (double)unit->bytes;
    if (end != text + number || !(x < 0x1p64)) {
        return false;
    }
    *out = (uint64_t)x;
    return true;
}

static bool read_real(const char *text, double *out)
{
    const char *start = text + (text[0] == '-' || text[0] == '+');
    char *end;
    double x;

    if (!isdigit((unsigned char)*start) && *start != '.') {
        return false; /* blanks, inf and nan, which strtod would take */
    }
    if (strchr("xX", start[1]) && start[1]) {
        return false;
    }
    x = strtod(text, &end);
    if (end == text || *end || !isfinite(x)) {
        return false;
    }
    *out = x;
    return true;
}

static bool read_choice(const cli_opt *opt, const char *text, int *out)
{
    for (const cli_choice *c = opt->choices; c->name; c++) {
        if (cli_name_equal(text, strlen(text), c->name) ||
            strcasecmp(text, c->name) == 0) {
            *out = c->value;
            return true;
        }
    }
    return false;
}

/* A value of one of the kinds that are not lists. */
typedef union value {
    bool flag;
    int integer;
    size_t size;
    uint64_t bytes;
    double real;
} value;

static bool read_value(const cli_opt *opt, const char *text, value *v)
{
    switch (opt->kind) {
    case CLI_KIND_FLAG:
        return read_flag(text, &v->flag);
    case CLI_KIND_INT:
        return read_int(text, &v->integer) && in_range(opt, v->integer);
    case CLI_KIND_SIZE:
        return read_size(text, &v->size) && in_range(opt, (double)v->size);
    case CLI_KIND_BYTES:
        return read_bytes(text, &v->bytes) && in_range(opt, (double)v->bytes);
    case CLI_KIND_REAL:
        return read_real(text, &v->real) && in_range(opt, v->real);
    case CLI_KIND_CHOICE:
        return read_choice(opt, text, &v->integer);
    case CLI_KIND_STRING:
    case CLI_KIND_LIST:
    case CLI_KIND_FILES:
        break;
    }
    return true;
}

bool cli_value_fits(const cli_opt *opt, const char *text)
{
    value v;

    return read_value(opt, text, &v);
}

/* "a, b or c": the first name of each value. */
static void describe_choices(const cli_opt *opt, FILE *out)
{
    const cli_choice *all = opt->choices;
    size_t shown[64];
    size_t n = 0;

    for (size_t i = 0; all[i].name && n < sizeof(shown) / sizeof(*shown); i++) {
        size_t first = 0;

        while (all[first].value != all[i].value) {
            first++;
        }
        if (first == i) {
            shown[n++] = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "%s%s",
                i == 0      ? ""
                : i + 1 < n ? ", "
                            : " or ",
                all[shown[i]].name);
    }
}

static void describe_range(const cli_opt *opt, FILE *out)
{
    const char *what = opt->kind == CLI_KIND_REAL ? "a number"
                       : opt->kind == CLI_KIND_BYTES
                           ? "a size such as 5GB, 512MiB or 4G"
                           : "a whole number";

    fputs(what, out);
    if (opt->min == opt->max) {
        if (opt->kind == CLI_KIND_SIZE) {
            fputs(", not negative", out);
        }
    } else if (isinf(opt->max)) {
        fprintf(out, " of at least %.10g", opt->min);
    } else {
        fprintf(out, " from %.10g to %.10g", opt->min, opt->max);
    }
}

static ql_status refuse(cli_args *args, const cli_opt *opt, const char *label,
                        const char *text)
{
    char allowed[512] = "";
    FILE *out = fmemopen(allowed, sizeof(allowed), "w");

    if (!out) {
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    if (opt->kind == CLI_KIND_FLAG) {
        fputs("true or false", out);
    } else if (opt->kind == CLI_KIND_CHOICE) {
        describe_choices(opt, out);
    } else {
        describe_range(opt, out);
    }
    fclose(out);
    allowed[sizeof(allowed) - 1] = '\0';
    return cli_args_fail(args, QL_EINVAL, "%s cannot be '%s': it takes %s",
                         label, text, allowed);
}

static ql_status append(cli_args *args, cli_list *list, const char *item)
{
    const char **items =
        cli_args_alloc(args, (list->n + 1) * sizeof(list->items[0]));

    if (!items) {
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < list->n; i++) {
        items[i] = list->items[i];
    }
    items[list->n] = item;
    list->items = items;
    list->n++;
    return QL_OK;
}

static ql_status append_parts(cli_args *args, cli_list *list, const char *text)
{
    char *rest = cli_args_strdup(args, text);
    ql_status st = QL_OK;

    if (!rest) {
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    while (rest && st == QL_OK) {
        char *comma = strchr(rest, ',');

        if (comma) {
            *comma++ = '\0';
        }
        if (*rest) {
            st = append(args, list, rest);
        }
        rest = comma;
    }
    return st;
}

static void store(const cli_opt *opt, const value *v)
{
    switch (opt->kind) {
    case CLI_KIND_FLAG:
        *opt->to.flag = v->flag;
        break;
    case CLI_KIND_INT:
        *opt->to.integer = v->integer;
        break;
    case CLI_KIND_SIZE:
        *opt->to.size = v->size;
        break;
    case CLI_KIND_BYTES:
        *opt->to.bytes = v->bytes;
        break;
    case CLI_KIND_REAL:
        *opt->to.real = v->real;
        break;
    case CLI_KIND_CHOICE:
        *opt->to.choice = v->integer;
        break;
    case CLI_KIND_STRING:
    case CLI_KIND_LIST:
    case CLI_KIND_FILES:
        break;
    }
}

ql_status cli_value_set(cli_args *args, const cli_opt *opt, const char *label,
                        const char *text, bool split)
{
    value v;

    if (opt->kind == CLI_KIND_STRING) {
        *opt->to.string = text;
        return QL_OK;
    }
    if (opt->kind == CLI_KIND_LIST && split) {
        return append_parts(args, opt->to.list, text);
    }
    if (opt->kind == CLI_KIND_LIST || opt->kind == CLI_KIND_FILES) {
        return append(args, opt->to.list, text);
    }
    if (!read_value(opt, text, &v)) {
        return refuse(args, opt, label, text);
    }
    store(opt, &v);
    return QL_OK;
}

void cli_value_clear(const cli_opt *opt)
{
    if (opt->kind == CLI_KIND_LIST || opt->kind == CLI_KIND_FILES) {
        *opt->to.list = (cli_list){NULL, 0};
    }
}

static void print_bytes(uint64_t x, FILE *out)
{
    for (size_t i = 0; x > 0 && i < SHOWN_UNITS; i++) {
        if (x % units[i].bytes == 0) {
            fprintf(out, "%llu%s", (unsigned long long)(x / units[i].bytes),
                    units[i].name);
            return;
        }
    }
    fprintf(out, "%llu", (unsigned long long)x);
}

/* The shortest digits that read back to x. YAML wants a dot before an
 * exponent, or other readers take the number for a text. */
static void print_real(double x, bool yaml, FILE *out)
{
    char text[40];
    char *e;
    int digits = 1;

    do {
        snprintf(text, sizeof(text), "%.*g", digits, x);
        digits++;
    } while (digits <= 17 && strtod(text, NULL) != x);
    e = strchr(text, 'e');
    if (yaml && e && !strchr(text, '.')) {
        fprintf(out, "%.*s.0%s", (int)(e - text), text, e);
    } else {
        fputs(text, out);
    }
}

/* True if YAML would read the plain text as this very string: a letter, / or
 * . first, harmless characters, and no word with a meaning. */
static bool plain(const char *s)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n"};

    if (!isalpha((unsigned char)s[0]) && s[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(s, words[i]) == 0) {
            return false;
        }
    }
    for (; *s; s++) {
        if (!isalnum((unsigned char)*s) && !strchr("_-./+", *s)) {
            return false;
        }
    }
    return true;
}

/* Double quotes; control characters as escapes, UTF-8 as it is. */
static void print_quoted(const char *s, FILE *out)
{
    putc('"', out);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(out, "\\x%02x", c);
        } else {
            putc(c, out);
        }
    }
    putc('"', out);
}

static void print_text(const char *s, bool yaml, FILE *out)
{
    if (!s) {
        fputs(yaml ? "null" : "", out);
    } else if (yaml && !plain(s)) {
        print_quoted(s, out);
    } else {
        fputs(s, out);
    }
}

static void print_list(const cli_list *list, bool yaml, FILE *out)
{
    if (yaml) {
        putc('[', out);
    }
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0) {
            fputs(yaml ? ", " : ",", out);
        }
        print_text(list->items[i], yaml, out);
    }
    if (yaml) {
        putc(']', out);
    }
}

static const char *choice_name(const cli_opt *opt)
{
    for (const cli_choice *c = opt->choices; c->name; c++) {
        if (c->value == *opt->to.choice) {
            return c->name;
        }
    }
    return NULL;
}

void cli_value_print(const cli_opt *opt, bool yaml, FILE *out)
{
    switch (opt->kind) {
    case CLI_KIND_FLAG:
        fputs(*opt->to.flag ? "true" : "false", out);
        break;
    case CLI_KIND_INT:
        fprintf(out, "%d", *opt->to.integer);
        break;
    case CLI_KIND_SIZE:
        fprintf(out, "%zu", *opt->to.size);
        break;
    case CLI_KIND_BYTES:
        print_bytes(*opt->to.bytes, out);
        break;
    case CLI_KIND_REAL:
        print_real(*opt->to.real, yaml, out);
        break;
    case CLI_KIND_STRING:
        print_text(*opt->to.string, yaml, out);
        break;
    case CLI_KIND_CHOICE:
        print_text(choice_name(opt), yaml, out);
        break;
    case CLI_KIND_LIST:
    case CLI_KIND_FILES:
        print_list(opt->to.list, yaml, out);
        break;
    }
}
