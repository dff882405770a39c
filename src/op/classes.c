#include "src/op/classes.h"

#include <math.h>

static size_t largest(const float *z, size_t n)
{
    size_t most = 0;

    for (size_t c = 1; c < n; c++) {
        most = z[c] > z[most] ? c : most;
    }
    return most;
}

/* log sum_c exp z[c] */
static double log_sum(const float *z, size_t n)
{
    const double most = (double)z[largest(z, n)];
    double sum = 0;

    for (size_t c = 0; c < n; c++) {
        sum += exp((double)z[c] - most);
    }
    return most + log(sum);
}

void ql_classes_loss(ql_loss *sum, float *dz, const float *z,
                     const int32_t *label, size_t S, size_t n, float scale,
                     size_t *table)
{
    for (size_t s = 0; s < S; s++, z += n) {
        const size_t want = (size_t)label[s];
        const size_t told = largest(z, n);
        const double all = log_sum(z, n);

        sum->sum += all - (double)z[want];
        sum->count++;
        sum->hits += told == want;
        if (table) {
            table[want * n + told]++;
        }
        for (size_t c = 0; dz && c < n; c++) {
            const double p = exp((double)z[c] - all);

            dz[s * n + c] = (float)((double)scale * (p - (c == want)));
        }
    }
}

void ql_classes_shares(float *p, const float *z, size_t n)
{
    const double all = log_sum(z, n);

    for (size_t c = 0; c < n; c++) {
        p[c] = (float)exp((double)z[c] - all);
    }
}

static double f1_of(const size_t *table, size_t n, size_t c)
{
    size_t there = 0;
    size_t told = 0;

    for (size_t i = 0; i < n; i++) {
        there += table[c * n + i];
        told += table[i * n + c];
    }
    return there + told > 0
               ? 2.0 * (double)table[c * n + c] / (double)(there + told)
               : 0;
}

double ql_classes_f1(const size_t *table, size_t n)
{
    double sum = 0;

    if (n == 2) {
        return f1_of(table, n, 1);
    }
    for (size_t c = 0; c < n; c++) {
        sum += f1_of(table, n, c);
    }
    return sum / (double)n;
}
