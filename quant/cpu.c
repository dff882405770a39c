#include "quant/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The state that the system saves on a task switch (XCR0). */
static uint64_t saved_state(void)
{
    uint32_t low;
    uint32_t high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

uint32_t ql_cpu_features(void)
{
    enum {
        /* leaf 1, ECX */
        FMA = 1 << 12,
        OSXSAVE = 1 << 27,
        F16C = 1 << 29,
        /* leaf 7, EBX */
        AVX2 = 1 << 5,
        F_AND_DQ = 1 << 16 | 1 << 17,
        BW = 1 << 30,
        /* leaf 7.1, EAX */
        BF16 = 1 << 5,
        /* XCR0 */
        YMM = 1 << 1 | 1 << 2,
        ZMM = 1 << 5 | 1 << 6 | 1 << 7
    };
    uint32_t a = 0;
    uint32_t b = 0;
    uint32_t c = 0;
    uint32_t d = 0;
    uint32_t basic;
    uint32_t wide;
    uint32_t features = 0;
    uint64_t saved;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) {
        return 0;
    }
    basic = c;
    saved = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 0;
    }
    wide = b;
    if ((saved & YMM) == YMM && (basic & FMA) && (basic & F16C) &&
        (wide & AVX2)) {
        features |= QL_CPU_AVX2;
    }
    if ((features & QL_CPU_AVX2) && (saved & ZMM) == ZMM &&
        (wide & F_AND_DQ) == F_AND_DQ && (wide & BW) && (wide >> 31 & 1)) {
        features |= QL_CPU_AVX512;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & BF16)) {
            features |= QL_CPU_AVX512BF16;
        }
    }
    return features;
}
#else
uint32_t ql_cpu_features(void)
{
    return 0;
}
#endif
