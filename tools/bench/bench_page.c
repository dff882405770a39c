#include "tools/bench/bench_page.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/train/report_files.h"
#include "tools/bench/bench_json.h"

enum {
    PAGE_BYTES = 1 << 24
};

/* What pages of results have beside the style of reports. */
static const char common[] =
    "svg text{fill:var(--ink);font-size:15px}"
    "svg .soft{fill:var(--soft);font-size:13px;paint-order:stroke;"
    "stroke:var(--card);stroke-width:4px;stroke-linejoin:round}"
    "svg .big{font-weight:620}svg .axis{stroke:var(--grid)}"
    ".keys{display:flex;flex-wrap:wrap;gap:6px 18px;margin:6px 0 10px;"
    "font-size:13px;color:var(--soft)}"
    ".keys i{display:inline-block;width:11px;height:11px;border-radius:3px;"
    "margin-right:6px}"
    ".panel{background:var(--card);border:1px solid var(--hair);"
    "border-radius:14px;padding:18px 20px;margin-bottom:16px;"
    "box-shadow:var(--shadow);overflow-x:auto}"
    ".panel svg{width:100%;min-width:640px;height:auto;display:block}"
    ".panel table{width:100%;border-collapse:collapse;font-size:13px}"
    ".panel th{text-align:right;font-weight:560;color:var(--soft);"
    "padding:4px 5px;border-bottom:1px solid var(--hair)}"
    ".panel td{text-align:right;padding:5px 5px;white-space:nowrap;"
    "border-bottom:1px solid var(--grid)}"
    ".panel th.t,.panel td.t{text-align:left}"
    ".bad{color:var(--bad);font-weight:600}.good{color:var(--good)}";

static void add(bench_page *p, const char *text)
{
    if (p->st == QL_OK) {
        p->st = ql_buf_puts(&p->text, text);
    }
}

void bench_page_put(bench_page *p, const char *fmt, ...)
{
    char text[4096];
    va_list list;

    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    add(p, text);
}

/* What stands for a sign in HTML. */
static const char *sign(char c, char own[2])
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    default:
        own[0] = c;
        own[1] = '\0';
        return own;
    }
}

void bench_page_quote(bench_page *p, const char *text)
{
    char own[2];

    for (; *text; text++) {
        add(p, sign(*text, own));
    }
}

const char *bench_quoted(char out[BENCH_QUOTED], const char *text)
{
    size_t used = 0;
    char own[2];

    for (; *text; text++) {
        const char *s = sign(*text, own);

        if (used + strlen(s) + 1 > BENCH_QUOTED) {
            break;
        }
        memcpy(out + used, s, strlen(s));
        used += strlen(s);
    }
    out[used] = '\0';
    return out;
}

void bench_page_begin(bench_page *p, const char *title, const char *eyebrow,
                      const char *style)
{
    p->st = QL_OK;
    ql_buf_init(&p->text, QL_TAG_TEXT, PAGE_BYTES);
    bench_page_put(p,
                   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta "
                   "charset=\"utf-8\"><meta name=\"viewport\" "
                   "content=\"width=device-width\"><meta name=\"color-scheme\" "
                   "content=\"light dark\"><title>%s</title><style>",
                   title);
    add(p, ql_page_css);
    add(p, common);
    add(p, style);
    bench_page_put(p,
                   "</style></head><body><main><p class=\"eyebrow\">%s</p>"
                   "<h1>%s</h1>",
                   eyebrow, title);
}

static void put_machine(bench_page *p, const json_t *m)
{
    bench_page_put(p, "<h2>Measured on</h2><div class=\"panel\"><p>");
    bench_page_quote(p, bench_get_text(m, "processor"));
    bench_page_put(p, ", %.0f threads of %.0f cores, %s, %.1f GiB of memory; ",
                   bench_get_real(m, "threads"), bench_get_real(m, "cores"),
                   bench_get_text(m, "isa"), bench_get_real(m, "memory_gib"));
    bench_page_put(p, "other processes at work: %.1f. qlora %s, %s build, %s.",
                   bench_get_real(m, "load"), bench_get_text(m, "version"),
                   bench_get_text(m, "build"), bench_get_text(m, "compiler"));
    bench_page_put(p, "</p><p><code>");
    bench_page_quote(p, bench_get_text(m, "command"));
    bench_page_put(p, "</code></p></div>");
}

void bench_page_stopped(bench_page *p, const json_t *root)
{
    const char *why = bench_get_text(root, "stopped");

    if (*why) {
        bench_page_put(p, "<p class=\"lead bad\">Not all was measured: ");
        bench_page_quote(p, why);
        bench_page_put(p, "</p>");
    }
}

ql_status bench_page_end(bench_page *p, const json_t *machine, const char *path)
{
    put_machine(p, machine);
    bench_page_put(p, "</main></body></html>\n");
    if (p->st == QL_OK) {
        p->st = ql_file_write(path, p->text.data, p->text.len);
    }
    ql_buf_free(&p->text);
    return p->st;
}
