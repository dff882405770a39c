/* The code tables: the only copy in the project. */
#ifndef QL_QUANT_CODEBOOK_H
#define QL_QUANT_CODEBOOK_H

typedef enum ql_codebook_id {
    QL_CODEBOOK_NF4,
    QL_CODEBOOK_FP4,
    QL_CODEBOOK_COUNT
} ql_codebook_id;

/* "nf4" and "fp4", as file names and options spell them. */
extern const char *const ql_codebook_names[QL_CODEBOOK_COUNT];

/* Values of the 16 codes, f32. Source: bitsandbytes get_4bit_type. */
extern const float ql_codebooks[QL_CODEBOOK_COUNT][16];

/* Blocks are divided by no less than this, which keeps zeros from becoming
 * NaN. A whole block of zeros is stored with scale 0 all the same, a short one
 * at the tensor's end with this. Source: bitsandbytes backends/default/ops.py,
 * quantize_blockwise and quantize_4bit. */
#define QL_SMALLEST_SCALE 1e-38F

/* The signed dynamic 8-bit map, ascending, that double quantization uses.
 * Source: bitsandbytes create_dynamic_map(signed=True). */
extern const float ql_dynamic_map[256];

/* The one from 0 to 1, for second moments. Source: bitsandbytes
 * create_dynamic_map(signed=False). */
extern const float ql_dynamic_map_unsigned[256];

#endif
