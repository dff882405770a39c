/* What qlora-train shows while it works, and its results. */
#ifndef QL_TOOLS_TRAIN_SCREEN_H
#define QL_TOOLS_TRAIN_SCREEN_H

#include "tools/cli/common.h"
#include "tools/cli/term.h"
#include "tools/train_options.h"

enum {
    TRAIN_SCREEN_LOSSES = 12
};

typedef struct train_screen {
    cli_term term;
    const cli_common *common;
    double losses[TRAIN_SCREEN_LOSSES]; /* of the last logged steps */
    size_t n_losses, samples;
    ql_train_event last; /* of a step; all zero before the first */
} train_screen;

/* What was read: a line or two each, on stderr. */
void train_screen_model(const ql_model *m);
void train_screen_data(const char *what, const ql_dataset *d);

/* The beginning of the first sample, with its trained part marked. Errors:
 * QL_ENOMEM. */
ql_status train_screen_sample(const ql_tokenizer *tok, const ql_dataset *d);

/* A ql_train_fn whose user is a train_screen; Ctrl-C stops. */
bool train_screen_event(const ql_train_event *e, void *user);

/* The plan that a dry run made, on stdout. */
void train_screen_dry_run(const cli_common *common, const ql_train_result *r);

/* The leanest plan there is, where it was refused. */
void train_screen_refused(const cli_common *common, const ql_train_result *r);

/* The last words, on stdout: for people or programs. */
void train_screen_result(const train_options *o, const cli_common *common,
                         const ql_train_result *r);

#endif
