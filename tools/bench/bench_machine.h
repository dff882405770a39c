/* What a measurement was made on. */
#ifndef QL_BENCH_MACHINE_H
#define QL_BENCH_MACHINE_H

#include <jansson.h>
#include <stdbool.h>

/* Shows processor, instruction set, compiler, threads, libraries, how busy the
 * machine is, and the command line. */
void bench_machine_show(bool json, const char *command);

/* The same as an object. Owned: json_decref. */
json_t *bench_machine_facts(const char *command);

#endif
