#include "src/convert/go_template.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/thought.h"

enum {
    MAX_TEXT = 1 << 24,
    MAX_QUESTIONS = 3 /* of the conversations that are compared */
};

/* A conversation: with a system message or not, with a tool or not; so many
 * questions, and an answer to each but the last. */
typedef struct talk {
    bool system, tools;
    size_t questions;
} talk;

/* What stands around the messages. */
typedef enum piece {
    PIECE_SYSTEM, /* before a system message */
    PIECE_FIRST,  /* between that and the first question */
    PIECE_ALONE,  /* before the first question where there is none */
    PIECE_ANSWER, /* between a question and its answer */
    PIECE_PROMPT, /* behind the last question, where the answer is to come */
    PIECE_LATER,  /* between an answer and the next question */
    PIECES
} piece;

typedef struct job {
    ql_chat_template *t;
    const json_t *tokens;
    const char *bos;
    bool folds;           /* a system message stands in the first question */
    char *pieces[PIECES]; /* Owned */
    ql_buf text;          /* of a conversation */
    ql_buf out;
} job;

/* Messages that no template has in a text of its own. */
static const char *message_of(char name[32], char kind, size_t turn)
{
    snprintf(name, 32, "qz%cx%zuzq", kind, turn);
    return name;
}

/* What stands between a system message and the question it is in: as
 * text/style.c has it in training. */
static const char fold[] = "\n\n";

static int add_message(json_t *list, const char *role, const char *content)
{
    return json_array_append_new(
        list, json_pack("{ss ss}", "role", role, "content", content));
}

static json_t *messages_of(const job *j, talk what)
{
    json_t *list = json_array();
    char system[32];
    char text[32];
    char both[sizeof(system) + sizeof(fold) + sizeof(text)];
    int bad = 0;

    message_of(system, 's', 0);
    if (what.system && !j->folds) {
        bad |= add_message(list, "system", system);
    }
    for (size_t i = 0; i < what.questions; i++) {
        const bool folds = what.system && j->folds && i == 0;

        snprintf(both, sizeof(both), "%s%s%s", folds ? system : "",
                 folds ? fold : "", message_of(text, 'u', i));
        bad |= add_message(list, "user", both);
        if (i + 1 < what.questions) {
            bad |= add_message(list, "assistant", message_of(text, 'a', i));
        }
    }
    if (bad) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static const char tool_name[] = "qztxzq";

/* A list of one tool, or NULL for none and without memory. */
static json_t *tools_of(talk what)
{
    return what.tools ? json_pack("[{ss s{ss ss s{ss s{} s[]}}}]", "type",
                                  "function", "function", "name", tool_name,
                                  "description", tool_name, "parameters",
                                  "type", "object", "properties", "required")
                      : NULL;
}

/* The text of a conversation without BOS, in j->text, up to where the answer
 * begins. Errors: those of ql_chat_render. */
static ql_status render(job *j, talk what)
{
    json_t *list = messages_of(j, what);
    json_t *tools = tools_of(what);
    const ql_chat_input in = {.messages = list,
                              .tools = tools,
                              .tokens = j->tokens,
                              .add_generation_prompt = true};
    const size_t n = j->bos ? strlen(j->bos) : 0;
    ql_status st;

    ql_buf_clear(&j->text);
    st = list && (tools || !what.tools)
             ? ql_chat_render(j->t, &in, &j->text, NULL)
             : ql_fail(QL_ENOMEM, "out of memory");
    json_decref(list);
    json_decref(tools);
    if (st == QL_OK && n > 0 && j->text.len >= n &&
        strncmp(j->text.data, j->bos, n) == 0) {
        j->text.len -= n;
        memmove(j->text.data, j->text.data + n, j->text.len + 1);
    }
    return st == QL_OK ? ql_buf_puts(&j->text, "") : st;
}

/* Keeps what is before a message in *rest and moves on behind it. Does nothing
 * where the message is not there: the piece stays NULL. */
static ql_status cut(const char **rest, char kind, size_t turn, char **out)
{
    char name[32];
    const char *at = strstr(*rest, message_of(name, kind, turn));

    if (!at) {
        return QL_OK;
    }
    ql_free(*out);
    *out = ql_strndup(QL_TAG_TEXT, *rest, (size_t)(at - *rest));
    *rest = at + strlen(name);
    return *out ? QL_OK : QL_ENOMEM;
}

/* A conversation that the template refuses is no failure; *ok tells. */
static ql_status try_render(job *j, talk what, bool *ok)
{
    const ql_status st = render(j, what);

    *ok = st == QL_OK;
    return st == QL_EFORMAT || st == QL_EUNSUPPORTED ? QL_OK : st;
}

static ql_status keep(char **out, const char *text)
{
    ql_free(*out);
    *out = ql_strdup(QL_TAG_TEXT, text);
    return *out ? QL_OK : QL_ENOMEM;
}

/* What is around a system message: where none is shown, that of the question
 * it then stands in. *ok is false where it stands behind that. */
static ql_status find_system(job *j, bool *ok)
{
    const char *rest;

    QL_TRY(try_render(j, (talk){.system = true, .questions = 1}, ok));
    rest = j->text.data;
    if (*ok) {
        QL_TRY(cut(&rest, 's', 0, &j->pieces[PIECE_SYSTEM]));
    }
    j->folds = !j->pieces[PIECE_SYSTEM];
    *ok = true;
    if (j->folds) {
        QL_TRY(keep(&j->pieces[PIECE_SYSTEM], j->pieces[PIECE_ALONE]));
        return keep(&j->pieces[PIECE_FIRST], fold);
    }
    QL_TRY(cut(&rest, 'u', 0, &j->pieces[PIECE_FIRST]));
    *ok = j->pieces[PIECE_FIRST] != NULL;
    return QL_OK;
}

static ql_status find_pieces(job *j, bool *ok)
{
    const char *rest;

    QL_TRY(try_render(j, (talk){.questions = 2}, ok));
    if (!*ok) {
        return QL_OK;
    }
    rest = j->text.data;
    QL_TRY(cut(&rest, 'u', 0, &j->pieces[PIECE_ALONE]));
    QL_TRY(cut(&rest, 'a', 0, &j->pieces[PIECE_ANSWER]));
    QL_TRY(cut(&rest, 'u', 1, &j->pieces[PIECE_LATER]));
    QL_TRY(keep(&j->pieces[PIECE_PROMPT], rest));
    *ok = j->pieces[PIECE_ALONE] && j->pieces[PIECE_ANSWER] &&
          j->pieces[PIECE_LATER];
    return *ok ? find_system(j, ok) : QL_OK;
}

/* True if the template shows which tools there are. */
static ql_status find_tools(job *j, bool *shown)
{
    bool ok;

    QL_TRY(try_render(j, (talk){.tools = true, .questions = 1}, &ok));
    *shown = ok && strstr(j->text.data, tool_name);
    return QL_OK;
}

/* A conversation made of the pieces. */
static ql_status compose(const job *j, talk what, ql_buf *out)
{
    char name[32];

    ql_buf_clear(out);
    if (what.system) {
        QL_TRY(ql_buf_puts(out, j->pieces[PIECE_SYSTEM]));
        QL_TRY(ql_buf_puts(out, message_of(name, 's', 0)));
    }
    for (size_t i = 0; i < what.questions; i++) {
        const piece before = i > 0         ? PIECE_LATER
                             : what.system ? PIECE_FIRST
                                           : PIECE_ALONE;

        QL_TRY(ql_buf_puts(out, j->pieces[before]));
        QL_TRY(ql_buf_puts(out, message_of(name, 'u', i)));
        if (i + 1 == what.questions) {
            return ql_buf_puts(out, j->pieces[PIECE_PROMPT]);
        }
        QL_TRY(ql_buf_puts(out, j->pieces[PIECE_ANSWER]));
        QL_TRY(ql_buf_puts(out, message_of(name, 'a', i)));
    }
    return QL_OK;
}

/* Conversations of all kinds come out of the pieces as the template has
 * them. */
static ql_status check_pieces(job *j, bool *ok)
{
    for (size_t i = 2; *ok && i < 2 * (MAX_QUESTIONS + 1); i++) {
        const talk what = {.system = i % 2, .questions = i / 2};

        QL_TRY(try_render(j, what, ok));
        if (*ok) {
            QL_TRY(compose(j, what, &j->out));
            *ok = strcmp(j->text.data, j->out.data) == 0;
        }
    }
    return QL_OK;
}

/* Text as it is, in a template. */
static ql_status put_text(ql_buf *out, const char *s)
{
    for (const char *at; (at = strstr(s, "{{")); s = at + 2) {
        QL_TRY(ql_buf_append(out, s, (size_t)(at - s)));
        QL_TRY(ql_buf_puts(out, "{{ \"{{\" }}"));
    }
    return ql_buf_puts(out, s);
}

/* What is behind the last of all messages only. */
#define IF_LAST "eq (len (slice $.Messages $i)) 1"

/* By an answer's thought Ollama knows the tags around thoughts, and tells them
 * from what is said: also where the prompt has the first of them. Answers
 * before the last have none. */
static ql_status write_answer(const job *j, ql_buf *out)
{
    const char *prompt = j->pieces[PIECE_PROMPT];
    const char *opens = prompt + ql_thought_opened(prompt, strlen(prompt));

    QL_TRY(ql_buf_puts(out, "{{ else if eq .Role \"assistant\" }}"));
    if (*opens) {
        QL_TRY(ql_buf_puts(out, "{{ if and .Thinking (" IF_LAST ") }}"));
        QL_TRY(ql_buf_puts(out, opens));
        QL_TRY(ql_buf_puts(out, "{{ .Thinking }}"));
        QL_TRY(ql_buf_puts(out, ql_thought_closed));
        QL_TRY(ql_buf_puts(out, "{{ end }}"));
    }
    return ql_buf_puts(out, "{{ .Content }}{{ end }}{{- end }}");
}

static ql_status write_template(const job *j, ql_buf *out)
{
    const char *answer = j->pieces[PIECE_ANSWER];
    const char *prompt = j->pieces[PIECE_PROMPT];

    ql_buf_clear(out);
    QL_TRY(ql_buf_puts(out, "{{- $first := true }}"
                            "{{- range $i, $_ := .Messages }}"
                            "{{- if eq .Role \"user\" }}{{- if $first }}"
                            "{{- $first = false }}"));
    QL_TRY(ql_buf_puts(out, "{{- if $.System }}"));
    QL_TRY(put_text(out, j->pieces[PIECE_SYSTEM]));
    QL_TRY(ql_buf_puts(out, "{{ $.System }}"));
    QL_TRY(put_text(out, j->pieces[PIECE_FIRST]));
    QL_TRY(ql_buf_puts(out, "{{ else }}"));
    QL_TRY(put_text(out, j->pieces[PIECE_ALONE]));
    QL_TRY(ql_buf_puts(out, "{{ end }}"));
    QL_TRY(ql_buf_puts(out, "{{ else }}"));
    QL_TRY(put_text(out, j->pieces[PIECE_LATER]));
    QL_TRY(ql_buf_puts(out, "{{ end }}{{ .Content }}"));
    if (strcmp(answer, prompt) != 0) {
        QL_TRY(ql_buf_puts(out, "{{ if " IF_LAST " }}"));
        QL_TRY(put_text(out, prompt));
        QL_TRY(ql_buf_puts(out, "{{ else }}"));
    }
    QL_TRY(put_text(out, answer));
    if (strcmp(answer, prompt) != 0) {
        QL_TRY(ql_buf_puts(out, "{{ end }}"));
    }
    return write_answer(j, out);
}

static ql_status make(job *j, ql_go_template *g)
{
    bool ok;

    QL_TRY(find_pieces(j, &ok));
    if (ok) {
        QL_TRY(check_pieces(j, &ok));
    }
    if (ok) {
        g->folds_system = j->folds;
        QL_TRY(find_tools(j, &g->shows_tools));
        QL_TRY(write_template(j, &j->out));
        ok = !strstr(j->out.data, "\"\"\""); /* which ends it in a Modelfile */
    }
    if (ok) {
        g->text = ql_strdup(QL_TAG_TEXT, j->out.data);
        return g->text ? QL_OK : QL_ENOMEM;
    }
    return QL_OK;
}

ql_status ql_go_template_init(ql_go_template *g, const ql_chat_source *source,
                              const json_t *tokens, const char *bos)
{
    job j = {.tokens = tokens, .bos = bos};
    ql_status st;

    *g = (ql_go_template){0};
    ql_buf_init(&j.text, QL_TAG_TEXT, MAX_TEXT);
    ql_buf_init(&j.out, QL_TAG_TEXT, MAX_TEXT);
    QL_TRY_DONE(
        ql_chat_template_open(&j.t, source->text, source->len, source->where));
    st = make(&j, g);
done:
    for (size_t i = 0; i < PIECES; i++) {
        ql_free(j.pieces[i]);
    }
    ql_chat_template_close(&j.t);
    ql_buf_free(&j.text);
    ql_buf_free(&j.out);
    if (st != QL_OK) {
        ql_go_template_free(g);
    }
    return st;
}

void ql_go_template_free(ql_go_template *g)
{
    ql_free(g->text);
    *g = (ql_go_template){0};
}
