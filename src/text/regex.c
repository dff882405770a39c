#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/regex.h"

#include <pcre2.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/text/onig.h"

enum {
    PATTERN_BYTES = 1 << 20,
    MATCH_STEPS = 10000000, /* PCRE2's own limit, less is met by no pattern
                             * in use */
    HEAP_KIB = 1 << 16
};

static void *take(size_t n, void *data)
{
    (void)data;
    return ql_alloc(QL_TAG_TEXT, n, 1);
}

static void give(void *p, void *data)
{
    (void)data;
    ql_free(p);
}

static ql_status compile_error(int code, const ql_part *part)
{
    char text[128];

    if (code == PCRE2_ERROR_HEAP_FAILED) {
        return QL_ENOMEM;
    }
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
    QL_FAIL(QL_EUNSUPPORTED, "%s: %s: a pattern is not supported: %s",
            part->where, part->kind, text);
}

static ql_status compile(ql_regex *r, const char *pattern, size_t n,
                         const ql_part *part, pcre2_general_context *memory)
{
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
    pcre2_compile_context *settings = pcre2_compile_context_create(memory);
    int code = PCRE2_ERROR_HEAP_FAILED;
    PCRE2_SIZE at;

    r->limits = pcre2_match_context_create(memory);
    if (settings && r->limits) {
        pcre2_set_newline(settings, PCRE2_NEWLINE_LF);
        pcre2_set_match_limit(r->limits, MATCH_STEPS);
        pcre2_set_heap_limit(r->limits, HEAP_KIB);
        r->code = pcre2_compile((PCRE2_SPTR)pattern, n, options, &code, &at,
                                settings);
    }
    pcre2_compile_context_free(settings);
    if (!r->code) {
        return compile_error(code, part);
    }
    /* Without machine code, matching is slower and the same */
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    return QL_OK;
}

ql_status ql_regex_compile(ql_regex *r, const char *pattern, size_t n,
                           const ql_part *part)
{
    pcre2_general_context *memory =
        pcre2_general_context_create(take, give, NULL);
    ql_status st = QL_ENOMEM;
    ql_buf where;

    *r = (ql_regex){0};
    ql_buf_init(&where, QL_TAG_TEXT, PATTERN_BYTES);
    if (memory) {
        QL_TRY_DONE(ql_buf_printf(&where, "%s: %s", part->where, part->kind));
        r->where = ql_buf_take(&where, NULL);
        QL_TRY_DONE(r->where ? QL_OK : QL_ENOMEM);
        st = compile(r, pattern, n, part, memory);
    }
done:
    pcre2_general_context_free(memory);
    ql_buf_free(&where);
    if (st != QL_OK) {
        ql_regex_free(r);
    }
    return st;
}

ql_status ql_regex_init(ql_regex *r, const char *pattern, size_t n,
                        const ql_part *part)
{
    ql_status st;
    ql_buf text;

    *r = (ql_regex){0};
    ql_buf_init(&text, QL_TAG_TEXT, PATTERN_BYTES);
    QL_TRY_DONE(ql_onig_rewrite(pattern, n, part, &text));
    st = ql_regex_compile(r, text.data ? text.data : "", text.len, part);
done:
    ql_buf_free(&text);
    return st;
}

void ql_regex_free(ql_regex *r)
{
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->limits);
    ql_free(r->where);
    *r = (ql_regex){0};
}

void ql_regex_work_free(ql_regex_work *w)
{
    pcre2_match_data_free(w->match);
    *w = (ql_regex_work){0};
}

/* One pair of offsets is enough for any pattern. */
static ql_status prepare(ql_regex_work *w)
{
    pcre2_general_context *memory;

    if (w->match) {
        return QL_OK;
    }
    memory = pcre2_general_context_create(take, give, NULL);
    if (memory) {
        w->match = pcre2_match_data_create(1, memory);
    }
    pcre2_general_context_free(memory);
    return w->match ? QL_OK : QL_ENOMEM;
}

ql_status ql_regex_find(const ql_regex *r, ql_regex_work *w, const char *s,
                        size_t n, size_t at, size_t *from, size_t *to)
{
    const PCRE2_SIZE *found;
    char text[128];
    int rc;

    *from = *to = SIZE_MAX;
    QL_TRY(prepare(w));
    rc = pcre2_match(r->code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK,
                     w->match, r->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        rc =
            pcre2_match(r->code, (PCRE2_SPTR)s, n, at,
                        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, r->limits);
    }
    if (rc == PCRE2_ERROR_NOMATCH) {
        return QL_OK;
    }
    if (rc == PCRE2_ERROR_NOMEMORY) {
        return QL_ENOMEM;
    }
    if (rc < 0) {
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof(text));
        QL_FAIL(QL_EFORMAT, "%s: a pattern cannot be matched with the text: %s",
                r->where, text);
    }
    found = pcre2_get_ovector_pointer(w->match);
    *from = found[0];
    *to = found[1];
    return QL_OK;
}
