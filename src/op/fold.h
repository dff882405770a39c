/* Low-rank changes worked into the weight that they change. */
#ifndef QL_OP_FOLD_H
#define QL_OP_FOLD_H

#include <stddef.h>

/* W += scale B A, summed in double and rounded once.
 *
 *   w  [rows, cols]  read and written
 *   b  [rows, r]
 *   a  [r, cols]
 * Cannot fail. Threads: splits the rows. */
void ql_fold(float *w, size_t rows, size_t cols, const float *b, const float *a,
             size_t r, double scale);

/* The step of DoRA: W[i,:] *= magnitude[i] / ||W[i,:]||. A row of zeros stays.
 *
 *   w          [rows, cols]  read and written
 *   magnitude  [rows]
 * Cannot fail. Threads: splits the rows. Source: peft tuners/lora/dora.py. */
void ql_fold_rows(float *w, size_t rows, size_t cols, const float *magnitude);

/* For weights stored [in, out], whose outputs are columns: adds the squares of
 * each column to sum [cols]; and multiplies each column by gain [cols]. */
void ql_fold_squares(double *sum, const float *w, size_t rows, size_t cols);
void ql_fold_columns(float *w, size_t rows, size_t cols, const double *gain);

#endif
