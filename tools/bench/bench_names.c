#include "tools/bench/bench_names.h"

#include <string.h>

#include "src/base/fail.h"
#include "tools/bench/bench_shapes.h"

const char *bench_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static bool is_shape(const char *name)
{
    const bench_shape *shape;

    return bench_shape_find(&shape, name) == QL_OK;
}

const char *bench_name_real(const bench_options *o, size_t i)
{
    const char *path = o->real.items[i];
    const char *name = bench_name_of(path);

    for (size_t j = 0; j < o->real.n; j++) {
        if (j != i && strcmp(bench_name_of(o->real.items[j]), name) == 0) {
            return path;
        }
    }
    return is_shape(name) ? path : name;
}

ql_status bench_names_check(const bench_options *o)
{
    for (size_t i = 0; i < o->real.n; i++) {
        const char *name = bench_name_real(o, i);

        if (is_shape(name)) {
            QL_FAIL(QL_EINVAL,
                    "--real %s: a shape is called so, too; write ./%s", name,
                    name);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(bench_name_real(o, j), name) == 0) {
                QL_FAIL(QL_EINVAL, "--real %s: it is there twice", name);
            }
        }
    }
    return QL_OK;
}
