#include "src/text/onig.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/onig_sets.h"

enum {
    MAX_DEPTH = 100 /* of groups and classes; PCRE2 takes 250 */
};

typedef struct rewriter {
    const char *p;
    const char *end;
    const ql_part *part;
    ql_buf *out;
    int depth;
    /* By depth: groups that an option in the middle of a group has opened,
     * which end together with it, and whether case is ignored. */
    unsigned opened[MAX_DEPTH];
    bool caseless[MAX_DEPTH];
    char literal; /* the letter before, where case is ignored; else 0 */
} rewriter;

static ql_status refuse(const rewriter *r, const char *what)
{
    QL_FAIL(QL_EUNSUPPORTED, "%s: %s: a pattern with %s is not supported",
            r->part->where, r->part->kind, what);
}

static ql_status put(const rewriter *r, const char *s)
{
    return ql_buf_puts(r->out, s);
}

static bool take(rewriter *r, const char *what)
{
    const size_t n = strlen(what);

    if ((size_t)(r->end - r->p) < n || memcmp(r->p, what, n) != 0) {
        return false;
    }
    r->p += n;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A character that stands for itself. */
static ql_status put_literal(const rewriter *r, char c)
{
    const bool plain = is_letter(c) || is_digit(c) || (unsigned char)c >= 0x80;

    if ((unsigned char)c < 0x20 || c == 0x7f) {
        return ql_buf_printf(r->out, "\\x{%02x}", (unsigned)c);
    }
    QL_TRY(put(r, plain ? "" : "\\"));
    return ql_buf_putc(r->out, c);
}

/* Where case is ignored, Oniguruma lets a pair of letters match the one
 * character that folds to it, as ss does. */
static ql_status check_pair(rewriter *r, char c)
{
    static const char *const pairs[] = {"ss", "st", "ff", "fi", "fl"};
    const char lower = is_letter(c) ? (char)(c | 0x20) : '\0';

    for (size_t i = 0; i < 5 && r->caseless[r->depth]; i++) {
        if (r->literal == pairs[i][0] && lower == pairs[i][1]) {
            return refuse(r, "letters that fold into one, case ignored,");
        }
    }
    r->literal = lower;
    return QL_OK;
}

/* Hexadecimal digits up to a character, or as many as max. */
static ql_status put_hex(rewriter *r, char until, size_t max)
{
    char digits[9];
    size_t n = 0;

    while (r->p < r->end && n < max &&
           strchr("0123456789abcdefABCDEF", *r->p)) {
        digits[n++] = *r->p++;
    }
    digits[n] = '\0';
    if (n == 0 || (until && (r->p == r->end || *r->p != until)) ||
        (!until && (n < max || (max == 2 && digits[0] >= '8')))) {
        return refuse(r, "this use of \\x or \\u");
    }
    r->p += until != '\0';
    return ql_buf_printf(r->out, "\\x{%s}", digits);
}

/* {name} or {^name} after \p. */
static ql_status put_property(rewriter *r, bool negated)
{
    const char *close;
    ql_status st = QL_OK;

    if (!take(r, "{")) {
        return refuse(r, "\\p without a name");
    }
    negated ^= take(r, "^");
    close = memchr(r->p, '}', (size_t)(r->end - r->p));
    if (!close ||
        !ql_onig_property(r->p, (size_t)(close - r->p), negated, r->out, &st)) {
        return refuse(r, "this \\p");
    }
    r->p = close + 1;
    return st;
}

/* What follows a backslash. */
static ql_status put_escape(rewriter *r, bool within)
{
    const char c = r->p < r->end ? *r->p++ : '\0';
    const char *known = ql_onig_escape(c, within);
    const char name[] = {'\\', c, '\0'};

    if (known && !(c == '0' && r->p < r->end && is_digit(*r->p))) {
        return put(r, known);
    }
    if (c == 'p' || c == 'P') {
        return put_property(r, c == 'P');
    }
    if (c == 'x') {
        return take(r, "{") ? put_hex(r, '}', 8) : put_hex(r, '\0', 2);
    }
    if (c == 'u') {
        return put_hex(r, '\0', 4);
    }
    if (c == '\0' || is_letter(c) || is_digit(c)) {
        return refuse(r, c ? name : "a backslash at its end");
    }
    return put_literal(r, c);
}

static ql_status put_class(rewriter *r, int depth);

/* [:name:] or [:^name:], of which "[:" was taken. */
static ql_status put_posix(rewriter *r)
{
    const bool negated = take(r, "^");
    const char *name = r->p;
    const char *set;

    while (r->p < r->end && is_letter(*r->p)) {
        r->p++;
    }
    set = ql_onig_class(name, (size_t)(r->p - name), negated);
    if (!set || !take(r, ":]")) {
        return refuse(r, "this class in brackets");
    }
    return put(r, set);
}

/* One item of a class. *single: it is one character, so that a range can
 * begin with it. */
static ql_status put_item(rewriter *r, int depth, bool *single)
{
    const char c = *r->p;

    if (take(r, "[:")) {
        *single = false;
        return put_posix(r);
    }
    if (take(r, "[")) {
        *single = false;
        return take(r, "^") ? refuse(r, "a negated class within a class")
                            : put_class(r, depth + 1);
    }
    if (take(r, "&&")) {
        return refuse(r, "&&");
    }
    if (take(r, "\\")) {
        *single = r->p < r->end && !strchr("pPsSwWdDhH", *r->p);
        return put_escape(r, true);
    }
    *single = true;
    r->p++;
    return put_literal(r, c);
}

/* A dash: between two characters it makes a range. */
static ql_status put_dash(rewriter *r, bool *single)
{
    const char *next = r->p + 1;
    const bool set = next < r->end && *next == '\\' && next + 1 < r->end &&
                     strchr("pPsSwWdDhH", next[1]);
    const bool range =
        *single && next < r->end && *next != ']' && *next != '[' && !set;

    r->p++;
    *single = !range;
    return put(r, range ? "-" : "\\-");
}

/* The items of a class up to its "]". Classes within are parts of it. */
static ql_status put_class(rewriter *r, int depth)
{
    bool single = false;
    bool empty = true;

    if (depth == MAX_DEPTH) {
        return refuse(r, "classes nested so deep");
    }
    while (r->p < r->end && (*r->p != ']' || empty)) {
        if (*r->p == '-' && !empty) {
            QL_TRY(put_dash(r, &single));
            if (!single) {
                /* what follows ends the range and begins none */
                QL_TRY(put_item(r, depth, &single));
                single = false;
            }
        } else {
            QL_TRY(put_item(r, depth, &single));
        }
        empty = false;
    }
    return take(r, "]") ? QL_OK : refuse(r, "a \"[\" without end");
}

static ql_status put_group_class(rewriter *r)
{
    QL_TRY(put(r, take(r, "^") ? "[^" : "["));
    QL_TRY(put_class(r, 0));
    return put(r, "]");
}

/* Options between "(?" and ":" or ")": i, m for dots that match line feeds,
 * and - before those that are turned off. */
static ql_status put_options(rewriter *r)
{
    const char *begin = r->p;
    bool on = true;
    bool caseless = r->caseless[r->depth];
    char c;

    QL_TRY(put(r, "(?"));
    while (r->p < r->end && strchr("im-", *r->p)) {
        on = *r->p == '-' ? false : on;
        caseless = *r->p == 'i' ? on : caseless;
        QL_TRY(ql_buf_putc(r->out, *r->p == 'm' ? 's' : *r->p));
        r->p++;
    }
    c = r->p < r->end ? *r->p++ : '\0';
    if (r->p == begin + 1 || (c != ':' && c != ')') ||
        r->depth + 1 == MAX_DEPTH) {
        return refuse(r, "this kind of group");
    }
    if (c == ':') {
        r->depth++;
        r->opened[r->depth] = 0;
    } else {
        r->opened[r->depth]++;
    }
    r->caseless[r->depth] = caseless;
    return put(r, ":");
}

/* What follows an opening parenthesis. */
static ql_status put_group(rewriter *r)
{
    static const char *const kinds[] = {"?:", "?=", "?!", "?>", "?<=", "?<!"};

    if (take(r, "?#")) {
        while (r->p < r->end && *r->p != ')') {
            r->p += *r->p == '\\' && r->p + 1 < r->end ? 2 : 1;
        }
        return take(r, ")") ? QL_OK : refuse(r, "a comment without end");
    }
    if (r->depth + 1 == MAX_DEPTH) {
        return refuse(r, "groups nested so deep");
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (take(r, kinds[i])) {
            r->depth++;
            r->opened[r->depth] = 0;
            r->caseless[r->depth] = r->caseless[r->depth - 1];
            QL_TRY(put(r, "("));
            return put(r, kinds[i]);
        }
    }
    if (take(r, "?")) {
        return put_options(r);
    }
    if (r->p < r->end && *r->p == '*') {
        return refuse(r, "\"(*\"");
    }
    r->depth++;
    r->opened[r->depth] = 0;
    r->caseless[r->depth] = r->caseless[r->depth - 1];
    return put(r, "(?:");
}

static ql_status end_group(rewriter *r)
{
    if (r->depth == 0) {
        return refuse(r, "a \")\" too many");
    }
    for (; r->opened[r->depth] > 0; r->opened[r->depth]--) {
        QL_TRY(put(r, ")"));
    }
    r->depth--;
    return put(r, ")");
}

static const char *digits_end(const rewriter *r, const char *p)
{
    while (p < r->end && is_digit(*p)) {
        p++;
    }
    return p;
}

/* {n}, {n,}, {,n} or {n,m}; any other brace stands for itself. */
static ql_status put_interval(rewriter *r)
{
    const char *low = r->p;
    const char *low_end = digits_end(r, low);
    const bool comma = low_end < r->end && *low_end == ',';
    const char *high = comma ? low_end + 1 : low_end;
    const char *high_end = digits_end(r, high);

    if (high_end == r->end || *high_end != '}' || high_end - low < 1 + comma) {
        return put_literal(r, '{');
    }
    r->p = high_end + 1;
    if (r->p < r->end && (*r->p == '+' || (*r->p == '?' && !comma))) {
        return refuse(r, "a sign after {n}");
    }
    QL_TRY(put(r, low == low_end ? "{0" : "{"));
    QL_TRY(ql_buf_append(r->out, low, (size_t)(r->p - low)));
    return QL_OK;
}

static ql_status put_next(rewriter *r)
{
    const char c = *r->p++;

    if (!is_letter(c)) {
        r->literal = '\0';
    }
    switch (c) {
    case '\\':
        return put_escape(r, false);
    case '[':
        return put_group_class(r);
    case '(':
        return put_group(r);
    case ')':
        return end_group(r);
    case '{':
        return put_interval(r);
    case '^':
    case '$':
    case '.':
    case '|':
    case '?':
    case '*':
    case '+':
        return ql_buf_putc(r->out, c);
    default:
        QL_TRY(check_pair(r, c));
        return put_literal(r, c);
    }
}

ql_status ql_onig_rewrite(const char *pattern, size_t n, const ql_part *part,
                          ql_buf *out)
{
    rewriter r = {.p = pattern, .end = pattern + n, .part = part, .out = out};

    while (r.p < r.end) {
        QL_TRY(put_next(&r));
    }
    if (r.depth > 0) {
        return refuse(&r, "a \"(\" without end");
    }
    for (; r.opened[0] > 0; r.opened[0]--) {
        QL_TRY(put(&r, ")"));
    }
    return QL_OK;
}
