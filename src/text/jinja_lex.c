#include "src/text/jinja_lex.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_words.h"
#include "src/text/utf8.h"

typedef struct lexer {
    ql_jinja_mem *mem;
    const char *where;
    const char *s; /* [n], lines end with \n */
    size_t n;
    size_t at;
    size_t line; /* of s[at] */
    ql_jtoken *tokens;
    size_t count;
    size_t cap;
    char brackets[QL_JINJA_BRACKETS]; /* that are open: what closes them */
    size_t open;
} lexer;

/* Puts the place before a sentence, unless it is about memory. */
static ql_status place(const lexer *l, ql_status st)
{
    const char *type = st == QL_EFORMAT ? "TemplateSyntaxError: " : "";

    return st == QL_ENOMEM
               ? st
               : ql_fail_prefix(st, "%s:%zu: %s", l->where, l->line, type);
}

#define FAIL(l, ...) return place((l), ql_fail(QL_EFORMAT, __VA_ARGS__))

static ql_status push(lexer *l, ql_jtoken t)
{
    if (l->count == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 64;
        ql_jtoken *more = ql_jinja_take(l->mem, cap, sizeof(*more));

        if (!more) {
            return QL_ENOMEM;
        }
        if (l->count > 0) {
            memcpy(more, l->tokens, l->count * sizeof(*more));
        }
        l->tokens = more;
        l->cap = cap;
    }
    t.line = l->line;
    l->tokens[l->count++] = t;
    return QL_OK;
}

static ql_status push_kind(lexer *l, ql_jtoken_kind kind)
{
    return push(l, (ql_jtoken){.kind = kind, .value = ql_jval_text("")});
}

static ql_status push_text(lexer *l, const char *s, size_t n)
{
    return n == 0 ? QL_OK
                  : push(l, (ql_jtoken){.kind = QL_J_T_TEXT,
                                        .value = ql_jval_str(s, n)});
}

static void advance(lexer *l, size_t to)
{
    while (l->at < to) {
        l->line += l->s[l->at++] == '\n';
    }
}

static bool begins(const lexer *l, size_t at, const char *what)
{
    const size_t m = strlen(what);

    return l->n - at >= m && memcmp(l->s + at, what, m) == 0;
}

static size_t skip_blanks(const lexer *l, size_t at)
{
    return at + ql_jchars_blanks(l->s + at, l->n - at);
}

/* Where the tag ends that ends at s[at] with this pair of signs, with the
 * blanks that go with it; at itself if it does not end there. */
static size_t end_of(const lexer *l, size_t at, const char *pair)
{
    const bool tag = pair[0] != '}';
    const char sign = at < l->n ? l->s[at] : 0;
    const size_t signs = sign == '-' || (tag && sign == '+');

    if (!begins(l, at + signs, pair)) {
        return at;
    }
    at += signs + 2;
    if (sign == '-') {
        return skip_blanks(l, at);
    }
    return at + (signs == 0 && tag && begins(l, at, "\n"));
}

/* Bytes of the text before a tag that are printed. sign: that of the tag; 0
 * for none; lstrip: blanks before it on its line go. */
static size_t kept(const lexer *l, size_t to, char sign, bool lstrip)
{
    const char *s = l->s + l->at;
    const size_t n = to - l->at;
    size_t line = n;

    if (sign == '-') {
        return ql_jchars_rstrip(s, n);
    }
    if (sign == '+' || !lstrip) {
        return n;
    }
    while (line > 0 && s[line - 1] != '\n') {
        line--;
    }
    if (line == 0 && l->at > 0 && s[-1] != '\n') {
        return n;
    }
    return ql_jchars_blanks(s + line, n - line) == n - line ? line : n;
}

static char sign_at(const lexer *l, size_t at)
{
    return at < l->n && (l->s[at] == '-' || l->s[at] == '+') ? l->s[at] : 0;
}

/* Where {% raw %} or {% endraw %} at s[at] ends; at for anything else. The
 * first takes no line break with it. */
static size_t raw_tag(const lexer *l, size_t at, const char *word)
{
    const bool first = word[0] == 'r';
    size_t i = at + 2;
    size_t end;

    if (!begins(l, at, "{%")) {
        return at;
    }
    i = skip_blanks(l, i + (sign_at(l, i) != 0));
    if (!begins(l, i, word)) {
        return at;
    }
    i = skip_blanks(l, i + strlen(word));
    if (first) {
        return begins(l, i, "-%}")  ? skip_blanks(l, i + 3)
               : begins(l, i, "%}") ? i + 2
                                    : at;
    }
    end = end_of(l, i, "%}");
    return end == i ? at : end;
}

/* The text of a raw block and the tag that ends it. */
static ql_status raw(lexer *l)
{
    for (size_t i = l->at; i < l->n; i++) {
        const size_t end = l->s[i] == '{' ? raw_tag(l, i, "endraw") : i;

        if (end > i) {
            QL_TRY(push_text(l, l->s + l->at,
                             kept(l, i, sign_at(l, i + 2), true)));
            advance(l, end);
            return QL_OK;
        }
    }
    FAIL(l, "Missing end of raw directive");
}

static ql_status comment(lexer *l)
{
    for (size_t i = l->at; i < l->n; i++) {
        const size_t end = end_of(l, i, "#}");

        if (end > i) {
            advance(l, end);
            return QL_OK;
        }
    }
    FAIL(l, "Missing end of comment tag");
}

static ql_status bracket(lexer *l, char c)
{
    static const char opening[] = "([{";
    static const char closing[] = ")]}";
    const char *p = strchr(opening, c);

    if (p) {
        if (l->open == QL_JINJA_BRACKETS) {
            FAIL(l, "brackets are nested deeper than %d", QL_JINJA_BRACKETS);
        }
        l->brackets[l->open++] = closing[p - opening];
    } else if (strchr(closing, c)) {
        if (l->open == 0) {
            FAIL(l, "unexpected '%c'", c);
        }
        if (l->brackets[--l->open] != c) {
            FAIL(l, "unexpected '%c', expected '%c'", c, l->brackets[l->open]);
        }
    }
    return QL_OK;
}

static ql_status word(lexer *l)
{
    ql_jtoken t = {0};
    size_t len;
    const ql_status st =
        ql_jinja_word(l->mem, l->s + l->at, l->n - l->at,
                      l->at > 0 ? l->s[l->at - 1] : 0, &t, &len);

    if (st != QL_OK) {
        return place(l, st);
    }
    if (len == 0) {
        FAIL(l, "unexpected char '%.*s' at %zu",
             (int)ql_utf8_len(l->s + l->at, l->n - l->at), l->s + l->at, l->at);
    }
    if (t.kind == QL_J_T_SIGN) {
        QL_TRY(bracket(l, t.value.s[0]));
    }
    QL_TRY(push(l, t));
    advance(l, l->at + len);
    return QL_OK;
}

/* What stands between {{ and }}, or {% and %}. */
static ql_status inside(lexer *l, bool tag)
{
    l->open = 0;
    QL_TRY(push_kind(l, tag ? QL_J_T_TAG : QL_J_T_PRINT));
    while (l->at < l->n) {
        const size_t end =
            l->open > 0 ? l->at : end_of(l, l->at, tag ? "%}" : "}}");
        const size_t next = skip_blanks(l, l->at);

        if (end > l->at) {
            QL_TRY(push_kind(l, tag ? QL_J_T_TAG_END : QL_J_T_PRINT_END));
            advance(l, end);
            return QL_OK;
        }
        if (next > l->at) {
            advance(l, next);
        } else {
            QL_TRY(word(l));
        }
    }
    return QL_OK;
}

/* Where the next tag of any kind begins; n if there is none. */
static size_t next_tag(const lexer *l)
{
    size_t i = l->at;

    while (i < l->n) {
        const char *p = memchr(l->s + i, '{', l->n - i);

        i = p ? (size_t)(p - l->s) : l->n;
        if (i + 1 < l->n && l->s[i + 1] && strchr("{%#", l->s[i + 1])) {
            return i;
        }
        i++;
    }
    return l->n;
}

static ql_status part(lexer *l)
{
    const size_t at = next_tag(l);
    const char kind = at < l->n ? l->s[at + 1] : 0;
    const char sign = sign_at(l, at + 2);
    const size_t behind_raw = raw_tag(l, at, "raw");

    QL_TRY(push_text(l, l->s + l->at,
                     kind ? kept(l, at, sign, kind != '{') : at - l->at));
    if (!kind) {
        advance(l, l->n);
        return QL_OK;
    }
    if (behind_raw > at) {
        advance(l, behind_raw);
        return raw(l);
    }
    advance(l, at + 2 + (sign != 0));
    return kind == '#' ? comment(l) : inside(l, kind == '%');
}

/* The text with \n for every line end, the last of which goes. */
static ql_status normalize(lexer *l, const char *text, size_t len)
{
    char *s = ql_jinja_take(l->mem, len + 1, 1);
    size_t n = 0;

    if (!s) {
        return QL_ENOMEM;
    }
    if (ql_utf8_check(text, len) != len) {
        QL_FAIL(QL_EFORMAT, "%s: the template is not UTF-8", l->where);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r') {
            s[n++] = '\n';
            i += i + 1 < len && text[i + 1] == '\n';
        } else {
            s[n++] = text[i];
        }
    }
    l->s = s;
    l->n = n - (n > 0 && s[n - 1] == '\n');
    return QL_OK;
}

ql_status ql_jinja_lex(ql_jinja_mem *mem, const char *text, size_t len,
                       const char *where, ql_jtoken **out)
{
    lexer l = {.mem = mem, .where = where, .line = 1};

    QL_TRY(normalize(&l, text, len));
    while (l.at < l.n) {
        QL_TRY(part(&l));
    }
    QL_TRY(push_kind(&l, QL_J_T_END));
    *out = l.tokens;
    return QL_OK;
}
