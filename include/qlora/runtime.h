/* What is set once for the whole process: threads, instruction set, where
 * notes for the user go; and what the kernel says of our memory. */
#ifndef QLORA_RUNTIME_H
#define QLORA_RUNTIME_H

#include "qlora/status.h"

typedef enum ql_note_kind {
    QL_NOTE_NEWS,   /* how things go on */
    QL_NOTE_WARNING /* what was given, or comes out, is not what it seems */
} ql_note_kind;

/* A note for the user: one sentence, no newline. Called from the thread that
 * runs the library call. */
typedef void ql_note_fn(ql_note_kind kind, const char *text, void *user);

/* The type that products of frozen matrices and attention take their operands
 * in; sums are in f32 in any case. */
typedef enum ql_compute {
    QL_COMPUTE_AUTO, /* bf16 where the machine has instructions for it */
    QL_COMPUTE_FP32,
    QL_COMPUTE_BF16
} ql_compute;

typedef struct ql_runtime_options {
    int threads;        /* 0: physical cores this process may use (default) */
    ql_compute compute; /* QL_COMPUTE_AUTO (default) */
    const char *isa;    /* NULL: QL_ISA from the environment, else the best;
                           one that is named must compute as asked for */
    ql_note_fn *note;   /* NULL: notes are dropped (default) */
    void *note_user;    /* handed to note */
} ql_runtime_options;

/* Sets up threads, the instruction set and BLAS (held to one thread, since we
 * call it inside our own parallel regions). As many threads as the process has
 * cores are bound to one each, the calling thread among them, unless OpenMP was
 * told to bind them (OMP_PROC_BIND). Call it once, before all else,
 * from the main thread; opt may be NULL for all defaults.
 *
 * Errors: QL_EINVAL for a negative or absurd thread count or an unknown
 * instruction set; QL_EUNSUPPORTED for one that this machine cannot run, or
 * that does not compute in the type asked for. */
QL_API ql_status ql_runtime_open(const ql_runtime_options *opt);

/* Threads in use, at least 1. */
QL_API int ql_runtime_threads(void);

/* Instruction set in use, as --isa spells it. Borrowed, constant. */
QL_API const char *ql_runtime_isa(void);

/* The type it computes in: "fp32" or "bf16". Borrowed, constant. */
QL_API const char *ql_runtime_compute(void);

/* All instruction sets this build has and this machine can run, weakest
 * first, separated by spaces. Borrowed, constant. */
QL_API const char *ql_runtime_isa_list(void);

/* One line on BLAS and OpenMP as linked. Borrowed, constant. */
QL_API const char *ql_runtime_libraries(void);

/* Memory of this process as the kernel counts it, in bytes (Linux:
 * /proc/self/status VmHWM, VmRSS, RssAnon, RssFile). 0 where unknown. */
typedef struct ql_memory_use {
    uint64_t peak;      /* largest resident size so far */
    uint64_t resident;  /* resident size now */
    uint64_t anonymous; /* of that, private memory */
    uint64_t file;      /* of that, mapped files */
} ql_memory_use;

QL_API void ql_memory_read(ql_memory_use *out);

/* Frees a block that a call handed over as Owned; NULL is fine. */
QL_API void ql_free(void *p);

#endif
