/* A toy Llama folder as the test wants it: type, head, layers, shards, a
 * weight that is damaged. Widths are no multiples of 64. */
#ifndef QL_TESTS_TOY_FOLDER_H
#define QL_TESTS_TOY_FOLDER_H

#include "qlora/types.h"

enum {
    TOY_C = 20,
    TOY_F = 36,
    TOY_QKV = 12, /* rows of q_proj */
    TOY_KV = 6,   /* rows of k_proj and v_proj */
    TOY_V = 30
};

typedef struct toy_folder {
    ql_dtype dtype;  /* F32, BF16 or F16 */
    bool untied;     /* the head is not the embedding */
    bool head;       /* a head is stored, needed or not */
    size_t layers;   /* 0: 2 */
    size_t files;    /* 0: 1 */
    size_t vocab;    /* 0: TOY_V */
    const char *bad; /* tensor whose element 7 is bad_value; or NULL */
    float bad_value;
} toy_folder;

/* Makes dir with config.json and the weights, the same for the same folder.
 * dir is replaced if it exists. */
void toy_folder_write(const char *dir, const toy_folder *how);

/* The folders of tests that make one of another. Borrowed, good for the whole
 * run. */
const char *toy_in(void);
const char *toy_out(void);

/* A file of a folder: its text (Owned: ql_free), written, there or not. */
char *toy_read(const char *dir, const char *name);
void toy_write(const char *dir, const char *name, const char *text);
bool toy_has(const char *dir, const char *name);

/* Bytes of all tensors in a folder. */
uint64_t toy_tensor_bytes(const char *dir);

/* Fails if a folder under construction, or one moved aside, is left. */
void toy_check_no_rest(void);

#endif
