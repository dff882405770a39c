/* Where two parts meet, each has seen some of the other's text, and both must
 * have made the same tokens of what lies around the joint: then those of the
 * whole text are the same, too, for what is farther away has no bearing on
 * them. Where they have not, the two are tokenized as one, with as many of the
 * parts that follow as the first one was made of already, so that a text that
 * never agrees is tokenized twice at most. Past LARGEST the joint stays as it
 * is: a text of that length in which no place stands by itself is none that
 * anybody wrote. */
#include "src/data/plain.h"

#include <string.h>

#include "src/base/blank.h"
#include "src/base/fail.h"
#include "src/text/utf8.h"

enum {
    BATCH_BYTES = 1 << 23,
    PART_BYTES = 1 << 18, /* a part ends with the next line, */
    LONG_LINE = 1 << 16,  /* or so far on where there is none */
    CONTEXT = 1 << 10,    /* that a part sees on each side */
    AROUND = CONTEXT / 2, /* a joint, where both sides must agree */
    LARGEST = 1 << 21
};

/* Bytes [from, to) of the text. */
typedef struct part {
    size_t from, to;
    size_t left, right; /* bytes that it sees beside it */
    size_t before;      /* where those on the left begin */
    size_t count;       /* parts it is made of */
    ql_encoding tokens;
    ql_status st;
    char *error;
} part;

/* What is at hand. */
typedef struct batch {
    const ql_plain *p;
    const char *path;
    part *parts;
    size_t n;
} batch;

void ql_plain_init(ql_plain *p, ql_dataset *ds, const ql_tokenizer *tok,
                   size_t length)
{
    *p = (ql_plain){.line = 1};
    ql_pieces_init(&p->pieces, ds, tok, length);
    ql_buf_init(&p->text, QL_TAG_DATA, SIZE_MAX / 4);
}

void ql_plain_free(ql_plain *p)
{
    ql_pieces_free(&p->pieces);
    ql_buf_free(&p->text);
}

static bool is_inside(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Where a part may end, at byte at or a bit farther on. */
static size_t joint(const char *s, size_t at, size_t len)
{
    const size_t end = len - at < LONG_LINE ? len : at + LONG_LINE;

    for (size_t i = at; i < end; i++) {
        if (s[i - 1] == '\n' && !ql_is_blank(s[i - 2]) && !ql_is_blank(s[i])) {
            return i;
        }
    }
    while (at < len && is_inside(s[at])) {
        at++;
    }
    return at;
}

/* Cuts what is not done into parts. more: the text goes on, so that the last
 * of them must leave a context behind it. */
static ql_status cut(batch *b, bool more)
{
    const ql_buf *text = &b->p->text;
    const size_t len = text->len - (more ? CONTEXT + 4 : 0);
    size_t from = b->p->done;

    b->parts = ql_calloc(QL_TAG_DATA, (text->len - from) / PART_BYTES + 1,
                         sizeof(*b->parts));
    if (!b->parts) {
        return QL_ENOMEM;
    }
    while (from < len && (!more || len - from > PART_BYTES)) {
        part *one = &b->parts[b->n++];
        const bool last = len - from <= PART_BYTES;
        const size_t to =
            last ? len : joint(text->data, from + PART_BYTES, len);

        *one = (part){.from = from,
                      .to = to,
                      .left = from < CONTEXT ? from : CONTEXT,
                      .right = CONTEXT,
                      .count = 1};
        ql_encoding_init(&one->tokens, QL_TAG_DATA, true);
        from = to;
    }
    if (b->p->severed && b->n > 0) {
        b->parts[0].left = 0;
    }
    return QL_OK;
}

static void free_parts(batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        ql_encoding_free(&b->parts[i].tokens);
        ql_free(b->parts[i].error);
    }
    ql_free(b->parts);
}

/* Byte at of the text is none that a text has. */
static ql_status refuse(const batch *b, size_t at, const char *why)
{
    size_t line = b->p->line;

    for (size_t i = b->p->done; i < at; i++) {
        line += b->p->text.data[i] == '\n';
    }
    QL_FAIL(QL_EFORMAT, "%s:%zu: the text %s", b->path, line, why);
}

/* The part with the text around it. */
static ql_status tokenize(const batch *b, part *one)
{
    const ql_buf *text = &b->p->text;
    const size_t rest = text->len - one->to;
    size_t from = one->from - one->left;
    size_t to = one->to + (rest < one->right ? rest : one->right);
    const char *nul;
    size_t valid;

    while (from < one->from && is_inside(text->data[from])) {
        from++;
    }
    while (to < text->len && to > one->to && is_inside(text->data[to])) {
        to--;
    }
    one->before = from;
    valid = ql_utf8_check(text->data + from, to - from);
    if (valid < to - from) {
        return refuse(b, from + valid, "is not UTF-8");
    }
    nul = memchr(text->data + from, '\0', to - from);
    if (nul) {
        return refuse(b, (size_t)(nul - text->data), "has a NUL character");
    }
    ql_encoding_cut(&one->tokens, 0);
    return ql_tokenizer_append(b->p->pieces.tok, text->data + from, to - from,
                               from == 0 && b->p->done == 0, &one->tokens);
}

static void tokenize_parts(batch *b)
{
#pragma omp parallel for schedule(dynamic) if (b->n > 1)
    for (size_t i = 0; i < b->n; i++) {
        part *one = &b->parts[i];

        one->st = tokenize(b, one);
        if (one->st != QL_OK) {
            one->error = ql_strdup(QL_TAG_DATA, ql_last_error());
        }
    }
}

/* The failure of a part, told where the caller hears it. */
static ql_status state_of(const part *one)
{
    if (one->st == QL_OK) {
        return QL_OK;
    }
    return one->error ? ql_fail(one->st, "%s", one->error) : QL_ENOMEM;
}

/* A token, and where it begins; id -1: there is none. */
typedef struct token {
    int32_t id;
    size_t at;
} token;

/* Token i of a part, if it begins before byte end of the text. */
static token token_at(const part *one, size_t i, size_t end)
{
    token t = {.id = -1};

    if (i < ql_encoding_size(&one->tokens)) {
        t.at = one->before + ql_encoding_starts(&one->tokens)[i];
        t.id = t.at < end ? ql_encoding_ids(&one->tokens)[i] : -1;
    }
    return t;
}

/* True when both made the same of the text around the place where a ends and
 * b begins. */
static bool agree(const part *a, const part *b)
{
    const size_t end = b->from + AROUND;
    const size_t begin = b->from - AROUND;
    size_t i = ql_encoding_first(&a->tokens, begin - a->before);
    size_t j = ql_encoding_first(&b->tokens, begin - b->before);

    for (;; i++, j++) {
        const token x = token_at(a, i, end);
        const token y = token_at(b, j, end);

        if (x.id < 0 || x.id != y.id || x.at != y.at) {
            return x.id < 0 && y.id < 0;
        }
    }
}

/* Puts part i and those behind it into the one that came to be before it, and
 * gives the part after them. */
static ql_status join(const batch *b, part *whole, size_t *i)
{
    const size_t n = b->n - *i < whole->count ? b->n - *i : whole->count;

    for (size_t k = 0; k < n; k++) {
        QL_TRY(state_of(&b->parts[*i + k]));
    }
    whole->count += n;
    *i += n;
    whole->to = b->parts[*i - 1].to;
    return tokenize(b, whole);
}

/* Lets two parts see nothing of each other. */
static ql_status sever(const batch *b, part *one, part *next)
{
    one->right = 0;
    next->left = 0;
    QL_TRY(tokenize(b, one));
    return tokenize(b, next);
}

static ql_status push(ql_plain *p, const part *one)
{
    const char *text = p->text.data + one->before;

    QL_TRY(ql_pieces_push(&p->pieces, text, p->line, &one->tokens,
                          one->from - one->before, one->to - one->before));
    for (; p->done < one->to; p->done++) {
        p->line += p->text.data[p->done] == '\n';
    }
    p->severed = one->right == 0;
    return QL_OK;
}

/* Gives the tokens of parts away, in their order, as soon as they agree with
 * what follows; last: nothing follows the last part. */
static ql_status take(ql_plain *p, const batch *b, bool last)
{
    part *one = b->parts;
    size_t i = 1;

    while (b->n > 0 && i <= b->n) {
        QL_TRY(state_of(one));
        if (i == b->n) {
            return last ? push(p, one) : QL_OK;
        }
        QL_TRY(state_of(&b->parts[i]));
        if (agree(one, &b->parts[i])) {
            QL_TRY(push(p, one));
            one = &b->parts[i++];
        } else if (one->to - one->from < LARGEST) {
            QL_TRY(join(b, one, &i));
        } else {
            QL_TRY(sever(b, one, &b->parts[i]));
            QL_TRY(push(p, one));
            one = &b->parts[i++];
        }
    }
    return QL_OK;
}

/* Forgets what is done, but for the context of what follows. */
static void forget(ql_plain *p)
{
    const size_t keep = p->done < CONTEXT ? p->done : CONTEXT;
    const size_t drop = p->done - keep;
    ql_buf *text = &p->text;

    if (drop > 0) {
        memmove(text->data, text->data + drop, text->len - drop);
        text->len -= drop;
        p->done = keep;
    }
}

ql_status ql_plain_next(ql_plain *p, ql_reader *r, bool *more)
{
    batch b = {.p = p, .path = r->lines.path};
    ql_status st;

    QL_TRY(ql_reader_fill(r, &p->text, p->done + BATCH_BYTES, more));
    QL_TRY_DONE(cut(&b, *more));
    tokenize_parts(&b);
    QL_TRY_DONE(take(p, &b, !*more));
    forget(p);
    st = *more ? QL_OK : ql_pieces_end(&p->pieces);
done:
    free_parts(&b);
    return st;
}
