/* Settings as a YAML file: one flat mapping, option names to values. The names
 * are written with underscores, as other trainers do. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "tools/cli/results.h"
#include "tools/cli/value.h"

void cli_args_write_settings(const cli_args *args, FILE *out)
{
    for (size_t i = 0; i < args->n; i++) {
        const cli_opt *opt = args->seen[i].opt;

        if (opt->transient || args->seen[i].idle) {
            continue;
        }
        for (const char *c = opt->name; *c; c++) {
            putc(*c == '-' ? '_' : *c, out);
        }
        fputs(": ", out);
        cli_value_print(opt, true, out);
        putc('\n', out);
    }
}

/* A file being read: its events come one at a time. */
typedef struct reader {
    cli_args *args;
    const char *path;
    yaml_parser_t parser;
    yaml_event_t event;
} reader;

static size_t line_of(const reader *r)
{
    return r->event.start_mark.line + 1;
}

/* Frees the last event and reads the next one. */
static ql_status next(reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) {
        return QL_OK;
    }
    if (r->parser.error == YAML_MEMORY_ERROR) {
        return cli_args_fail(r->args, QL_ENOMEM, "out of memory");
    }
    return cli_args_fail(r->args, QL_EFORMAT, "%s:%zu: not YAML: %s", r->path,
                         r->parser.problem_mark.line + 1,
                         r->parser.problem ? r->parser.problem : "unreadable");
}

static ql_status refuse(reader *r, const char *what)
{
    return cli_args_fail(r->args, QL_EINVAL, "%s:%zu: %s", r->path, line_of(r),
                         what);
}

static const char *scalar(const reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* Text with a NUL inside cannot be a value here. */
static bool whole(const reader *r)
{
    return strlen(scalar(r)) == r->event.data.scalar.length;
}

static bool is_null(const reader *r)
{
    const char *s = scalar(r);

    return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

/* Finds the row of the key at hand, which is a scalar. */
static ql_status find_key(reader *r, cli_seen **out)
{
    const char *key = scalar(r);
    const size_t n = strlen(key);
    const char *implied;
    char near[80];
    cli_seen *s = cli_args_find(r->args, key, n, &implied);

    if (s && !s->opt->transient && !implied) {
        if (s->configured) {
            return cli_args_fail(r->args, QL_EINVAL,
                                 "%s:%zu: '%s' is set a second time", r->path,
                                 line_of(r), key);
        }
        *out = s;
        return QL_OK;
    }
    if (!s && cli_args_nearest(r->args, key, n, near, sizeof(near))) {
        return cli_args_fail(r->args, QL_EINVAL,
                             "%s:%zu: unknown setting '%s'; did you mean "
                             "'%s'?",
                             r->path, line_of(r), key, near);
    }
    return cli_args_fail(r->args, QL_EINVAL, "%s:%zu: unknown setting '%s'",
                         r->path, line_of(r), key);
}

/* Gives the scalar at hand to s, unless the command line did so before. */
static ql_status take_scalar(reader *r, cli_seen *s, bool split)
{
    char label[512];
    char *text;

    if (!whole(r)) {
        return refuse(r, "a value has a NUL character");
    }
    snprintf(label, sizeof(label), "%s:%zu: %s", r->path, line_of(r),
             s->opt->name);
    if (s->given) {
        if (!cli_value_fits(s->opt, scalar(r))) {
            return cli_value_set(r->args, s->opt, label, scalar(r), split);
        }
        return QL_OK;
    }
    text = cli_args_strdup(r->args, scalar(r));
    if (!text) {
        return cli_args_fail(r->args, QL_ENOMEM, "out of memory");
    }
    return cli_value_set(r->args, s->opt, label, text, split);
}

static ql_status take_sequence(reader *r, cli_seen *s)
{
    ql_status st;

    if (s->opt->kind != CLI_KIND_LIST && s->opt->kind != CLI_KIND_FILES) {
        return cli_args_fail(r->args, QL_EINVAL,
                             "%s:%zu: '%s' takes one value, not a list",
                             r->path, line_of(r), s->opt->name);
    }
    while ((st = next(r)) == QL_OK &&
           r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT) {
            return refuse(r, "a list may hold texts only");
        }
        st = take_scalar(r, s, false);
        if (st != QL_OK) {
            return st;
        }
    }
    return st;
}

/* The scalar at hand, as JSON has it. */
static void put_json(FILE *out, const reader *r)
{
    const bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    char *end;
    const double x = strtod(scalar(r), &end);

    if (plain && end > scalar(r) && !*end && isfinite(x)) {
        fprintf(out, "%.17g", x);
    } else {
        cli_json_string(out, scalar(r));
    }
}

/* Writes names and values up to the end of a mapping. */
static ql_status put_object(reader *r, FILE *out)
{
    ql_status st;

    fputc('{', out);
    for (size_t i = 0;
         (st = next(r)) == QL_OK && r->event.type != YAML_MAPPING_END_EVENT;
         i++) {
        if (r->event.type != YAML_SCALAR_EVENT || !whole(r)) {
            return refuse(r, "this may hold names with one value each only");
        }
        if (i % 2 == 0) {
            fputs(i > 0 ? ", " : "", out);
            cli_json_string(out, scalar(r));
        } else {
            fputs(": ", out);
            put_json(out, r);
        }
    }
    fputc('}', out);
    return st;
}

/* Gives the mapping at hand to s as a text, unless the command line did so
 * before. */
static ql_status take_object(reader *r, cli_seen *s)
{
    char *text = NULL;
    char *copy = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    ql_status st;

    if (!out) {
        return cli_args_fail(r->args, QL_ENOMEM, "out of memory");
    }
    st = put_object(r, out);
    fclose(out);
    if (st == QL_OK && !s->given) {
        copy = cli_args_strdup(r->args, text);
        st = copy ? cli_value_set(r->args, s->opt, s->opt->name, copy, false)
                  : cli_args_fail(r->args, QL_ENOMEM, "out of memory");
    }
    free(text);
    return st;
}

static ql_status take_entry(reader *r)
{
    cli_seen *s = NULL;
    ql_status st;

    if (r->event.type != YAML_SCALAR_EVENT || !whole(r)) {
        return refuse(r, "a setting must have a name");
    }
    st = find_key(r, &s);
    if (st == QL_OK) {
        st = next(r);
    }
    if (st != QL_OK) {
        return st;
    }
    if (r->event.type == YAML_SCALAR_EVENT && is_null(r)) {
        return QL_OK;
    }
    if (!s->given) {
        cli_value_clear(s->opt);
    }
    s->configured = true;
    if (r->event.type == YAML_SCALAR_EVENT) {
        return take_scalar(r, s, true);
    }
    if (r->event.type == YAML_SEQUENCE_START_EVENT) {
        return take_sequence(r, s);
    }
    if (r->event.type == YAML_MAPPING_START_EVENT && s->opt->json) {
        return take_object(r, s);
    }
    return refuse(r, "a value must be a text, a number or a list of texts");
}

static ql_status take_mapping(reader *r)
{
    ql_status st;

    while ((st = next(r)) == QL_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        st = take_entry(r);
        if (st != QL_OK) {
            return st;
        }
    }
    return st;
}

/* Stream, document, mapping; an empty file is no settings. */
static ql_status take_stream(reader *r)
{
    bool mapping = false;
    ql_status st;

    while ((st = next(r)) == QL_OK && r->event.type != YAML_STREAM_END_EVENT) {
        if (r->event.type == YAML_STREAM_START_EVENT ||
            r->event.type == YAML_DOCUMENT_START_EVENT ||
            r->event.type == YAML_DOCUMENT_END_EVENT) {
            continue;
        }
        if (r->event.type != YAML_MAPPING_START_EVENT || mapping) {
            return refuse(r, "the file must be one list of \"name: value\"");
        }
        mapping = true;
        st = take_mapping(r);
        if (st != QL_OK) {
            return st;
        }
    }
    return st;
}

ql_status cli_args_read_settings(cli_args *args, const char *path)
{
    reader r = {.args = args, .path = path};
    FILE *in = fopen(path, "rb");
    ql_status st;

    if (!in) {
        return cli_args_fail(args, errno == ENOENT ? QL_ENOTFOUND : QL_EIO,
                             "cannot open %s: %s", path, strerror(errno));
    }
    if (!yaml_parser_initialize(&r.parser)) {
        fclose(in);
        return cli_args_fail(args, QL_ENOMEM, "out of memory");
    }
    yaml_parser_set_input_file(&r.parser, in);
    st = take_stream(&r);
    if (ferror(in)) {
        st = cli_args_fail(args, QL_EIO, "cannot read %s", path);
    }
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    fclose(in);
    return st;
}
