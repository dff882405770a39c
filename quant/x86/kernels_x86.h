/* The sets for x86-64. Each file is compiled with its own flags; nothing in it
 * may run before the choice. */
#ifndef QL_QUANT_KERNELS_X86_H
#define QL_QUANT_KERNELS_X86_H

#include "quant/kernels.h"

extern const ql_kernels ql_kernels_avx2;
extern const ql_kernels ql_kernels_avx512;

#endif
