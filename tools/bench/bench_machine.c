#include "tools/bench/bench_machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "qlora/qlora.h"
#include "src/base/cores.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_table.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(NDEBUG)
static const char build[] = "release";
#else
static const char build[] = "with assertions";
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

static double memory_gib(void)
{
    const double pages = (double)sysconf(_SC_PHYS_PAGES);

    return pages * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
}

/* Processes that run or want to, over the last minute; NAN where that is not
 * known. */
static double load(void)
{
    FILE *f = fopen("/proc/loadavg", "r");
    double x = (double)NAN;

    if (f) {
        if (fscanf(f, "%lf", &x) != 1) {
            x = (double)NAN;
        }
        fclose(f);
    }
    return x;
}

json_t *bench_machine_facts(const char *command)
{
    json_t *o = json_object();
    char processor[256];

    find_processor(processor, sizeof(processor));
    bench_set_text(o, "result", "machine");
    bench_set_text(o, "version", ql_version());
    bench_set_text(o, "processor", processor);
    bench_set_size(o, "cores", (uint64_t)ql_cores());
    bench_set_size(o, "threads", (uint64_t)ql_runtime_threads());
    bench_set_text(o, "isa", ql_runtime_isa());
    bench_set_text(o, "isa_available", ql_runtime_isa_list());
    bench_set_text(o, "compiler", COMPILER);
    bench_set_text(o, "libraries", ql_runtime_libraries());
    bench_set_text(o, "build", build);
    bench_set_real(o, "memory_gib", memory_gib());
    bench_set_real(o, "load", load());
    bench_set_text(o, "command", command);
    return o;
}

void bench_machine_show(bool json, const char *command)
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
        {"build", "build", 0, BENCH_TEXT},
        {"memory_gib", "memory, GiB", 0, 1},
        {"load", "others at work", 0, 1},
        {"command", "command", 0, BENCH_TEXT},
    };
    const bench_table t = {"machine", columns, 12, json};
    json_t *o = bench_machine_facts(command);

    bench_table_list(&t, (const bench_cell[]){
                             bench_text(bench_get_text(o, "version")),
                             bench_text(bench_get_text(o, "processor")),
                             bench_number(bench_get_real(o, "cores")),
                             bench_number(bench_get_real(o, "threads")),
                             bench_text(bench_get_text(o, "isa")),
                             bench_text(bench_get_text(o, "isa_available")),
                             bench_text(bench_get_text(o, "compiler")),
                             bench_text(bench_get_text(o, "libraries")),
                             bench_text(bench_get_text(o, "build")),
                             bench_number(bench_get_real(o, "memory_gib")),
                             bench_number(bench_get_real(o, "load")),
                             bench_text(bench_get_text(o, "command")),
                         });
    json_decref(o);
}
