/* A toy Llama folder and toy data, made by the tests themselves. Its widths
 * are no multiples of 64, so that quantization blocks cross rows. */
#ifndef QL_TESTS_TOY_H
#define QL_TESTS_TOY_H

#include "qlora/dataset.h"

/* Makes the folder on first use. Borrowed. */
const char *toy_model(void);

/* n short text records. Owned: ql_dataset_close. */
ql_dataset *toy_data(const ql_tokenizer *tok, size_t n);

#endif
