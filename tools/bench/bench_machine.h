/* What a measurement was made on. */
#ifndef QL_BENCH_MACHINE_H
#define QL_BENCH_MACHINE_H

#include <stdbool.h>

/* Shows processor, instruction set, compiler, threads and libraries. */
void bench_machine_show(bool json);

#endif
