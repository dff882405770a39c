/* A model folder with random weights, as qlora-quantize writes it. */
#ifndef QL_BENCH_FOLDER_H
#define QL_BENCH_FOLDER_H

#include "qlora/model.h"
#include "tools/bench/bench_options.h"
#include "tools/bench/bench_shapes.h"

/* How the linear layers lie in the folder. */
typedef enum bench_form {
    BENCH_FORM_NF4, /* NF4, double quantization */
    BENCH_FORM_BF16 /* the very same numbers, dequantized */
} bench_form;

/* Bytes written of all; told after each tensor. */
typedef void bench_folder_fn(uint64_t done, uint64_t all, void *user);

typedef struct bench_folder {
    const bench_shape *shape;
    uint64_t seed;
    bench_form form;
    size_t layers; /* 0: those of the shape */
    bool hollow;   /* weights are holes in the file, of zeros; for sizes only */
    bench_folder_fn *fn; /* or NULL */
    void *user;          /* handed to fn */
} bench_folder;

/* Writes config.json and model.safetensors into dir: embedding and head in
 * BF16; norms of about one. A family whose stored matrices are transposed is
 * written as NF4 only. Errors: QL_EIO, QL_ENOSPACE (told before anything is
 * written), QL_ENOMEM, QL_ECANCELLED. */
ql_status bench_folder_write(const char *dir, const bench_folder *f);

/* Opens a model of 4 bits from a folder that is made for it and gone when it is
 * open: its files stay mapped. The largest resident size is counted from then
 * on, where the kernel can do that. Errors: those of bench_work_folder,
 * bench_folder_write and ql_model_open. */
ql_status bench_folder_open(ql_model **m, const bench_options *o,
                            const bench_shape *shape, uint64_t seed);

#endif
