/* Types that every other header needs. */
#ifndef QLORA_TYPES_H
#define QLORA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Marks what the library exports. */
#define QL_API __attribute__((visibility("default")))

/* Makes the compiler check a printf-like function's arguments. */
#define QL_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Element types of tensors. The order is that of the safetensors crate, which
 * sorts a file's tensors by it, descending. Source: safetensors, tensor.rs. */
typedef enum ql_dtype {
    QL_DTYPE_BOOL,
    QL_DTYPE_F4,
    QL_DTYPE_F6_E2M3,
    QL_DTYPE_F6_E3M2,
    QL_DTYPE_U8,
    QL_DTYPE_I8,
    QL_DTYPE_F8_E5M2,
    QL_DTYPE_F8_E4M3,
    QL_DTYPE_F8_E8M0,
    QL_DTYPE_F8_E4M3FNUZ,
    QL_DTYPE_F8_E5M2FNUZ,
    QL_DTYPE_I16,
    QL_DTYPE_U16,
    QL_DTYPE_F16,
    QL_DTYPE_BF16,
    QL_DTYPE_I32,
    QL_DTYPE_U32,
    QL_DTYPE_F32,
    QL_DTYPE_C64,
    QL_DTYPE_F64,
    QL_DTYPE_I64,
    QL_DTYPE_U64,
    QL_DTYPE_COUNT
} ql_dtype;

#endif
