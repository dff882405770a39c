#include "src/text/chat.h"

#include "src/text/jinja_eval.h"
#include "src/text/jinja_json.h"
#include "src/text/jinja_parse.h"

struct ql_chat_template {
    ql_jinja_mem mem;
    char *where;
    const ql_jnode *root;
};

/* A failure for want of memory is one of the template where that met its
 * ceiling. */
static ql_status judge(ql_status st, const ql_jinja_mem *mem)
{
    return st == QL_ENOMEM && mem->full
               ? ql_fail(QL_EFORMAT, "%s", ql_last_error())
               : st;
}

/* A failure without a place is one of memory or of a buffer's ceiling. */
static ql_status name_template(ql_status st, const ql_jinja_mem *mem,
                               const char *where)
{
    return st == QL_ENOMEM ? ql_fail_prefix(judge(st, mem), "%s: ", where) : st;
}

ql_status ql_chat_template_open(ql_chat_template **out, const char *text,
                                size_t len, const char *where)
{
    ql_chat_template *t = ql_calloc(QL_TAG_TEXT, 1, sizeof(*t));
    ql_jnode *root = NULL;
    ql_status st;

    *out = NULL;
    if (!t) {
        return QL_ENOMEM;
    }
    ql_jinja_mem_init(&t->mem, QL_JINJA_MEMORY);
    t->where = ql_strdup(QL_TAG_TEXT, where);
    st = t->where ? ql_jinja_parse(&t->mem, text, len, t->where, &root)
                  : QL_ENOMEM;
    t->root = root;
    if (st != QL_OK) {
        st = name_template(st, &t->mem, where);
        ql_chat_template_close(&t);
        return st;
    }
    *out = t;
    return QL_OK;
}

void ql_chat_template_close(ql_chat_template **t)
{
    if (*t) {
        ql_jinja_mem_free(&(*t)->mem);
        ql_free((*t)->where);
        ql_free(*t);
        *t = NULL;
    }
}

static ql_status set_json(ql_jinja *j, const char *name, const json_t *json)
{
    ql_jval v;

    QL_TRY(ql_jinja_from_json(j, json, &v));
    return ql_jinja_set(j, ql_jval_text(name), v);
}

/* A variable for each key of an object. */
static ql_status set_all(ql_jinja *j, const json_t *object)
{
    json_t *o = (json_t *)(uintptr_t)object; /* iterators take no const */

    for (void *it = json_object_iter(o); it;
         it = json_object_iter_next(o, it)) {
        QL_TRY(
            set_json(j, json_object_iter_key(it), json_object_iter_value(it)));
    }
    return QL_OK;
}

static ql_status set_input(ql_jinja *j, const ql_chat_input *in)
{
    QL_TRY(set_all(j, in->tokens));
    QL_TRY(set_json(j, "messages", in->messages));
    QL_TRY(set_json(j, "tools", in->tools));
    QL_TRY(set_json(j, "documents", in->documents));
    QL_TRY(ql_jinja_set(j, ql_jval_text("add_generation_prompt"),
                        ql_jval_bool(in->add_generation_prompt)));
    return set_all(j, in->extra);
}

static ql_status run(ql_jinja *j, const ql_chat_template *t,
                     const ql_chat_input *in)
{
    QL_TRY(ql_jinja_scope(j, NULL, &j->scope));
    QL_TRY(set_input(j, in));
    return ql_jinja_exec(j, t->root);
}

ql_status ql_chat_render(const ql_chat_template *t, const ql_chat_input *in,
                         ql_buf *text, ql_buf *spans)
{
    ql_jinja j = {.where = t->where,
                  .line = 1,
                  .steps = QL_JINJA_STEPS,
                  .want_spans = spans != NULL,
                  .now = in->now};
    ql_status st;

    ql_jinja_mem_init(&j.mem, QL_JINJA_MEMORY);
    ql_buf_init(&j.out, QL_TAG_TEXT, QL_JINJA_OUTPUT);
    ql_buf_init(&j.spans, QL_TAG_TEXT, QL_JINJA_OUTPUT);
    ql_buf_init(&j.scratch, QL_TAG_TEXT, QL_JINJA_OUTPUT);
    st = judge(run(&j, t, in), &j.mem);
    if (st != QL_OK && !j.raised) {
        st = ql_fail_prefix(st, "%s:%zu: ", j.where, j.line);
    }
    if (st == QL_OK) {
        st = ql_buf_append(text, j.out.data, j.out.len);
    }
    if (st == QL_OK && spans) {
        st = ql_buf_append(spans, j.spans.data, j.spans.len);
    }
    if (st != QL_OK) {
        ql_buf_clear(text);
    }
    ql_buf_free(&j.out);
    ql_buf_free(&j.spans);
    ql_buf_free(&j.scratch);
    ql_jinja_mem_free(&j.mem);
    return st;
}
