/* Training records: files to tokens, with a mark on each token that is
 * trained. */
#ifndef QLORA_DATASET_H
#define QLORA_DATASET_H

#include "qlora/tokenizer.h"

/* Form of the records. */
typedef enum ql_format {
    QL_FORMAT_AUTO,              /* by the keys of the first record */
    QL_FORMAT_MESSAGES,          /* {"messages": [{"role", "content"}]} */
    QL_FORMAT_PROMPT_COMPLETION, /* {"prompt", "completion"} */
    QL_FORMAT_TEXT               /* {"text"} */
} ql_format;

/* What is done with a record that is longer than max_length tokens. */
typedef enum ql_truncation {
    QL_TRUNCATION_RIGHT, /* keep the first max_length tokens */
    QL_TRUNCATION_DROP,  /* leave the record out, count it */
    QL_TRUNCATION_ERROR  /* refuse the file */
} ql_truncation;

/* Which tokens are trained. A text record is always trained whole. */
typedef enum ql_train_on {
    QL_TRAIN_ON_COMPLETIONS, /* completions; all assistant turns */
    QL_TRAIN_ON_ALL,         /* everything */
    QL_TRAIN_ON_LAST_TURN    /* the last assistant turn only */
} ql_train_on;

typedef struct ql_dataset_options {
    ql_format format;         /* QL_FORMAT_AUTO */
    ql_truncation truncation; /* QL_TRUNCATION_RIGHT */
    ql_train_on train_on;     /* QL_TRAIN_ON_COMPLETIONS */
    size_t max_length;        /* tokens a record may have, >= 2, 1024 */
} ql_dataset_options;

/* Fills in the defaults named above. */
QL_API void ql_dataset_options_init(ql_dataset_options *opt);

/* One tokenized record. All pointers are borrowed from the dataset. */
typedef struct ql_sample {
    const int32_t *ids;   /* [n] */
    const uint8_t *train; /* [n]: 1 where the token is to be learnt */
    size_t n;             /* tokens */
} ql_sample;

/* What was read. Counts are of records unless named otherwise. */
typedef struct ql_dataset_report {
    ql_format format;
    size_t records;        /* in the files */
    size_t samples;        /* kept */
    size_t truncated;      /* cut to max_length */
    size_t dropped_long;   /* left out as too long */
    size_t dropped_empty;  /* left out: nothing to train on */
    size_t tokens;         /* tokens in the samples */
    size_t trained_tokens; /* of those, to be learnt */
    size_t longest;        /* tokens of the longest sample */
    bool default_template; /* messages took ql_default_chat_template */
} ql_dataset_report;

typedef struct ql_dataset ql_dataset;

/* Reads and tokenizes n files (JSON lines, gzip-compressed or not).
 *
 * The first token of a sample is never marked: nothing comes before it.
 *
 * Errors: QL_EINVAL for options without meaning; QL_ENOTFOUND, QL_EIO;
 * QL_EFORMAT naming file and line for a line that is not JSON or not a record
 * of the format; QL_EFORMAT when nothing is left to train on; QL_EUNSUPPORTED
 * for content that is not text, and for messages when the model has a chat
 * template that we cannot apply; QL_ENOMEM. tok is only used during the
 * call. */
QL_API ql_status ql_dataset_open(ql_dataset **out, const char *const *files,
                                 size_t n, const ql_tokenizer *tok,
                                 const ql_dataset_options *opt);
QL_API void ql_dataset_close(ql_dataset **ds);

/* Moves the last n samples into a new dataset, for evaluation. The reports
 * follow: what was cut or left out while reading stays with ds. Errors:
 * QL_EINVAL when ds would keep none, QL_ENOMEM. Owned: *tail. */
QL_API ql_status ql_dataset_split(ql_dataset *ds, size_t n, ql_dataset **tail);

QL_API size_t ql_dataset_size(const ql_dataset *ds);

/* Sample i < ql_dataset_size(ds). Borrowed: lives as long as ds. */
QL_API ql_sample ql_dataset_sample(const ql_dataset *ds, size_t i);

QL_API const ql_dataset_report *ql_dataset_report_of(const ql_dataset *ds);

/* Name of a format as --format spells it. Borrowed, constant. */
QL_API const char *ql_format_name(ql_format format);

/* The form given to messages when a model has no chat template of its own, as
 * a chat template. Borrowed, constant. */
QL_API const char *ql_default_chat_template(void);

#endif
