#include "src/base/json.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/quote.h"

ql_status ql_json_parse(json_t **out, const char *text, size_t len,
                        const char *where)
{
    const size_t flags =
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t e;

    *out = json_loadb(text, len, flags, &e);
    if (!*out && json_error_code(&e) == json_error_numeric_overflow) {
        *out = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, &e);
    }
    if (*out) {
        return QL_OK;
    }
    if (json_error_code(&e) == json_error_out_of_memory) {
        QL_FAIL(QL_ENOMEM, "%s: out of memory", where);
    }
    if (e.line > 1) {
        QL_FAIL(QL_EFORMAT, "%s: not valid JSON: %s (line %d, column %d)",
                where, e.text, e.line, e.column);
    }
    QL_FAIL(QL_EFORMAT, "%s: not valid JSON: %s (column %d)", where, e.text,
            e.column);
}

ql_status ql_json_load(json_t **out, const char *path, size_t max)
{
    ql_status st;
    char *text = NULL;
    size_t len = 0;

    *out = NULL;
    QL_TRY(ql_file_read(path, max, &text, &len));
    st = ql_json_parse(out, text, len, path);
    ql_free(text);
    if (st == QL_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        QL_FAIL(QL_EFORMAT, "%s: must be a JSON object", path);
    }
    return st;
}

ql_status ql_json_load_optional(json_t **out, char **path, const char *dir,
                                const char *name, size_t max)
{
    *out = NULL;
    *path = ql_path_join(dir, name);
    if (!*path) {
        return QL_ENOMEM;
    }
    return ql_path_exists(*path) ? ql_json_load(out, *path, max) : QL_OK;
}

/* The value of a key that is there and not null, else NULL. */
static const json_t *given(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_null(v) ? NULL : v;
}

static ql_status wrong(const char *where, const char *key, const char *want)
{
    QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be %s", where, key, want);
}

ql_status ql_json_size(const json_t *o, const char *key, const char *where,
                       size_t *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(where, key, "a whole number, not negative");
    }
    *out = (size_t)json_integer_value(v);
    return QL_OK;
}

ql_status ql_json_real(const json_t *o, const char *key, const char *where,
                       double *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_number(v)) {
        return wrong(where, key, "a number");
    }
    *out = json_number_value(v);
    return QL_OK;
}

ql_status ql_json_bool(const json_t *o, const char *key, const char *where,
                       bool *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_boolean(v)) {
        return wrong(where, key, "true or false");
    }
    *out = json_is_true(v);
    return QL_OK;
}

ql_status ql_json_string(const json_t *o, const char *key, const char *where,
                         const char **out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_string(v)) {
        return wrong(where, key, "a string");
    }
    *out = json_string_value(v);
    return QL_OK;
}

/* Writes digits d.ddd * 10^e in Python's layout. digits has no dot. */
static ql_status layout_float(ql_buf *out, const char *digits, int n, int e)
{
    if (e < -4 || e >= 16) {
        QL_TRY(
            ql_buf_printf(out, n > 1 ? "%.1s.%s" : "%.1s", digits, digits + 1));
        return ql_buf_printf(out, "e%c%02d", e < 0 ? '-' : '+', abs(e));
    }
    if (e < 0) {
        return ql_buf_printf(out, "0.%.*s%s", -e - 1, "000", digits);
    }
    QL_TRY(ql_buf_printf(out, "%.*s", e + 1, digits));
    for (int i = n; i < e + 1; i++) {
        QL_TRY(ql_buf_putc(out, '0'));
    }
    return ql_buf_printf(out, ".%s", n > e + 1 ? digits + e + 1 : "0");
}

ql_status ql_json_put_real(ql_buf *out, double x)
{
    char text[64];
    char digits[32];
    int n = 0;
    int precision;

    if (!isfinite(x)) {
        return ql_buf_puts(out, isnan(x) ? "NaN"
                                : x > 0  ? "Infinity"
                                         : "-Infinity");
    }
    /* What has up to 15 digits is found at 15, with zeros at its end; but for
     * the least of numbers, which are known by fewer. */
    precision = fabs(x) < DBL_MIN ? 0 : DBL_DIG - 1;
    do {
        snprintf(text, sizeof(text), "%.*e", precision, x);
        /* 17 significant digits always give the double back */
    } while (strtod(text, NULL) != x && precision++ < 16);
    if (signbit(x)) {
        QL_TRY(ql_buf_putc(out, '-'));
    }
    for (const char *p = text; *p && *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9') {
            digits[n++] = *p;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    digits[n] = '\0';
    return layout_float(out, digits, n,
                        (int)strtol(strchr(text, 'e') + 1, NULL, 10));
}

/* How deep objects are sorted. */
enum {
    OUTERMOST = 1,
    ALL = INT_MAX
};

static ql_status put_value(ql_buf *out, const json_t *v, int depth, int sorted);

/* The line break before an element, or before the closing bracket. */
static ql_status put_break(ql_buf *out, const char *before, int depth)
{
    return ql_buf_printf(out, "%s\n%*s", before, 2 * depth, "");
}

static ql_status put_array(ql_buf *out, const json_t *v, int depth, int sorted)
{
    const size_t n = json_array_size(v);

    if (n == 0) {
        return ql_buf_puts(out, "[]");
    }
    QL_TRY(ql_buf_putc(out, '['));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(put_break(out, i ? "," : "", depth + 1));
        QL_TRY(put_value(out, json_array_get(v, i), depth + 1, sorted));
    }
    QL_TRY(put_break(out, "", depth));
    return ql_buf_putc(out, ']');
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an object, in the order in which they were put in. Owned:
 * ql_free; the strings are borrowed. */
static const char **keys_of(const json_t *v)
{
    json_t *o = (json_t *)(uintptr_t)v; /* jansson's iterators take no const */
    const char **keys =
        ql_alloc(QL_TAG_MISC, json_object_size(v), sizeof(*keys));
    size_t n = 0;

    for (void *it = json_object_iter(o); keys && it;
         it = json_object_iter_next(o, it)) {
        keys[n++] = json_object_iter_key(it);
    }
    return keys;
}

static ql_status put_object(ql_buf *out, const json_t *v, int depth, int sorted)
{
    const size_t n = json_object_size(v);
    ql_status st = QL_OK;
    const char **keys;

    if (n == 0) {
        return ql_buf_puts(out, "{}");
    }
    keys = keys_of(v);
    if (!keys) {
        return QL_ENOMEM;
    }
    if (depth < sorted) {
        qsort(keys, n, sizeof(*keys), by_key);
    }
    QL_TRY_DONE(ql_buf_putc(out, '{'));
    for (size_t i = 0; i < n; i++) {
        QL_TRY_DONE(put_break(out, i ? "," : "", depth + 1));
        QL_TRY_DONE(ql_quote_ascii(out, keys[i], strlen(keys[i])));
        QL_TRY_DONE(ql_buf_puts(out, ": "));
        QL_TRY_DONE(
            put_value(out, json_object_get(v, keys[i]), depth + 1, sorted));
    }
    QL_TRY_DONE(put_break(out, "", depth));
    st = ql_buf_putc(out, '}');
done:
    ql_free(keys);
    return st;
}

static ql_status put_value(ql_buf *out, const json_t *v, int depth, int sorted)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return put_object(out, v, depth, sorted);
    case JSON_ARRAY:
        return put_array(out, v, depth, sorted);
    case JSON_STRING:
        return ql_quote_ascii(out, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
        return ql_buf_printf(out, "%lld", (long long)json_integer_value(v));
    case JSON_REAL:
        return ql_json_put_real(out, json_real_value(v));
    case JSON_TRUE:
        return ql_buf_puts(out, "true");
    case JSON_FALSE:
        return ql_buf_puts(out, "false");
    case JSON_NULL:
    default:
        return ql_buf_puts(out, "null");
    }
}

size_t ql_json_count(const json_t *v)
{
    if (json_is_array(v)) {
        return json_array_size(v);
    }
    return v && !json_is_null(v);
}

const json_t *ql_json_item(const json_t *v, size_t i)
{
    return json_is_array(v) ? json_array_get(v, i) : v;
}

ql_status ql_json_put(ql_buf *out, const json_t *v)
{
    return put_value(out, v, 0, ALL);
}

static ql_status save(const json_t *v, int sorted, bool newline,
                      const char *path)
{
    enum {
        MAX_BYTES = 256 << 20
    };
    ql_status st;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, MAX_BYTES);
    QL_TRY_DONE(put_value(&b, v, 0, sorted));
    QL_TRY_DONE(ql_buf_puts(&b, newline ? "\n" : ""));
    st = ql_file_write(path, b.data, b.len);
done:
    ql_buf_free(&b);
    return st;
}

ql_status ql_json_save(const json_t *v, bool newline, const char *path)
{
    return save(v, ALL, newline, path);
}

ql_status ql_json_save_ordered(const json_t *v, const char *path)
{
    return save(v, OUTERMOST, false, path);
}
