/* Training records: files to samples, which are tokens with a mark on each one
 * that is trained.
 *
 *     ql_dataset_options o;
 *     ql_dataset *ds;
 *
 *     ql_dataset_options_init(&o);
 *     if (ql_dataset_open(&ds, files, n, tok, &o) == QL_OK) {
 *         for (size_t i = 0; i < ql_dataset_size(ds); i++) {
 *             use(ql_dataset_sample(ds, i), ql_dataset_origin(ds, i));
 *         }
 *         show(ql_dataset_report_of(ds));
 *         ql_dataset_close(&ds);
 *     }
 *
 * A record becomes one sample as a rule. It becomes none where it is left out,
 * and several where a conversation is split (see QL_TRAIN_ON_COMPLETIONS) or a
 * plain text is cut into pieces. */
#ifndef QLORA_DATASET_H
#define QLORA_DATASET_H

#include "qlora/tokenizer.h"

/* Form of the records. The README has the keys of each. */
typedef enum ql_format {
    QL_FORMAT_AUTO,              /* by the keys of the first records */
    QL_FORMAT_MESSAGES,          /* a list of {"role", "content"} */
    QL_FORMAT_PROMPT_COMPLETION, /* {"prompt", "completion"} */
    QL_FORMAT_ALPACA,            /* {"instruction", "input", "output"} */
    QL_FORMAT_SHAREGPT,          /* a list of {"from", "value"} */
    QL_FORMAT_TEXT,              /* {"text"}, or a file of plain text */
    QL_FORMAT_CLASSIFICATION     /* {"text", "label"}, for a classifier: always,
                                and only then */
} ql_format;

/* What is done with a record that is longer than max_length tokens. A file of
 * plain text is cut into pieces of this length whatever is said here. */
typedef enum ql_truncation {
    QL_TRUNCATION_RIGHT, /* keep the first max_length tokens */
    QL_TRUNCATION_DROP,  /* leave the record out, count it */
    QL_TRUNCATION_ERROR  /* refuse the record */
} ql_truncation;

/* Which tokens are trained. A text is always trained whole.
 *
 * Completions: every turn of the assistant, from where the template's prompt
 * for an answer ends to the token that ends the turn. Each turn is trained as
 * the template renders it when it is the last one, for so it is generated.
 * Where the template writes it otherwise once the conversation goes on (Qwen 3
 * leaves out what was thought), the turn gets a sample of its own, which ends
 * with it. */
typedef enum ql_train_on {
    QL_TRAIN_ON_COMPLETIONS, /* completions; all assistant turns */
    QL_TRAIN_ON_ALL,         /* everything */
    QL_TRAIN_ON_LAST_TURN    /* the last assistant turn only */
} ql_train_on;

/* How far reading has come. */
typedef struct ql_dataset_progress {
    uint64_t bytes; /* of the files, as they lie on disk */
    uint64_t total; /* of all files; 0: not known, as of a pipe */
    size_t records;
    size_t tokens;
} ql_dataset_progress;

/* Called now and then while reading, by the thread that called. Return false
 * to stop: the call then returns QL_ECANCELLED. */
typedef bool ql_dataset_progress_fn(const ql_dataset_progress *p, void *user);

typedef struct ql_dataset_options {
    ql_format format;          /* QL_FORMAT_AUTO: of each file by itself */
    ql_truncation truncation;  /* QL_TRUNCATION_RIGHT */
    ql_train_on train_on;      /* QL_TRAIN_ON_COMPLETIONS */
    size_t max_length;         /* tokens a sample may have, >= 2, 1024 */
    const char *chat_template; /* NULL: the model's, or the default one if it
                                  has none; else the path of a file, the name
                                  of one of the model's, or a template */
    const char *date;  /* that chat templates are told: "YYYY-MM-DD", to which
                          " HH:MM:SS" may be added; NULL: the clock's */
    bool keep_going;   /* a record that is refused is left out and counted,
                          and nothing to train on is no failure: false */
    size_t max_issues; /* that are kept, 100; all are counted */
    ql_dataset_progress_fn *progress; /* NULL: none */
    void *user;                       /* handed to progress */
} ql_dataset_options;

/* Fills in the defaults named above. */
QL_API void ql_dataset_options_init(ql_dataset_options *opt);

/* One tokenized record. All pointers are borrowed from the dataset. */
typedef struct ql_sample {
    const int32_t *ids;   /* [n] */
    const uint8_t *train; /* [n]: 1 where the token is to be learnt; with a
                             label: where it is of the second text */
    size_t n;             /* tokens */
    int32_t label;        /* of a classifier: 1 + the class; else 0 */
} ql_sample;

/* Where a sample comes from. Borrowed from the dataset. */
typedef struct ql_origin {
    const char *path; /* "" when it comes from no file */
    size_t line;      /* where its record begins, from 1 */
} ql_origin;

/* What was read, of one file or of all. Counts are of records unless named
 * otherwise. */
typedef struct ql_dataset_report {
    const char *path;     /* NULL for the report on all files */
    ql_format format;     /* that of the first file in the report on all */
    const char *keys;     /* what it was found by: "question, answer"; "" */
    size_t records;       /* in the files */
    size_t samples;       /* kept; of samples */
    size_t truncated;     /* cut to max_length; of samples */
    size_t dropped_long;  /* left out as too long; of samples */
    size_t dropped_empty; /* left out: nothing to train on; of samples */
    size_t refused;       /* left out: wrong; 0 unless keep_going */
    size_t split;         /* conversations that became several samples */
    size_t unended;       /* whose last trained token is no special token,
                              though they were not cut: where the answer ends
                              is not learnt; of samples */
    size_t changed; /* turns of the assistant whose content the chat template
                       changes or leaves out in part; of turns */
    size_t bos_removed;    /* which began with two BOS tokens; of samples */
    size_t tokens;         /* tokens in the samples */
    size_t trained_tokens; /* of those, to be learnt */
    size_t longest;        /* tokens of the longest sample */
    size_t max_length;     /* of the options; 0 without */
} ql_dataset_report;

/* What became of a record that was not taken as it is. */
typedef enum ql_fate {
    QL_FATE_CUT,      /* to max_length */
    QL_FATE_TOO_LONG, /* left out */
    QL_FATE_EMPTY,    /* left out: nothing to train on */
    QL_FATE_REFUSED   /* left out: wrong */
} ql_fate;

typedef struct ql_issue {
    ql_origin origin;
    ql_fate fate;
    const char *reason; /* a sentence without the place. Borrowed from the
                           dataset */
} ql_issue;

typedef struct ql_dataset ql_dataset;

/* Reads and tokenizes n files: JSON lines, a JSON list, or plain text (a name
 * that ends in .txt), gzip-compressed or not. The work is spread over the
 * threads of the runtime; the order of the samples is that of the records.
 *
 * The first token of a sample is never marked: nothing comes before it.
 *
 * Errors: QL_EINVAL for options without meaning; QL_ENOTFOUND, QL_EIO;
 * QL_EFORMAT naming file and line for what is not JSON or not a record of the
 * format, or what the chat template refuses, with its own sentence; QL_EFORMAT
 * when nothing is left to train on; QL_EUNSUPPORTED for content that is not
 * text; QL_ECANCELLED; QL_ENOMEM. tok is only used during the call. */
QL_API ql_status ql_dataset_open(ql_dataset **out, const char *const *files,
                                 size_t n, const ql_tokenizer *tok,
                                 const ql_dataset_options *opt);
QL_API void ql_dataset_close(ql_dataset **ds);

/* Moves the last n samples into a new dataset, for evaluation; more where a
 * record would be divided. The reports follow: what was cut or left out while
 * reading stays with ds, and so do the files: tail names none. Errors:
 * QL_EINVAL when ds would keep none, QL_ENOMEM. Owned: *tail. */
QL_API ql_status ql_dataset_split(ql_dataset *ds, size_t n, ql_dataset **tail);

QL_API size_t ql_dataset_size(const ql_dataset *ds);

/* Sample i < ql_dataset_size(ds). Borrowed: lives as long as ds. */
QL_API ql_sample ql_dataset_sample(const ql_dataset *ds, size_t i);

/* Name of the class of a sample that was read from files; NULL: it has none.
 * Borrowed: lives as long as ds. */
QL_API const char *ql_dataset_class(const ql_dataset *ds, ql_sample s);
QL_API ql_origin ql_dataset_origin(const ql_dataset *ds, size_t i);

/* On all files, and on file i of those that were read. Borrowed. */
QL_API const ql_dataset_report *ql_dataset_report_of(const ql_dataset *ds);
QL_API size_t ql_dataset_files(const ql_dataset *ds);
QL_API const ql_dataset_report *ql_dataset_file_report(const ql_dataset *ds,
                                                       size_t i);

/* The first max_issues records that were not taken as they are, in order. */
QL_API size_t ql_dataset_issues(const ql_dataset *ds);
QL_API ql_issue ql_dataset_issue(const ql_dataset *ds, size_t i);

/* The chat template that an adapter trained on ds must bring along, since the
 * model has none, or not this one. NULL: none was used, or the model's own.
 * Borrowed from ds. */
QL_API const char *ql_dataset_chat_template(const ql_dataset *ds);

/* The date that the chat template was told, as in the options; NULL when it
 * did not ask for one. Borrowed from ds. */
QL_API const char *ql_dataset_date(const ql_dataset *ds);

/* One stretch of a sample's text: all of its tokens are trained, or none is.
 * text[len] is followed by a NUL that does not count. */
typedef void ql_sample_part_fn(const char *text, size_t len, bool trained,
                               void *user);

/* Hands the text of a sample to fn, as its tokens spell it, special ones
 * included, stretch by stretch. Errors: QL_ENOMEM. */
QL_API ql_status ql_sample_show(const ql_tokenizer *tok, ql_sample s,
                                ql_sample_part_fn *fn, void *user);

/* Name of a format as --format spells it. Borrowed, constant. */
QL_API const char *ql_format_name(ql_format format);

/* The form given to conversations when a model has no chat template of its
 * own, as a chat template. Borrowed, constant. */
QL_API const char *ql_default_chat_template(void);

#endif
