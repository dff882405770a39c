/* A reader for just the JSON that a safetensors header may contain.
 *
 * A header may have 100 MB; a general tree of it would take gigabytes, and
 * nearly all of its shapes would then have to be refused. Reading the one
 * permitted shape in a single pass takes memory for the tensors found and for
 * their names, knows no depth, and can say which tensor is wrong. */
#include "src/format/safetensors_header.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/alloc.h"
#include "src/base/blank.h"
#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/base/json_escape.h"
#include "src/base/utf8_check.h"

typedef struct scan {
    const unsigned char *start;
    const unsigned char *p;
    const unsigned char *end;
    char *text;         /* where the next string goes */
    const char *tensor; /* being read; NULL outside */
} scan;

static ql_status wrong(const scan *s, const char *what)
{
    const size_t at = (size_t)(s->p - s->start);

    if (s->tensor) {
        QL_FAIL(QL_EFORMAT, "tensor '%s': byte %zu of the header: %s",
                s->tensor, at, what);
    }
    QL_FAIL(QL_EFORMAT, "byte %zu of the header: %s", at, what);
}

/* The next character that is not blank; 0 at the end, where NUL, which JSON
 * has nowhere, may as well be wrong. */
static int peek(scan *s)
{
    while (s->p < s->end && ql_is_blank(*s->p)) {
        s->p++;
    }
    return s->p < s->end ? *s->p : 0;
}

static bool take(scan *s, char c)
{
    if (peek(s) != c) {
        return false;
    }
    s->p++;
    return true;
}

static ql_status expect(scan *s, char c)
{
    char what[] = "'?' expected";

    if (take(s, c)) {
        return QL_OK;
    }
    what[1] = c;
    return wrong(s, what);
}

/* After a backslash. Every escape is longer than what it stands for. */
static ql_status escape(scan *s)
{
    const char *p = (const char *)s->p;
    const int32_t c = ql_json_escape(&p, (const char *)s->end);

    s->p = (const unsigned char *)p;
    if (c == QL_ESCAPE_UNKNOWN) {
        return wrong(s, "unknown escape in a string");
    }
    if (c == 0) {
        return wrong(s, "\\u0000 in a string cannot be honoured");
    }
    if (c < 0) {
        return wrong(s, "\\u is not followed by a character's number");
    }
    s->text += utf8proc_encode_char(c, (utf8proc_uint8_t *)s->text);
    return QL_OK;
}

/* A string, stored with a NUL. Two quotes in the header pay for the NUL, so
 * all strings fit where the header fits. */
static ql_status string(scan *s, const char **out)
{
    *out = s->text;
    if (!take(s, '"')) {
        return wrong(s, "a string expected");
    }
    while (s->p < s->end && *s->p != '"') {
        if (*s->p < 0x20) {
            return wrong(s, "control character in a string");
        }
        if (*s->p == '\\') {
            s->p++;
            QL_TRY(escape(s));
        } else {
            *s->text++ = (char)*s->p++;
        }
    }
    if (s->p == s->end) {
        return wrong(s, "a string without end");
    }
    s->p++;
    *s->text++ = '\0';
    return QL_OK;
}

static ql_status number(scan *s, size_t *out)
{
    const int first = peek(s);
    const unsigned char *start = s->p;
    size_t n = 0;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        if (ql_mul_overflows(n, 10, &n) ||
            ql_add_overflows(n, (size_t)(*s->p - '0'), &n)) {
            return wrong(s, "a number that is too large");
        }
        s->p++;
    }
    if (s->p == start || (first == '0' && s->p - start > 1) ||
        (s->p < s->end && strchr(".eE", *s->p))) {
        return wrong(s, "a whole number without sign expected");
    }
    *out = n;
    return QL_OK;
}

/* [n, n, ...]; counts on beyond max but stores no more. */
static ql_status numbers(scan *s, size_t *out, size_t max, size_t *count)
{
    size_t value = 0;

    *count = 0;
    QL_TRY(expect(s, '['));
    if (take(s, ']')) {
        return QL_OK;
    }
    do {
        QL_TRY(number(s, &value));
        if (*count < max) {
            out[*count] = value;
        }
        ++*count;
    } while (take(s, ','));
    return expect(s, ']');
}

static ql_status read_dtype(scan *s, ql_st_entry *e)
{
    char *mark = s->text;
    const char *name;

    QL_TRY(string(s, &name));
    e->tensor.dtype = ql_dtype_parse(name);
    if (e->tensor.dtype == QL_DTYPE_COUNT) {
        QL_FAIL(QL_EFORMAT, "tensor '%s': the dtype '%s' is unknown", s->tensor,
                name);
    }
    s->text = mark;
    return QL_OK;
}

static ql_status read_shape(scan *s, ql_st_entry *e)
{
    QL_TRY(numbers(s, e->tensor.shape, QL_MAX_RANK, &e->tensor.rank));
    if (e->tensor.rank > QL_MAX_RANK) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor '%s': %zu dimensions, but at most %d are supported",
                s->tensor, e->tensor.rank, QL_MAX_RANK);
    }
    return QL_OK;
}

static ql_status read_offsets(scan *s, ql_st_entry *e)
{
    size_t offsets[2] = {0, 0};
    size_t count;

    QL_TRY(numbers(s, offsets, 2, &count));
    if (count != 2) {
        return wrong(s, "data_offsets must be two numbers");
    }
    e->begin = offsets[0];
    e->end = offsets[1];
    return QL_OK;
}

static const struct {
    const char *key;
    ql_status (*read)(scan *s, ql_st_entry *e);
} fields[] = {
    {"dtype", read_dtype},
    {"shape", read_shape},
    {"data_offsets", read_offsets},
};

enum {
    FIELDS = sizeof(fields) / sizeof(fields[0])
};

/* One field of a tensor; bit i of *seen stands for fields[i]. */
static ql_status read_field(scan *s, ql_st_entry *e, unsigned *seen)
{
    char *mark = s->text;
    const char *key;
    unsigned i = 0;

    QL_TRY(string(s, &key));
    while (i < FIELDS && strcmp(fields[i].key, key) != 0) {
        i++;
    }
    if (i == FIELDS) {
        QL_FAIL(QL_EFORMAT,
                "tensor '%s': the key '%s' is not dtype, shape or data_offsets",
                s->tensor, key);
    }
    if (*seen & 1U << i) {
        QL_FAIL(QL_EFORMAT, "tensor '%s': %s is given twice", s->tensor, key);
    }
    *seen |= 1U << i;
    s->text = mark;
    QL_TRY(expect(s, ':'));
    return fields[i].read(s, e);
}

static ql_status read_tensor(scan *s, ql_st_entry *e)
{
    unsigned seen = 0;

    s->tensor = e->tensor.name;
    QL_TRY(expect(s, '{'));
    if (!take(s, '}')) {
        do {
            QL_TRY(read_field(s, e, &seen));
        } while (take(s, ','));
        QL_TRY(expect(s, '}'));
    }
    for (size_t i = 0; i < FIELDS; i++) {
        if (!(seen & 1U << i)) {
            QL_FAIL(QL_EFORMAT, "tensor '%s': %s is missing", s->tensor,
                    fields[i].key);
        }
    }
    s->tensor = NULL;
    return QL_OK;
}

/* The array with room for one more than count; NULL when out of memory, the
 * array then being as it was. */
static void *grow(void *array, size_t count, size_t *cap, size_t size)
{
    const size_t want = *cap ? *cap * 2 : 16;
    void *bigger;

    if (count < *cap) {
        return array;
    }
    bigger = ql_realloc(QL_TAG_TEXT, array, want, size);
    if (bigger) {
        *cap = want;
    }
    return bigger;
}

static ql_status add_pair(ql_st_header *h, const ql_st_pair *pair)
{
    ql_st_pair *pairs =
        grow(h->pairs, h->pair_count, &h->pair_cap, sizeof(*pair));

    if (!pairs) {
        return QL_ENOMEM;
    }
    h->pairs = pairs;
    h->pairs[h->pair_count++] = *pair;
    return QL_OK;
}

static ql_status add_entry(ql_st_header *h, const ql_st_entry *e)
{
    ql_st_entry *entries = grow(h->entries, h->count, &h->cap, sizeof(*e));

    if (!entries) {
        return QL_ENOMEM;
    }
    h->entries = entries;
    h->entries[h->count++] = *e;
    return QL_OK;
}

static ql_status read_metadata(scan *s, ql_st_header *h)
{
    if (peek(s) != '{') {
        return wrong(s, "__metadata__ must be an object of strings");
    }
    QL_TRY(expect(s, '{'));
    if (take(s, '}')) {
        return QL_OK;
    }
    do {
        ql_st_pair pair;

        QL_TRY(string(s, &pair.key));
        QL_TRY(expect(s, ':'));
        if (peek(s) != '"') {
            return wrong(s, "__metadata__ must be an object of strings");
        }
        QL_TRY(string(s, &pair.value));
        QL_TRY(add_pair(h, &pair));
    } while (take(s, ','));
    return expect(s, '}');
}

/* "name": {...} of a tensor or of __metadata__. */
static ql_status read_member(scan *s, ql_st_header *h, bool *metadata)
{
    char *mark = s->text;
    ql_st_entry e = {.begin = 0};

    QL_TRY(string(s, &e.tensor.name));
    QL_TRY(expect(s, ':'));
    if (strcmp(e.tensor.name, "__metadata__") == 0) {
        s->text = mark;
        if (*metadata) {
            return wrong(s, "__metadata__ is given twice");
        }
        *metadata = true;
        return read_metadata(s, h);
    }
    QL_TRY(read_tensor(s, &e));
    return add_entry(h, &e);
}

static ql_status read_header(scan *s, ql_st_header *h)
{
    bool metadata = false;

    QL_TRY(expect(s, '{'));
    if (!take(s, '}')) {
        do {
            QL_TRY(read_member(s, h, &metadata));
        } while (take(s, ','));
        QL_TRY(expect(s, '}'));
    }
    peek(s);
    return s->p < s->end ? wrong(s, "text after the closing brace") : QL_OK;
}

ql_status ql_st_header_init(ql_st_header *h, const unsigned char *json,
                            size_t len)
{
    ql_status st = QL_OK;
    scan s = {.start = json, .p = json, .end = json + len};

    *h = (ql_st_header){0};
    if (!ql_utf8_valid((const char *)json, len)) {
        QL_FAIL(QL_EFORMAT, "the header is not UTF-8 text");
    }
    h->text = ql_alloc(QL_TAG_TEXT, len, 1);
    if (!h->text) {
        return QL_ENOMEM;
    }
    s.text = h->text;
    st = read_header(&s, h);
    if (st != QL_OK) {
        ql_st_header_free(h);
    }
    return st;
}

void ql_st_header_free(ql_st_header *h)
{
    ql_free(h->text);
    ql_free(h->entries);
    ql_free(h->pairs);
    *h = (ql_st_header){0};
}
