/* The post-processor: special tokens around a text. Known: TemplateProcessing
 * of a single text. */
#ifndef QL_TEXT_POSTPROCESS_H
#define QL_TEXT_POSTPROCESS_H

#include "src/text/encoding.h"
#include "src/text/part.h"
#include "src/text/vocab.h"

/* All zero: none. */
typedef struct ql_postprocessor {
    int32_t *ids;  /* [before + after] */
    size_t before; /* how many of them come before the text */
    size_t after;
} ql_postprocessor;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming what;
 * QL_ENOMEM. */
ql_status ql_postprocessor_init(ql_postprocessor *p, const json_t *json,
                                const ql_vocab *vocab, const char *where);
void ql_postprocessor_free(ql_postprocessor *p);

#endif
