/* What every test program shares: cmocka, the folder of reference data, a
 * scratch folder, comparisons of floats, random inputs that can be replayed. */
#ifndef QL_TESTS_CHECK_H
#define QL_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qlora/runtime.h"
#include "src/base/alloc.h"

/* What tests open the runtime with: fp32, since they are held to its accuracy,
 * unless QL_ISA names a set. */
extern ql_runtime_options check_runtime;

/* Path of a file under QL_SHARED (default ../shared). Borrowed: one of eight
 * buffers used in turn. */
const char *check_shared(const char *relative);

/* Ends the program as skipped (exit 77, reason printed) unless the reference
 * data is there. The first line of main in a test that needs it. */
void check_need_shared(void);

/* A fresh folder that is removed at exit. Borrowed, one for the program. */
const char *check_tmp(void);

/* check_tmp() + "/" + name. Borrowed: one of eight buffers used in turn. */
const char *check_tmp_path(const char *name);

/* A file that this process has open, and whose path contains text, removed or
 * not; -1 when there is none, or the system does not tell. */
int check_open_file(const char *text);

/* Fails with the library's sentence unless call gives QL_OK. */
#define check_ok(call)                                                         \
    do {                                                                       \
        const ql_status check_st = (call);                                     \
        if (check_st != QL_OK) {                                               \
            fail_msg("%s: %s: %s", #call, ql_status_name(check_st),            \
                     ql_last_error());                                         \
        }                                                                      \
    } while (0)

/* Fails unless call gives this status and the sentence contains text. */
#define check_fails(call, status, text)                                        \
    check_failed((call), (status), (text), #call)
void check_failed(ql_status got, ql_status want, const char *text,
                  const char *call);

/* Makes a call with the n-th of its allocations failing, from 0: true for
 * QL_OK, false for QL_ENOMEM; for anything else the test fails. For loops over
 * n that end when there are no more allocations to fail. */
#define check_lacking(n, call)                                                 \
    (ql_alloc_fail_after(n), check_lacked((n), (call), #call))
bool check_lacked(long n, ql_status st, const char *call);

/* Fails unless |got[i] - want[i]| <= tolerance for all i < n. */
void check_close(const float *got, const double *want, size_t n,
                 double tolerance, const char *what);

/* ||got - want|| / ||want||, in double; 0 when both are 0. */
double check_distance(const float *got, const double *want, size_t n);

/* Distance of a float from a number, in units of its last place. */
double check_ulps(float got, double want);

/* Seed of this run: QL_SEED, else a fixed one. Printed on first use. */
uint64_t check_seed(void);

/* x[i] uniform in [-1, 1), from check_seed() and salt. */
void check_fill(float *x, size_t n, uint64_t salt);

#endif
