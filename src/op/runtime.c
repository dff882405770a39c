/* The process-wide settings: threads, instruction set, BLAS, notes. They are
 * set here because this room owns the threads and the kernels' callers. */
#include "qlora/runtime.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/version.h"
#include "quant/kernels.h"
#include "src/base/cores.h"
#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/op/gemm.h"

enum {
    MAX_THREADS = 1024,
    LIST_BYTES = 256
};

static char isa_list[LIST_BYTES];

/* By operands in a cell. */
static const char *const type_names[] = {[1] = "fp32", [2] = "bf16"};

static size_t pair_of(ql_compute compute)
{
    return compute == QL_COMPUTE_BF16 ? 2 : 1;
}

/* Names of the sets this machine can run, for messages. */
static void fill_isa_list(void)
{
    size_t n;
    const ql_kernels *const *list = ql_kernels_list(&n);

    isa_list[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const size_t used = strlen(isa_list);

        if (ql_kernels_runnable(list[i])) {
            snprintf(isa_list + used, sizeof(isa_list) - used, "%s%s",
                     used ? " " : "", list[i]->name);
        }
    }
}

/* The set of that name, on this machine and in that type. */
static ql_status choose_isa(const char *name, ql_compute compute)
{
    size_t n;
    const ql_kernels *const *list = ql_kernels_list(&n);

    if (ql_kernels_choose(name)) {
        if (compute != QL_COMPUTE_AUTO &&
            ql_kernels_get()->pair != pair_of(compute)) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "instruction set %s computes in %s, not in %s", name,
                    ql_runtime_compute(), type_names[pair_of(compute)]);
        }
        return QL_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i]->name, name) == 0) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "instruction set %s: this machine cannot run it; choose "
                    "one of: %s",
                    name, isa_list);
        }
    }
    QL_FAIL(QL_EINVAL, "instruction set %s is unknown; choose one of: %s", name,
            isa_list);
}

/* Unless the user has told OpenMP what to do. */
static void place_threads(void)
{
    const int threads = omp_get_max_threads();

    if (omp_get_proc_bind() == omp_proc_bind_false) {
#pragma omp parallel
        ql_cores_bind(omp_get_thread_num(), threads);
    }
}

/* The best set in that type; the portable one in bf16 is for tests. */
static ql_status choose_best(ql_compute compute)
{
    const ql_kernels *bf16 = ql_kernels_best(2);
    const bool has_bf16 = bf16->cpu_need != 0;

    if (compute == QL_COMPUTE_BF16 && !has_bf16) {
        QL_FAIL(QL_EUNSUPPORTED,
                "this machine has no instructions that compute in bf16; "
                "compute in fp32");
    }
    ql_kernels_choose(compute != QL_COMPUTE_FP32 && has_bf16
                          ? bf16->name
                          : ql_kernels_best(1)->name);
    return QL_OK;
}

ql_status ql_runtime_open(const ql_runtime_options *opt)
{
    const ql_runtime_options none = {0};
    const char *isa;
    ql_status st;

    opt = opt ? opt : &none;
    if (opt->threads < 0 || opt->threads > MAX_THREADS) {
        QL_FAIL(QL_EINVAL, "%d threads: give a number from 1 to %d",
                opt->threads, MAX_THREADS);
    }
    ql_note_set(opt->note, opt->note_user);
    ql_gemm_setup();
    omp_set_dynamic(0);
    omp_set_num_threads(opt->threads > 0 ? opt->threads : ql_cores());
    place_threads();
    fill_isa_list();
    isa = opt->isa ? opt->isa : getenv("QL_ISA");
    if (!isa || !*isa) {
        return choose_best(opt->compute);
    }
    st = choose_isa(isa, opt->compute);
    return st == QL_OK || opt->isa ? st : ql_fail_prefix(st, "QL_ISA: ");
}

int ql_runtime_threads(void)
{
    return omp_get_max_threads();
}

const char *ql_runtime_isa(void)
{
    return ql_kernels_get()->name;
}

const char *ql_runtime_compute(void)
{
    return type_names[ql_kernels_get()->pair];
}

const char *ql_runtime_isa_list(void)
{
    fill_isa_list();
    return isa_list;
}

const char *ql_runtime_libraries(void)
{
    static char text[LIST_BYTES];

    snprintf(text, sizeof(text), "BLAS: %s (one thread a call), OpenMP %d",
             ql_gemm_library(), _OPENMP);
    return text;
}

const char *ql_version(void)
{
    return QL_VERSION;
}

/* Reads lines such as "VmHWM:   1234 kB". */
void ql_memory_read(ql_memory_use *out)
{
    static const char *const keys[] = {
        "VmHWM:", "VmRSS:", "RssAnon:", "RssFile:"};
    uint64_t *const values[] = {&out->peak, &out->resident, &out->anonymous,
                                &out->file};
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");

    *out = (ql_memory_use){0};
    while (f && fgets(line, sizeof(line), f)) {
        for (size_t i = 0; i < 4; i++) {
            if (strncmp(line, keys[i], strlen(keys[i])) == 0) {
                *values[i] = strtoull(line + strlen(keys[i]), NULL, 10) * 1024;
            }
        }
    }
    if (f) {
        fclose(f);
    }
}
