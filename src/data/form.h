/* Forms of records: which one a file has, and what a record of it says. */
#ifndef QL_DATA_FORM_H
#define QL_DATA_FORM_H

#include "qlora/dataset.h"
#include "src/text/talk.h"

typedef struct ql_form ql_form;

/* What a record says: a conversation, or a text, or a prompt and what follows
 * it. Strings are borrowed from the record. */
typedef struct ql_content {
    bool talks;   /* it is a conversation */
    ql_talk talk; /* empty otherwise */
    const char *prompt;
    size_t prompt_len; /* 0 for a text */
    const char *text;  /* or the completion */
    size_t len;
} ql_content;

/* The form of a file by its first n records: the first one that all of them
 * can have. given: QL_FORMAT_AUTO, or the format it must be of. Borrowed,
 * constant: *out. Errors: QL_EFORMAT, listing the keys met. */
ql_status ql_form_find(const ql_form **out, json_t *const *records, size_t n,
                       ql_format given);

/* That of a file of plain text. */
const ql_form *ql_form_plain_text(void);

/* That of all files for a classifier; labelled.h reads them. */
const ql_form *ql_form_labelled(void);

ql_format ql_form_format(const ql_form *form);

/* Appends the keys that a record of the form is known by: "question,
 * answer". */
ql_status ql_form_keys(const ql_form *form, const json_t *record, ql_buf *out);

/* What the user should know of files of this form; NULL: nothing. Borrowed,
 * constant. */
const char *ql_form_note(const ql_form *form);

/* Reads a record. Owned: ql_content_free, which is fine after a failure too.
 * Errors: QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_form_read(const ql_form *form, const json_t *record,
                       ql_content *out);
void ql_content_free(ql_content *c);

#endif
