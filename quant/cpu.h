/* What this processor and its operating system can run. */
#ifndef QL_QUANT_CPU_H
#define QL_QUANT_CPU_H

#include <stdint.h>

/* Capability bits. Each stands for a group of instructions that go together
 * in practice and for the system's saving of the registers that they use. */
enum {
    QL_CPU_AVX2 = 1 << 0,       /* AVX2, FMA and F16C */
    QL_CPU_AVX512 = 1 << 1,     /* AVX2 and AVX-512 F, BW, DQ, VL */
    QL_CPU_AVX512BF16 = 1 << 2, /* AVX512 and its bf16 dot products */
    QL_CPU_NEON = 1 << 3,       /* Advanced SIMD */
    QL_CPU_NEONBF16 = 1 << 4    /* NEON and its bf16 conversions and products */
};

/* The bits of this machine; 0 on architectures that have none here. Found at
 * the first call and kept. Safe from any thread. */
uint32_t ql_cpu_bits(void);

#endif
