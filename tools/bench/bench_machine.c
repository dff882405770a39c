#include "tools/bench/bench_machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "qlora/qlora.h"
#include "src/base/cores.h"
#include "tools/bench/bench_table.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The processor's name, as the kernel knows it; else the architecture. */
static void find_processor(char *name, size_t bytes)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    struct utsname system;
    char line[256];

    uname(&system);
    snprintf(name, bytes, "%s", system.machine);
    while (f && fgets(line, sizeof(line), f)) {
        const char *colon = strchr(line, ':');

        if (colon && strncmp(line, "model name", 10) == 0) {
            snprintf(name, bytes, "%.*s", (int)strcspn(colon + 2, "\n"),
                     colon + 2);
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}

void bench_machine_show(bool json)
{
    static const bench_column columns[] = {
        {"version", "qlora", 0, BENCH_TEXT},
        {"processor", "processor", 0, BENCH_TEXT},
        {"cores", "cores", 0, 0},
        {"threads", "threads", 0, 0},
        {"isa", "instruction set", 0, BENCH_TEXT},
        {"isa_available", "available", 0, BENCH_TEXT},
        {"compiler", "compiler", 0, BENCH_TEXT},
        {"libraries", "libraries", 0, BENCH_TEXT},
    };
    const bench_table t = {"machine", columns, 8, json};
    char processor[256];

    find_processor(processor, sizeof(processor));
    bench_table_list(&t, (const bench_cell[]){
                             bench_text(ql_version()),
                             bench_text(processor),
                             bench_number(ql_cores()),
                             bench_number(ql_runtime_threads()),
                             bench_text(ql_runtime_isa()),
                             bench_text(ql_runtime_isa_list()),
                             bench_text(COMPILER),
                             bench_text(ql_runtime_libraries()),
                         });
}
