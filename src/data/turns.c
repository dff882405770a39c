/* A turn is looked for where it is the last one: there it begins where the
 * text before it, with the template's prompt for an answer, ends. */
#include "src/data/turns.h"

#include <string.h>

#include "src/base/blank.h"
#include "src/base/fail.h"
#include "src/data/marked.h"
#include "src/text/ending.h"
#include "src/text/styles.h"

enum {
    WORK_BYTES = 1 << 28 /* that may be written for one conversation */
};

/* A turn that is trained: bytes [span) of the first messages of a sample. */
typedef struct turn {
    ql_chat_span span;
    size_t messages;
} turn;

typedef struct search {
    const ql_style *style;
    const ql_tokenizer *tok;
    const ql_talk *talk;
    size_t n;       /* messages */
    size_t written; /* bytes so far */
    size_t changed; /* turns that the template changes */
    ql_buf whole;   /* all messages */
    ql_buf text;    /* those up to the turn */
    ql_buf before;  /* those before it, with a prompt for an answer */
    ql_buf other;   /* scratch; the last sample that was split off */
    ql_buf turns;   /* turn each, from the last to the first */
} search;

static void search_init(search *q)
{
    ql_buf *const all[] = {&q->whole, &q->text, &q->before, &q->other,
                           &q->turns};

    for (size_t i = 0; i < 5; i++) {
        ql_buf_init(all[i], QL_TAG_DATA, SIZE_MAX / 4);
    }
}

static void search_free(search *q)
{
    ql_buf_free(&q->whole);
    ql_buf_free(&q->text);
    ql_buf_free(&q->before);
    ql_buf_free(&q->other);
    ql_buf_free(&q->turns);
}

static ql_status write_messages(search *q, const ql_talk *t, size_t n,
                                bool prompt, ql_buf *text)
{
    ql_buf_clear(text);
    QL_TRY(prompt ? ql_style_write(q->style, t, n, true, text, NULL)
                  : ql_style_turns(q->style, t, n, text));
    q->written += text->len;
    if (q->written > WORK_BYTES) {
        QL_FAIL(QL_EFORMAT,
                "a conversation of %zu messages is too long to find its turns",
                q->n);
    }
    return QL_OK;
}

/* The conversation up to message i, which says the word. Owned: *t. */
static ql_status make_word(const search *q, size_t i, ql_talk *t)
{
    json_t *m = json_copy(json_array_get(q->talk->messages, i));
    ql_status st = ql_field_held(m);

    *t = (ql_talk){.tools = q->talk->tools,
                   .documents = q->talk->documents,
                   .extra = q->talk->extra,
                   .messages = json_array()};
    for (size_t k = 0; k < i && st == QL_OK; k++) {
        st = ql_field_held(
            json_array_append(t->messages,
                              json_array_get(q->talk->messages, k)) == 0);
    }
    if (st == QL_OK) {
        st = ql_field_held(json_object_set_new(
                               m, "content", json_string(ql_style_word)) == 0 &&
                           json_array_append(t->messages, m) == 0);
    }
    json_decref(m);
    return st;
}

/* Where the prompt for an answer, which is in q->before, and a turn that says
 * the word, which is in q->other, part; at where there is no such prompt. */
static ql_status find_parting(search *q, size_t i, size_t *at)
{
    const size_t prompt = q->before.len;
    const size_t same = ql_ending_common(q->other.data, q->other.len,
                                         q->before.data, q->before.len);

    QL_TRY(write_messages(q, q->talk, i, false, &q->before));
    if (q->before.len != prompt && same >= q->before.len) {
        *at = same;
    }
    return QL_OK;
}

/* The same where the text before the turn does not go over into that with the
 * turn. The turn is then written with a word in place of its content: it
 * begins where prompt and turn part, or else with its content. before: the
 * text before the turn is known. */
static ql_status find_start_by_word(search *q, size_t i, bool before,
                                    size_t *start)
{
    ql_talk t;
    size_t at;
    size_t same;
    ql_status st;

    QL_TRY_DONE(make_word(q, i, &t));
    QL_TRY_DONE(write_messages(q, &t, i + 1, false, &q->other));
    at = ql_ending_word(q->other.data, q->other.len, ql_style_word,
                        strlen(ql_style_word));
    if (at == SIZE_MAX && before &&
        ql_buf_begins(&q->text, q->before.data, q->before.len)) {
        *start = q->before.len;
        goto done;
    }
    if (at == SIZE_MAX) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "message %zu: the chat template does not show it", i + 1);
        goto done;
    }
    if (before) {
        QL_TRY_DONE(find_parting(q, i, &at));
    }
    same = ql_ending_common(q->other.data, q->other.len, q->text.data,
                            q->text.len);
    *start = at < same ? at : same;
done:
    json_decref(t.messages);
    return st;
}

/* The turn of message i, within q->text, which it ends. */
static ql_status find_turn(search *q, size_t i, ql_chat_span *span)
{
    const ql_style *s = q->style;
    const ql_status st = write_messages(q, q->talk, i, s->prompts, &q->before);
    size_t end = q->text.len;

    if (st == QL_ENOMEM) {
        return st;
    }
    if (st != QL_OK || !s->known ||
        !ql_style_start(s, &q->before, &q->text, &span->from)) {
        QL_TRY(find_start_by_word(q, i, st == QL_OK, &span->from));
    }
    if (ql_buf_ends(&q->text, end, s->trailer)) {
        end -= strlen(s->trailer);
    }
    end = end > span->from ? end : span->from;
    span->to = ql_ending_trim(q->tok, q->text.data, span->from, end);
    return QL_OK;
}

/* The template may not show calls of tools, or not all of them. */
static ql_status check_calls(const search *q, size_t i, ql_chat_span span)
{
    const json_t *calls =
        json_object_get(json_array_get(q->talk->messages, i), "tool_calls");

    for (size_t k = 0; k < json_array_size(calls); k++) {
        const char *name = json_string_value(json_object_get(
            json_object_get(json_array_get(calls, k), "function"), "name"));

        if (ql_ending_word(q->text.data + span.from, span.to - span.from, name,
                           strlen(name)) == SIZE_MAX) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "message %zu: the chat template does not show the call of "
                    "\"%s\"",
                    i + 1, name);
        }
    }
    return QL_OK;
}

/* True if the content of a message, but for white space around it, does not
 * stand in its turn, which may begin with the thought that is opened before
 * it. */
static bool is_changed(const search *q, size_t i, ql_chat_span span)
{
    const size_t opens = strlen(q->style->opens);
    const size_t from = span.from - (opens < span.from ? opens : span.from);
    const json_t *content =
        json_object_get(json_array_get(q->talk->messages, i), "content");
    const char *s = content ? json_string_value(content) : NULL;
    size_t n = json_string_length(content);

    if (!s) {
        return false;
    }
    while (n > 0 && ql_is_blank(s[n - 1])) {
        n--;
    }
    while (n > 0 && ql_is_blank(*s)) {
        s++;
        n--;
    }
    return ql_ending_word(q->text.data + from, span.to - from, s, n) ==
           SIZE_MAX;
}

/* The end token of the tokenizer behind the last turn belongs to it, if
 * nothing else is there. */
static size_t pass_eos(const search *q, size_t end)
{
    const char *eos = ql_tokenizer_token(q->tok, ql_tokenizer_eos(q->tok));
    const char *p = q->text.data + end;

    p += strspn(p, " \t\r\n");
    if (!eos || strncmp(p, eos, strlen(eos)) != 0) {
        return end;
    }
    p += strlen(eos);
    return p[strspn(p, " \t\r\n")] ? end : (size_t)(p - q->text.data);
}

/* Adds the turn of message i to the sample that can have it: that of all
 * messages, the one that was split off last, or else one of its own. split is
 * the number of messages of the one split off last, 0 at first. */
static ql_status add_turn(search *q, size_t i, size_t *split)
{
    turn t = {.messages = q->n};

    if (i + 1 == q->n) {
        ql_buf_clear(&q->text);
        QL_TRY(ql_buf_append(&q->text, q->whole.data, q->whole.len));
    } else {
        QL_TRY(write_messages(q, q->talk, i + 1, false, &q->text));
    }
    QL_TRY(find_turn(q, i, &t.span));
    QL_TRY(check_calls(q, i, t.span));
    q->changed += is_changed(q, i, t.span);
    if (!ql_buf_begins(&q->whole, q->text.data, t.span.to)) {
        if (*split > 0) {
            QL_TRY(write_messages(q, q->talk, *split, false, &q->other));
        }
        if (*split == 0 || !ql_buf_begins(&q->other, q->text.data, t.span.to)) {
            *split = i + 1;
        }
        t.messages = *split;
    }
    if (t.messages == i + 1) {
        t.span.to = pass_eos(q, t.span.to);
    }
    return t.span.to > t.span.from ? ql_buf_append(&q->turns, &t, sizeof(t))
                                   : QL_OK;
}

/* The trained parts of a text of n messages. */
static ql_status collect(const search *q, size_t n, ql_buf *spans)
{
    const turn *turns = (const void *)q->turns.data;

    ql_buf_clear(spans);
    for (size_t k = q->turns.len / sizeof(*turns); k-- > 0;) {
        if (turns[k].messages == n) {
            QL_TRY(ql_buf_append(spans, &turns[k].span, sizeof(turns[k].span)));
        }
    }
    return QL_OK;
}

static ql_status push_sample(ql_sample_draft *out, const ql_tokenizer *tok,
                             const ql_buf *text, const ql_buf *spans)
{
    const ql_marked m = {.text = text->data ? text->data : "",
                         .len = text->len,
                         .spans = (const void *)spans->data,
                         .n = spans->len / sizeof(ql_chat_span)};

    QL_TRY(ql_marked_push(out, tok, m, false));
    return ql_sample_draft_end(out);
}

/* One sample for each number of messages that a turn goes by, the shortest
 * first. */
static ql_status push_samples(search *q, ql_sample_draft *out)
{
    const turn *turns = (const void *)q->turns.data;
    ql_buf spans;
    ql_status st = QL_OK;
    size_t done = 0;

    ql_buf_init(&spans, QL_TAG_DATA, SIZE_MAX / 4);
    for (;;) {
        size_t n = SIZE_MAX;

        for (size_t k = 0; k < q->turns.len / sizeof(*turns); k++) {
            if (turns[k].messages > done && turns[k].messages < n) {
                n = turns[k].messages;
            }
        }
        if (n == SIZE_MAX) {
            break;
        }
        QL_TRY_DONE(collect(q, n, &spans));
        if (n < q->n) {
            QL_TRY_DONE(write_messages(q, q->talk, n, false, &q->text));
        }
        QL_TRY_DONE(
            push_sample(out, q->tok, n < q->n ? &q->text : &q->whole, &spans));
        done = n;
    }
done:
    ql_buf_free(&spans);
    return st;
}

/* True for a turn that is trained. */
static bool is_wanted(const ql_talk *t, size_t i, ql_train_on train_on,
                      bool last)
{
    return t->trained.data[i] && (train_on != QL_TRAIN_ON_LAST_TURN || last);
}

static ql_status push_turns(search *q, ql_sample_draft *out,
                            ql_train_on train_on)
{
    bool last = true;
    size_t split = 0;

    for (size_t i = q->n; i-- > 0;) {
        if (is_wanted(q->talk, i, train_on, last)) {
            QL_TRY(add_turn(q, i, &split));
            last = false;
        }
    }
    return push_samples(q, out);
}

/* Everything is trained. */
static ql_status push_all(search *q, ql_sample_draft *out)
{
    ql_chat_span span = {0, 0};
    ql_buf spans = {.data = (char *)&span, .len = sizeof(span)};

    span.to = q->whole.len;
    return push_sample(out, q->tok, &q->whole, &spans);
}

/* Spans inside {% generation %} of the first n messages. */
static ql_status count_spans(search *q, size_t n, size_t *count)
{
    ql_buf spans;
    ql_status st;

    ql_buf_init(&spans, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_clear(&q->text);
    st = ql_style_write(q->style, q->talk, n, false, &q->text, &spans);
    *count = spans.len / sizeof(ql_chat_span);
    ql_buf_free(&spans);
    return st;
}

/* Of the spans of a text, leaves those of turns that are trained. */
static ql_status choose_spans(search *q, ql_train_on train_on, ql_buf *spans)
{
    ql_chat_span *all = (void *)spans->data;
    size_t kept = spans->len / sizeof(*all);
    size_t to = kept;
    bool last = true;

    for (size_t i = q->n; i-- > 0;) {
        size_t from = 0;

        if (strcmp(ql_talk_role(q->talk, i), "assistant") != 0) {
            continue;
        }
        QL_TRY(count_spans(q, i, &from));
        from = from < to ? from : to;
        if (is_wanted(q->talk, i, train_on, last)) {
            last = false;
        } else {
            memmove(all + from, all + to, (kept - to) * sizeof(*all));
            kept -= to - from;
        }
        to = from;
    }
    spans->len = kept * sizeof(*all);
    return QL_OK;
}

/* Lets each span reach over the special token behind it. */
static void close_spans(const search *q, ql_buf *spans)
{
    ql_chat_span *all = (void *)spans->data;

    for (size_t k = 0; k < spans->len / sizeof(*all); k++) {
        all[k].to =
            ql_ending_pass(q->tok, q->whole.data, all[k].to, q->whole.len);
    }
}

/* True if all turns of the assistant are. */
static bool wants_all(const search *q, ql_train_on train_on)
{
    for (size_t i = 0; i < q->n; i++) {
        if (strcmp(ql_talk_role(q->talk, i), "assistant") == 0 &&
            !is_wanted(q->talk, i, train_on, false)) {
            return false;
        }
    }
    return true;
}

static ql_status push_marked(search *q, ql_sample_draft *out,
                             ql_train_on train_on)
{
    ql_buf spans;
    ql_status st;

    ql_buf_init(&spans, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_clear(&q->whole);
    QL_TRY_DONE(
        ql_style_write(q->style, q->talk, q->n, false, &q->whole, &spans));
    if (!wants_all(q, train_on)) {
        QL_TRY_DONE(choose_spans(q, train_on, &spans));
    }
    close_spans(q, &spans);
    st = push_sample(out, q->tok, &q->whole, &spans);
done:
    ql_buf_free(&spans);
    return st;
}

static bool wants_any(const search *q, ql_train_on train_on)
{
    for (size_t i = 0; i < q->n; i++) {
        if (train_on == QL_TRAIN_ON_ALL || q->talk->trained.data[i]) {
            return true;
        }
    }
    return false;
}

ql_status ql_turns_push(ql_sample_draft *out, const ql_style *s,
                        const ql_tokenizer *tok, const ql_talk *t,
                        ql_train_on train_on)
{
    search q = {
        .style = s, .tok = tok, .talk = t, .n = json_array_size(t->messages)};
    ql_status st;

    if (!wants_any(&q, train_on)) {
        return ql_sample_draft_end(out);
    }
    search_init(&q);
    st = write_messages(&q, t, q.n, false, &q.whole);
    if (st != QL_OK) {
        search_free(&q);
        return st;
    }
    if (train_on == QL_TRAIN_ON_ALL) {
        st = push_all(&q, out);
    } else if (s->marks) {
        st = push_marked(&q, out, train_on);
    } else {
        st = push_turns(&q, out, train_on);
    }
    out->changed = q.changed;
    search_free(&q);
    return st;
}
