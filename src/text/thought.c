#include "src/text/thought.h"

#include <string.h>

#include "src/base/blank.h"
#include "src/base/fail.h"

static const char open_tag[] = "<think>";
static const char close_tag[] = "</think>";
const char ql_thought_closed[] = "\n</think>\n\n";

/* Where messages have thoughts beside their content. */
static const char *const keys[] = {"reasoning_content", "thinking",
                                   "reasoning"};

/* Behind the white space at its start. */
static const char *pass_blanks(const char *s)
{
    while (ql_is_blank(*s)) {
        s++;
    }
    return s;
}

static size_t trim(const char *s, size_t n)
{
    while (n > 0 && ql_is_blank(s[n - 1])) {
        n--;
    }
    return n;
}

size_t ql_thought_opened(const char *prompt, size_t n)
{
    const size_t tag = strlen(open_tag);
    const size_t end = trim(prompt, n);

    return end >= tag && memcmp(prompt + end - tag, open_tag, tag) == 0
               ? end - tag
               : n;
}

/* The last one of them: what templates cut at. */
static const char *find_close(const char *s)
{
    const char *last = NULL;

    while ((s = strstr(s, close_tag))) {
        last = s++;
    }
    return last;
}

/* s without the tag at its start, and what opens has behind its own. */
static const char *pass_open(const char *s, const char *opens)
{
    const char *at = pass_blanks(s);
    const char *gap = opens + strlen(open_tag);

    if (strncmp(at, open_tag, strlen(open_tag)) != 0) {
        return s;
    }
    at += strlen(open_tag);
    return strncmp(at, gap, strlen(gap)) == 0 ? at + strlen(gap) : at;
}

/* What is thought in a content, with the tag that ends it and, where the turn
 * does not begin with white space itself, that behind it. */
static ql_status put_inner(ql_buf *out, const char *content, const char *close,
                           const char *turn, const char *opens)
{
    const char *from = pass_open(content, opens);
    const char *to = close + strlen(close_tag);

    to = ql_is_blank(*turn) ? to : pass_blanks(to);
    return ql_buf_append(out, from, (size_t)(to - from));
}

/* What is thought beside a content. */
static ql_status put_beside(ql_buf *out, const json_t *message)
{
    for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
        const char *s = json_string_value(json_object_get(message, keys[k]));

        if (s && trim(s, strlen(s)) > 0) {
            s = pass_blanks(s);
            QL_TRY(ql_buf_append(out, s, trim(s, strlen(s))));
            break;
        }
    }
    return ql_buf_puts(out, ql_thought_closed);
}

/* What comes before the turn as the template has it, of which *turn is what is
 * kept. */
static ql_status put_thought(ql_buf *out, const char **turn, const char *opens,
                             const json_t *message)
{
    const char *content =
        json_string_value(json_object_get(message, "content"));
    const char *close = content ? find_close(content) : NULL;

    QL_TRY(ql_buf_puts(out, opens));
    if (strstr(*turn, close_tag)) {
        *turn = pass_open(*turn, opens);
        return QL_OK;
    }
    return close ? put_inner(out, content, close, *turn, opens)
                 : put_beside(out, message);
}

ql_status ql_thought_put(ql_buf *text, size_t at, const char *opens,
                         const json_t *message)
{
    const char *turn;
    ql_buf out;
    ql_status st;

    ql_buf_init(&out, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_puts(text, "")); /* it ends in NUL */
    turn = text->data + at;
    QL_TRY_DONE(put_thought(&out, &turn, opens, message));
    QL_TRY_DONE(ql_buf_puts(&out, turn));
    text->len = at;
    st = ql_buf_append(text, out.data, out.len);
done:
    ql_buf_free(&out);
    return st;
}
