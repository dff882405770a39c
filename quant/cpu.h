/* What this machine can run: instruction sets that the processor has and the
 * operating system saves. */
#ifndef QL_QUANT_CPU_H
#define QL_QUANT_CPU_H

#include <stdint.h>

enum {
    QL_CPU_AVX2 = 1 << 0,      /* AVX2, FMA and F16C */
    QL_CPU_AVX512 = 1 << 1,    /* AVX-512 F, BW, DQ and VL */
    QL_CPU_AVX512BF16 = 1 << 2 /* AVX-512 BF16, with the above */
};

/* A mask of the bits above; 0 on other architectures. */
uint32_t ql_cpu_features(void);

#endif
