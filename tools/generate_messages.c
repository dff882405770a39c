#include "tools/generate_messages.h"

#include "tools/cli/exit.h"
#include "tools/cli/results.h"
#include "tools/generate_show.h"

/* A conversation of the file. */
typedef struct question {
    size_t index; /* from 0 */
    size_t line;
    const char *json, *what;
} question;

/* True for what is wrong with a conversation, and not with those behind it. */
static bool is_its_own(ql_status st)
{
    return st == QL_EINVAL || st == QL_EFORMAT || st == QL_EUNSUPPORTED;
}

/* What a row for programs begins with: the place, and a text. */
static void begin_row(const question *q, const char *key, const char *text)
{
    printf("{\"index\": %zu, \"line\": %zu, \"%s\": ", q->index, q->line, key);
    cli_json_string(stdout, text);
}

static void show_failure(const question *q, ql_status st, bool json)
{
    cli_fail("qlora-generate", st, ql_last_error(), NULL);
    if (json) {
        begin_row(q, "error", ql_last_error());
        puts("}");
        fflush(stdout);
    }
}

/* An answer, which does not depend on those before it. */
static ql_status answer(ql_generator *g, const question *q, generate_show *show,
                        const cli_common *common)
{
    ql_generated r;
    ql_status st;

    ql_generator_forget(g);
    st =
        ql_generator_answer(g, q->json, q->what, generate_show_piece, show, &r);
    if (st == QL_OK && common->json) {
        begin_row(q, "text", r.text);
        generate_show_json(&r);
    } else if (st == QL_OK || (r.text && *r.text)) {
        putchar('\n');
        fflush(stdout);
    }
    if (st == QL_OK && !common->quiet) {
        generate_show_speed(&r);
    }
    ql_free(r.text);
    return st;
}

static ql_status answer_all(ql_generator *g, ql_conversations *c,
                            const cli_common *common, size_t *unanswered)
{
    generate_show show = {.plan = common->quiet ? NULL : g,
                          .silent = common->json};
    question q = {0};
    bool more = true;
    ql_status st = QL_OK;

    while (st == QL_OK && more) {
        st = ql_conversations_next(c, &q.json, &q.what, &q.line);
        more = st != QL_OK || q.json;
        if (st == QL_OK && more) {
            st = answer(g, &q, &show, common);
        }
        if (is_its_own(st)) {
            show_failure(&q, st, common->json);
            (*unanswered)++;
            st = QL_OK;
        }
        q.index += more;
    }
    if (st == QL_OK && *unanswered > 0 && q.index > 1) {
        fprintf(stderr,
                "qlora-generate: %zu of %zu conversations could not be "
                "answered\n",
                *unanswered, q.index);
    }
    return st;
}

ql_status generate_messages(ql_generator *g, const generate_options *o,
                            const cli_common *common, size_t *unanswered)
{
    ql_conversations *c = NULL;
    ql_status st = ql_conversations_open(&c, o->messages);

    if (st == QL_OK) {
        st = answer_all(g, c, common, unanswered);
    }
    ql_conversations_close(&c);
    return st;
}
