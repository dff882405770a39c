/* What the time of a step goes to. A profile is handed down by pointer; NULL
 * costs a test. Time always belongs to one kind of work: whoever starts work
 * of another kind says so. */
#ifndef QL_OP_PROFILE_H
#define QL_OP_PROFILE_H

typedef enum ql_work {
    QL_WORK_OTHER,   /* embedding, copies, waiting */
    QL_WORK_PRODUCT, /* with frozen matrices, the head included */
    QL_WORK_LORA,    /* thin products, dropout, biases */
    QL_WORK_ATTENTION,
    QL_WORK_NORM,
    QL_WORK_ROPE,
    QL_WORK_ACTIVATION,
    QL_WORK_LOSS, /* without the head's products */
    QL_WORK_OPTIMIZER,
    QL_WORK_DATA,   /* laying out batches */
    QL_WORK_LOG,    /* telling of steps, the log, its files */
    QL_WORK_SAVE,   /* checkpoints */
    QL_WORK_PAGING, /* waiting for what is in files, and handing it over */
    QL_WORK_KINDS
} ql_work;

/* "other", "products" and so on. */
extern const char *const ql_work_names[QL_WORK_KINDS];

typedef struct ql_profile {
    double seconds[QL_WORK_KINDS];
    ql_work now;    /* the kind at work */
    double since_s; /* ql_now_s when its time was last counted */
} ql_profile;

/* Sets all to zero; time counts as other from now on. */
void ql_profile_start(ql_profile *p);

/* Counts the time so far; from now on it belongs to this kind. Nothing if p is
 * NULL. */
void ql_profile_mark(ql_profile *p, ql_work kind);

#endif
