#include "src/train/report.h"

#include <string.h>
#include <time.h>

#include "qlora/runtime.h"
#include "qlora/version.h"
#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/chat.h"
#include "src/train/report_adapter.h"
#include "src/train/report_chart.h"
#include "src/train/report_facts.h"
#include "src/train/report_files.h"

enum {
    MAX_PAGE = 1 << 26
};

/* Appends text so that a page shows it as it is: nothing in it is markup, and
 * what cannot be in a page is a question mark. */
static ql_status put_escaped(ql_buf *b, const char *text)
{
    static const struct {
        char c;
        const char *as;
    } escapes[] = {{'&', "&amp;"},
                   {'<', "&lt;"},
                   {'>', "&gt;"},
                   {'"', "&quot;"},
                   {'\'', "&#39;"}};

    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        size_t i = 0;

        while (i < sizeof(escapes) / sizeof(escapes[0]) && escapes[i].c != *p) {
            i++;
        }
        if (i < sizeof(escapes) / sizeof(escapes[0])) {
            QL_TRY(ql_buf_puts(b, escapes[i].as));
        } else {
            QL_TRY(ql_buf_putc(
                b,
                (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : *p));
        }
    }
    return QL_OK;
}

/* Escapes all texts in a value. A new reference, NULL without memory. */
static json_t *escaped(const json_t *v)
{
    json_t *o = (json_t *)(uintptr_t)v; /* jansson's iterators take no const */
    json_t *out;
    ql_buf b;

    if (json_is_string(v)) {
        ql_buf_init(&b, QL_TAG_MISC, MAX_PAGE);
        out = put_escaped(&b, json_string_value(v)) == QL_OK
                  ? json_string(b.data ? b.data : "")
                  : NULL;
        ql_buf_free(&b);
        return out;
    }
    if (json_is_array(v)) {
        out = json_array();
        for (size_t i = 0; i < json_array_size(v); i++) {
            json_array_append_new(out, escaped(json_array_get(v, i)));
        }
        return out;
    }
    if (json_is_object(v)) {
        out = json_object();
        for (void *it = json_object_iter(o); it;
             it = json_object_iter_next(o, it)) {
            json_object_set_new(out, json_object_iter_key(it),
                                escaped(json_object_iter_value(it)));
        }
        return out;
    }
    return json_incref(o);
}

/* "LoRA of rank 16 on Llama-2-7b-hf, 12 Mar 2025, 14:03" */
static json_t *lead_of(const ql_report *r)
{
    json_t *run = ql_fact_run(r);
    const time_t now = (time_t)ql_wall_s();
    char date[64] = "";
    struct tm local;
    json_t *lead;

    if (localtime_r(&now, &local)) {
        strftime(date, sizeof(date), ", %d %b %Y, %H:%M", &local);
    }
    lead = json_sprintf("%s%s", run ? json_string_value(run) : "", date);
    json_decref(run);
    return lead;
}

/* All that the templates name, but for what is not to be escaped. */
static json_t *facts_of(const ql_report *r)
{
    json_t *o = json_object();
    const char *settings = r->opt->settings;

    json_object_set_new(o, "name", ql_fact_base_name(r->dir));
    json_object_set_new(o, "base_model", ql_fact_text(ql_model_dir(r->model)));
    json_object_set_new(o, "version", json_string(ql_version()));
    json_object_set_new(o, "running",
                        json_boolean(r->state == QL_REPORT_RUNNING));
    json_object_set_new(o, "lead", lead_of(r));
    json_object_set_new(o, "adapter", ql_fact_adapter(r));
    json_object_set_new(o, "status", ql_fact_status(r));
    json_object_set_new(o, "figures", ql_fact_figures(r));
    json_object_set_new(o, "samples", ql_fact_samples(r->samples));
    json_object_set_new(o, "memory", ql_fact_memory(r));
    json_object_set_new(o, "planned", json_boolean(r->plan != NULL));
    json_object_set_new(o, "budget", ql_fact_budget(r));
    json_object_set_new(o, "facts", ql_fact_facts(r));
    json_object_set_new(o, "settings",
                        ql_fact_settings(settings ? settings : ""));
    json_object_set_new(o, "log", json_string(ql_fact_log(r->history)));
    return o;
}

/* Fills in a template. */
static ql_status render(const char *page, const char *where,
                        const json_t *facts, ql_buf *text)
{
    const ql_chat_input in = {.extra = facts};
    ql_chat_template *t = NULL;
    ql_status st;

    QL_TRY(ql_chat_template_open(&t, page, strlen(page), where));
    st = ql_chat_render(t, &in, text, NULL);
    ql_chat_template_close(&t);
    return st;
}

/* What can be long is not filled in, but has its mark there. */
static const struct {
    const char *name, *mark;
    ql_status (*put)(const ql_history *h, ql_textfile *out);
} long_parts[] = {
    {"data", "\1data", ql_charts_put_data},
    {"rows", "\1rows", ql_fact_put_log},
};

enum {
    LONG_PARTS = sizeof(long_parts) / sizeof(long_parts[0]),
    LONG_MARK = 5
};

/* Appends what the mark at p stands for; p goes behind it. */
static ql_status put_mark(const ql_history *h, const char **p, ql_textfile *out)
{
    for (size_t i = 0; i < LONG_PARTS; i++) {
        if (strncmp(*p, long_parts[i].mark, LONG_MARK) == 0) {
            *p += LONG_MARK;
            return long_parts[i].put(h, out);
        }
    }
    *p += QL_CHART_MARK_BYTES;
    return ql_charts_put(h, *p - QL_CHART_MARK_BYTES, out);
}

/* Writes a page, with what the marks in it stand for in their place. */
static ql_status write_page(const char *page, const ql_history *h,
                            const char *path)
{
    ql_textfile out;
    ql_status st;

    QL_TRY(ql_textfile_init(&out, path));
    while (*page) {
        const size_t n = strcspn(page, "\1");

        QL_TRY_DONE(ql_buf_append(&out.text, page, n));
        page += n;
        if (*page) {
            QL_TRY_DONE(put_mark(h, &page, &out));
        }
    }
    st = ql_textfile_commit(&out);
done:
    ql_textfile_free(&out);
    return st;
}

/* All that the page names. Texts are escaped but for our own. Owned: *out. */
static ql_status page_facts(const ql_report *r, json_t **out)
{
    json_t *facts;
    json_t *charts;

    QL_TRY(ql_charts_of(r->history, &charts));
    facts = facts_of(r);
    *out = escaped(facts);
    json_decref(facts);
    json_object_set_new(*out, "css", json_string(ql_page_css));
    json_object_set_new(*out, "js", json_string(ql_page_js));
    for (size_t i = 0; i < LONG_PARTS; i++) {
        json_object_set_new(*out, long_parts[i].name,
                            json_string(long_parts[i].mark));
    }
    return json_object_set_new(*out, "charts", charts) == 0 ? QL_OK : QL_ENOMEM;
}

ql_status ql_report_save(const ql_report *r, const char *path)
{
    json_t *facts = NULL;
    ql_status st;
    ql_buf page;

    ql_buf_init(&page, QL_TAG_MISC, MAX_PAGE);
    QL_TRY_DONE(page_facts(r, &facts));
    QL_TRY_DONE(render(ql_page_html, "page.html", facts, &page));
    st = write_page(page.data, r->history, path);
done:
    json_decref(facts);
    ql_buf_free(&page);
    return st;
}

ql_status ql_report_save_card(const ql_report *r, const char *path)
{
    json_t *facts = facts_of(r);
    ql_status st = QL_ENOMEM;
    ql_buf card;

    ql_buf_init(&card, QL_TAG_MISC, MAX_PAGE);
    if (facts) {
        QL_TRY_DONE(render(ql_card_md, "card.md", facts, &card));
        st = ql_file_write(path, card.data, card.len);
    }
done:
    json_decref(facts);
    ql_buf_free(&card);
    return st;
}
