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

/* The signed dynamic 8-bit map, ascending, that double quantization uses.
 * Source: bitsandbytes create_dynamic_map(signed=True). */
extern const float ql_dynamic_map[256];

#endif
