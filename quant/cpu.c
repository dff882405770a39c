/* On x86-64, CPUID tells what the processor has, XGETBV what the system saves
 * when it switches threads; vector code needs both. On aarch64 the system
 * tells what programs may use. */
#include "quant/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>

#if defined(__x86_64__)

#include <cpuid.h>

typedef struct leaf {
    uint32_t eax, ebx, ecx, edx;
} leaf;

static leaf cpuid(uint32_t number, uint32_t sub)
{
    leaf l = {0, 0, 0, 0};

    if (!__get_cpuid_count(number, sub, &l.eax, &l.ebx, &l.ecx, &l.edx)) {
        l = (leaf){0, 0, 0, 0};
    }
    return l;
}

static bool has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

/* Register XCR0: which states the system saves. */
static uint32_t saved_states(void)
{
    uint32_t low;
    uint32_t high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static uint32_t find_bits(void)
{
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, f16c = 1u << 29;
    const uint32_t avx2 = 1u << 5;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    const uint32_t avx512bf16 = 1u << 5;
    const uint32_t ymm = 0x06, zmm = 0xe6;
    const leaf l1 = cpuid(1, 0);
    const leaf l7 = cpuid(7, 0);
    uint32_t bits = 0;

    if (!has(l1.ecx, fma | osxsave | f16c) || !has(l7.ebx, avx2) ||
        !has(saved_states(), ymm)) {
        return 0;
    }
    bits |= QL_CPU_AVX2;
    if (has(l7.ebx, avx512) && has(saved_states(), zmm)) {
        bits |= QL_CPU_AVX512;
        if (has(cpuid(7, 1).eax, avx512bf16)) {
            bits |= QL_CPU_AVX512BF16;
        }
    }
    return bits;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

static uint32_t find_bits(void)
{
    uint32_t bits = 0;

    if (getauxval(AT_HWCAP) & HWCAP_ASIMD) {
        bits |= QL_CPU_NEON;
        if (getauxval(AT_HWCAP2) & HWCAP2_BF16) {
            bits |= QL_CPU_NEONBF16;
        }
    }
    return bits;
}

#else

static uint32_t find_bits(void)
{
    return 0;
}

#endif

uint32_t ql_cpu_bits(void)
{
    static const uint32_t known = 1u << 31;
    static _Atomic uint32_t kept;
    uint32_t bits = atomic_load_explicit(&kept, memory_order_relaxed);

    if (!bits) {
        bits = find_bits() | known;
        atomic_store_explicit(&kept, bits, memory_order_relaxed);
    }
    return bits & ~known;
}
