/* The normal forms of Unicode (Standard Annex 15). */
#ifndef QL_TEXT_NORMAL_FORM_H
#define QL_TEXT_NORMAL_FORM_H

#include "src/base/buf.h"
#include "src/text/view.h"

typedef enum ql_normal_form {
    QL_NFC,
    QL_NFD,
    QL_NFKC,
    QL_NFKD
} ql_normal_form;

/* True where the form leaves v as it is for certain: it is told from the
 * first byte of each character. */
bool ql_normal_form_idle(ql_normal_form form, ql_view v);

/* Appends v in a normal form. A character with its marks that changes comes
 * from where it began. points: scratch. Errors: those of ql_draft_copy and
 * ql_buf_append. */
ql_status ql_normal_form_run(ql_normal_form form, ql_view v, ql_buf *points,
                             ql_draft *out);

#endif
