/* Options of a command, as tables that both parse and print the usage, so
 * that the two cannot drift apart.
 *
 *     cli_opt opts[] = {
 *         {.name = "lora-r", CLI_INT(&o.lora_r), .min = 1, .max = 4096,
 *          .aliases = "lora-rank", .value_name = "N", .group = "Adapter",
 *          .help = "rank of the adapters"},
 *         {.name = "data", CLI_FILES(&o.data), .required = true, ...},
 *         {0}};
 *
 * Dashes and underscores in names are the same; a value follows after a space
 * or "="; a boolean is --x, --no-x, --x true or --x=false; "--" ends options.
 * A file of settings gives the same names as keys, and the command line wins
 * over it. */
#ifndef QL_CLI_OPT_H
#define QL_CLI_OPT_H

#include <math.h>
#include <stdio.h>

#include "qlora/status.h"

typedef enum cli_kind {
    CLI_KIND_FLAG,   /* bool */
    CLI_KIND_INT,    /* int */
    CLI_KIND_SIZE,   /* size_t */
    CLI_KIND_BYTES,  /* uint64_t; 5GB is 5e9, 512MiB and 512M are 2^29 */
    CLI_KIND_REAL,   /* double */
    CLI_KIND_STRING, /* const char *, NULL for none */
    CLI_KIND_CHOICE, /* an enum, by name */
    CLI_KIND_LIST,   /* cli_list, separated by commas or repeated */
    CLI_KIND_FILES   /* cli_list, repeated; commas belong to the value */
} cli_kind;

/* A name for a value. Several names may stand for one value; the first of
 * them is the one that is shown. A table ends with {0}. */
typedef struct cli_choice {
    const char *name;
    int value;
} cli_choice;

/* Texts of a list option. The items are borrowed: from the command line, the
 * initial value, or the cli_args. */
typedef struct cli_list {
    const char **items; /* [n] */
    size_t n;
} cli_list;

/* Kind and variable of a row: for example CLI_INT(&o.lora_r). A list that may
 * follow its flag as several arguments does so in commands without
 * positional arguments: --data a.jsonl b.jsonl. */
#define CLI_FLAG(p) .kind = CLI_KIND_FLAG, .to.flag = (p)
#define CLI_INT(p) .kind = CLI_KIND_INT, .to.integer = (p)
#define CLI_SIZE(p) .kind = CLI_KIND_SIZE, .to.size = (p)
#define CLI_BYTES(p) .kind = CLI_KIND_BYTES, .to.bytes = (p)
#define CLI_REAL(p) .kind = CLI_KIND_REAL, .to.real = (p)
#define CLI_STRING(p) .kind = CLI_KIND_STRING, .to.string = (p)
#define CLI_LIST(p) .kind = CLI_KIND_LIST, .to.list = (p)
#define CLI_FILES(p) .kind = CLI_KIND_FILES, .to.list = (p)
/* p points to any enum that is as large as an int; names is a table of
 * cli_choice. */
#define CLI_CHOICE(p, names)                                                   \
    .kind = CLI_KIND_CHOICE, .to.choice = (int *)(p), .choices = (names)

/* For .max: no upper limit. */
#define CLI_NO_LIMIT HUGE_VAL

/* A row. All texts are borrowed; a table ends with {0}. */
typedef struct cli_opt {
    const char *name; /* canonical, with dashes */
    cli_kind kind;    /* set by CLI_INT and the like, as is to */
    union {
        bool *flag;
        int *integer;
        size_t *size;
        uint64_t *bytes;
        double *real;
        const char **string;
        int *choice;
        cli_list *list;
    } to;
    const cli_choice *choices; /* of CLI_CHOICE */
    double min, max;           /* allowed range; min == max: any */
    char letter;               /* short form, 0 for none */
    const char *aliases;       /* "lr rate": separated by spaces; an alias
                                  "mask-prompt=completions" takes no value
                                  and gives that one */
    const char *bare;          /* value when none follows, NULL: one must */
    const char *value_name;    /* "N", for the usage; NULL: the name of a
                                  positional argument, else VALUE */
    const char *help;
    const char *group;        /* heading in the usage */
    const char *default_text; /* shown in brackets instead of the value; ""
                                  for no brackets */
    bool positional;          /* an argument by its place */
    bool required;            /* must be given, here or in the settings */
    bool transient;           /* not a setting: neither written nor read */
    bool json;                /* a text that a file may have as a mapping */
    bool stops;               /* ends the parsing, as --help does */
} cli_opt;

typedef struct cli_command {
    const char *name;      /* "qlora-train" */
    const char *about;     /* one sentence */
    const char *example;   /* the shortest useful command */
    const cli_opt *opts;   /* the command's own table */
    const cli_opt *common; /* a second table, or NULL */
} cli_command;

/* What is known of one row while parsing. */
typedef struct cli_seen {
    const cli_opt *opt;
    char *initial;   /* its value at the start, for the usage */
    bool given;      /* by the command line */
    bool configured; /* by the settings file */
    bool idle;       /* it has no meaning beside the others */
} cli_seen;

/* A parsed command line. */
typedef struct cli_args {
    const cli_command *command;
    cli_seen *seen; /* [n], the command's rows, then the common ones */
    size_t n;
    void *blocks;     /* memory of lists and of texts from a file */
    bool stopped;     /* at an option that stops */
    char error[1024]; /* the sentence of the last failure here */
} cli_args;

/* Takes the values that the variables hold now as the defaults. cmd is
 * borrowed. Errors: QL_ENOMEM. */
ql_status cli_args_init(cli_args *args, const cli_command *cmd);

/* Strings and lists that came from a settings file end with it. */
void cli_args_free(cli_args *args);

/* Reads the arguments after argv[0] into the variables. Values of type string
 * are borrowed from argv. Ends early, with stopped set, at an option that
 * stops. Errors: QL_EINVAL with the sentence in error, QL_ENOMEM. */
ql_status cli_args_parse(cli_args *args, int argc, char **argv);

/* Reads a YAML file, one flat mapping of option names to values, into the
 * variables that the command line did not set. null leaves a variable alone.
 * Errors: QL_ENOTFOUND, QL_EIO; QL_EFORMAT for broken YAML; QL_EINVAL for an
 * unknown name, a wrong value or a name that comes twice; with file and line
 * in error. QL_ENOMEM. */
ql_status cli_args_read_settings(cli_args *args, const char *path);

/* Checks that required options were given, unless the parsing stopped.
 * Errors: QL_EINVAL. */
ql_status cli_args_require(cli_args *args);

/* True if the command line or the settings file set the option. */
bool cli_args_given(const cli_args *args, const char *name);

/* Writes the usage text, at most 80 columns wide. */
void cli_args_usage(const cli_args *args, FILE *out);

/* Says that an option has no meaning beside the others: it is no setting of
 * this run. */
void cli_args_idle(cli_args *args, const char *name);

/* Writes every setting as a line of YAML, "key: value", that
 * cli_args_read_settings reads back to the same values. */
void cli_args_write_settings(const cli_args *args, FILE *out);

#endif
