/* Texts to values and back, by the kind of an option. */
#ifndef QL_CLI_VALUE_H
#define QL_CLI_VALUE_H

#include "tools/cli/opt.h"

/* Stores the sentence in args->error and returns st. */
ql_status cli_args_fail(cli_args *args, ql_status st, const char *fmt, ...)
    QL_PRINTF(3, 4);

/* n bytes that live as long as args, or NULL. */
void *cli_args_alloc(cli_args *args, size_t n);

/* A copy of a text that lives as long as args, or NULL. */
char *cli_args_strdup(cli_args *args, const char *text);

/* True if text is a value of opt; nothing is stored. */
bool cli_value_fits(const cli_opt *opt, const char *text);

/* Stores text as the value of opt; lists are appended to. label is how the
 * user spelled the option. split: commas separate the items of a CLI_LIST.
 * text must live as long as args. Errors: QL_EINVAL with a sentence that names
 * label, text and what is allowed; QL_ENOMEM. */
ql_status cli_value_set(cli_args *args, const cli_opt *opt, const char *label,
                        const char *text, bool split);

/* Empties a list before the first value of a source is added. */
void cli_value_clear(const cli_opt *opt);

/* Writes the value, as the command line takes it (yaml false) or as a YAML
 * value (yaml true). */
void cli_value_print(const cli_opt *opt, bool yaml, FILE *out);

/* How the usage and failures call a positional argument or a value: its
 * value_name, or what stands in for it. Borrowed. */
const char *cli_value_name(const cli_opt *opt);

/* True if both names are the same but for dashes and underscores; a ends
 * after n characters. */
bool cli_name_equal(const char *a, size_t n, const char *b);

/* The row that name[0..n) means, or NULL. *implied receives the value of an
 * alias that has one (its text ends at a space or NUL), else NULL. */
cli_seen *cli_args_find(const cli_args *args, const char *name, size_t n,
                        const char **implied);

/* The known name nearest to name[0..n), into out; false if none is near. */
bool cli_args_nearest(const cli_args *args, const char *name, size_t n,
                      char *out, size_t out_bytes);

#endif
