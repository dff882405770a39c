#include "src/text/pattern.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/text/utf8.h"

ql_status ql_pattern_init(ql_pattern *p, const ql_part *part)
{
    const json_t *v = json_object_get(part->json, "pattern");
    const json_t *regex = json_object_get(v, "Regex");
    const json_t *literal = json_object_get(v, "String");

    *p = (ql_pattern){0};
    if (json_is_string(regex)) {
        return ql_regex_init(&p->regex, json_string_value(regex),
                             json_string_length(regex), part);
    }
    if (!json_is_string(literal)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"pattern\" must hold a String or a Regex",
                part->where, part->kind);
    }
    p->n = json_string_length(literal);
    p->literal = ql_alloc(QL_TAG_TEXT, p->n + 1, 1);
    if (!p->literal) {
        return QL_ENOMEM;
    }
    memcpy(p->literal, json_string_value(literal), p->n + 1);
    return QL_OK;
}

void ql_pattern_free(ql_pattern *p)
{
    ql_free(p->literal);
    ql_regex_free(&p->regex);
    *p = (ql_pattern){0};
}

static void find_literal(const ql_pattern *p, const char *s, size_t n,
                         size_t at, size_t *from, size_t *to)
{
    const char *hit = s + at;

    *from = *to = p->n == 0 ? at : SIZE_MAX;
    while (p->n > 0 && (size_t)(s + n - hit) >= p->n) {
        hit = memchr(hit, p->literal[0], (size_t)(s + n - hit) - p->n + 1);
        if (!hit) {
            return;
        }
        if (memcmp(hit, p->literal, p->n) == 0) {
            *from = (size_t)(hit - s);
            *to = *from + p->n;
            return;
        }
        hit++;
    }
}

ql_status ql_pattern_next(const ql_pattern *p, ql_regex_work *w, const char *s,
                          size_t n, ql_search *search, bool *found)
{
    *found = false;
    while (search->pos <= n) {
        size_t from;
        size_t to;

        if (p->literal) {
            find_literal(p, s, n, search->pos, &from, &to);
        } else {
            QL_TRY(ql_regex_find(&p->regex, w, s, n, search->pos, &from, &to));
        }
        if (from == SIZE_MAX) {
            return QL_OK;
        }
        if (from < to || !search->matched || to != search->to) {
            *search = (ql_search){from, to, to, true};
            *found = true;
            return QL_OK;
        }
        search->pos +=
            search->pos < n ? ql_utf8_len(s + search->pos, n - search->pos) : 1;
    }
    return QL_OK;
}
