#include "quant/qgemm_ref.h"

#include <math.h>

void ql_qgemm_fwd_ref(double *y, double *size, const float *x, const float *w,
                      size_t T, size_t N, size_t K)
{
    for (size_t t = 0; t < T; t++) {
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            double abs = 0;

            for (size_t k = 0; k < K; k++) {
                const double p = (double)x[t * K + k] * (double)w[n * K + k];

                sum += p;
                abs += fabs(p);
            }
            y[t * N + n] = sum;
            size[t * N + n] = abs;
        }
    }
}

void ql_qgemm_bwd_ref(double *dx, double *size, const float *dy, const float *w,
                      size_t T, size_t N, size_t K)
{
    for (size_t t = 0; t < T; t++) {
        for (size_t k = 0; k < K; k++) {
            double sum = 0;
            double abs = 0;

            for (size_t n = 0; n < N; n++) {
                const double p = (double)dy[t * N + n] * (double)w[n * K + k];

                sum += p;
                abs += fabs(p);
            }
            dx[t * K + k] = sum;
            size[t * K + k] = abs;
        }
    }
}
