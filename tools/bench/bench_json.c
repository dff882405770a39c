#include "tools/bench/bench_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/fail.h"

void bench_set_real(json_t *o, const char *key, double x)
{
    json_object_set_new(o, key, isfinite(x) ? json_real(x) : json_null());
}

void bench_set_size(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

void bench_set_text(json_t *o, const char *key, const char *text)
{
    json_object_set_new(o, key, json_string(text));
}

double bench_get_real(const json_t *o, const char *key)
{
    const json_t *value = json_object_get(o, key);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *bench_get_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text ? text : "";
}

double bench_get_part(const json_t *o, const char *of, const char *key)
{
    return json_number_value(json_object_get(json_object_get(o, of), key));
}

ql_status bench_put_line(const json_t *o)
{
    char *text = json_dumps(o, JSON_REAL_PRECISION(9));

    if (!text) {
        QL_FAIL(QL_ENOMEM, "out of memory");
    }
    puts(text);
    fflush(stdout);
    free(text);
    return QL_OK;
}

void bench_put_lines(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        bench_put_line(json_array_get(list, i));
    }
}
