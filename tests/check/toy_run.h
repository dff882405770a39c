/* Training runs on the toy model and its data, and what they said. */
#ifndef QL_TESTS_TOY_RUN_H
#define QL_TESTS_TOY_RUN_H

#include "qlora/train.h"

enum {
    TOY_STEPS_PER_EPOCH = 3 /* with toy_run_options */
};

typedef struct toy_run {
    ql_model *m;
    ql_tokenizer *tok;
    ql_dataset *data, *eval;
} toy_run;

/* Opens the model and 12 samples, 3 of them for evaluation. From here on notes
 * are kept. */
void toy_run_open(toy_run *r);
void toy_run_close(toy_run *r);

/* One for all tests of a group, whose setup and teardown these are. */
extern toy_run toy;
int toy_run_setup(void **state);
int toy_run_teardown(void **state);

/* Options for a run of three epochs of three steps, which evaluates every
 * second step and saves a checkpoint after each. */
void toy_run_options(ql_train_options *o);

/* All notes since the last call, one a line. Borrowed. */
const char *toy_run_notes(void);

/* Copies a folder to one that is not there yet. */
void toy_run_copy(const char *from, const char *to);

/* Fails unless both folders have this file, with the same bytes. */
void toy_run_same_file(const char *a, const char *b, const char *name);

/* Fails unless both have the same adapter and the same log, but for what
 * depends on the clock, and files and folders of the same names. */
void toy_run_same(const char *a, const char *b);

#endif
