/* Cross-entropy of texts that have one of n classes.
 *
 *   loss[s] = log sum_c exp z[s,c] - z[s,label[s]]
 *   dz[s]   = scale (softmax(z[s,:]) - onehot(label[s])) */
#ifndef QL_OP_CLASSES_H
#define QL_OP_CLASSES_H

#include "src/op/loss.h"

/* Adds to *sum.
 *
 *   sum    added to; a hit is a text whose class has the largest logit, the
 *          first of equals
 *   z      [S, n]  read
 *   dz     [S, n]  written; may be z; NULL: not wanted
 *   label  [S]     below n
 *   table  [n, n]  texts by their class and the one that was told, added to;
 *                  NULL: not wanted
 * Cannot fail; a non-finite loss shows in sum. */
void ql_classes_loss(ql_loss *sum, float *dz, const float *z,
                     const int32_t *label, size_t S, size_t n, float scale,
                     size_t *table);

/* softmax(z) of one text. p [n] may be z. */
void ql_classes_shares(float *p, const float *z, size_t n);

/* F1 of a table: for two classes that of the second, else the mean over the
 * classes. A class that is neither there nor told has 0. */
double ql_classes_f1(const size_t *table, size_t n);

#endif
