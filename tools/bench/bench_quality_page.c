/* The page of qlora-bench quality. */
#include <math.h>
#include <string.h>

#include "tools/bench/bench_json.h"
#include "tools/bench/bench_page.h"
#include "tools/bench/bench_quality.h"

enum {
    LEFT = 320,
    RIGHT = 940,
    WIDTH = 1000,
    ROW = 42,
    TOP = 40
};

static const char style[] =
    ":root{--w:#4269d0;--o:#e4572e}"
    "@media (prefers-color-scheme: dark){:root{--w:#7d9bf0;--o:#ff8662}}"
    "svg .way{stroke:var(--hair);stroke-width:2}"
    ".keys{margin-bottom:8px}.keys i{border-radius:50%}";

/* The rows of a model, and what their losses span. */
typedef struct group {
    const json_t *rows[16];
    size_t n;
    double least, most;
} group;

static group group_of(const json_t *list, const char *model)
{
    static const char *const keys[] = {"eval_before", "eval_after"};
    group g = {.least = HUGE_VAL};

    for (size_t i = 0; i < json_array_size(list) && g.n < 16; i++) {
        const json_t *row = json_array_get(list, i);

        if (strcmp(bench_get_text(row, "model"), model) == 0) {
            g.rows[g.n++] = row;
            for (size_t k = 0; k < 2; k++) {
                g.least = fmin(g.least, bench_get_real(row, keys[k]));
                g.most = fmax(g.most, bench_get_real(row, keys[k]));
            }
        }
    }
    return g;
}

static double place(const group *g, double loss)
{
    const double span = g->most > g->least ? g->most - g->least : 1;

    return LEFT + (loss - g->least) / span * (RIGHT - LEFT);
}

static void put_dot(bench_page *p, const group *g, const json_t *row,
                    const char *key, const char *colour, double y)
{
    const double loss = bench_get_real(row, key);

    if (isfinite(loss)) {
        bench_page_put(p,
                       "<circle cx=\"%.2f\" cy=\"%.1f\" r=\"7\" "
                       "fill=\"var(--%s)\" data-key=\"%s\" "
                       "data-loss=\"%.9g\"></circle><text class=\"soft\" "
                       "x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.4f"
                       "</text>",
                       place(g, loss), y, colour, key, loss, place(g, loss),
                       y - 11, loss);
    }
}

static void put_group(bench_page *p, const group *g, const char *model)
{
    bench_page_put(p,
                   "<div class=\"panel\"><svg viewBox=\"0 0 %d %zu\" "
                   "role=\"img\" aria-label=\"Losses of %s\"><text "
                   "class=\"big\" x=\"0\" y=\"18\">",
                   WIDTH, TOP + g->n * ROW, "a model");
    bench_page_quote(p, model);
    bench_page_put(p, "</text>");
    for (size_t i = 0; i < g->n; i++) {
        const double y = TOP + 20 + (double)i * ROW;
        const json_t *row = g->rows[i];

        bench_page_put(p,
                       "<line class=\"way\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" "
                       "y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" "
                       "text-anchor=\"end\">%s</text>",
                       LEFT, RIGHT, y, y, LEFT - 22, y + 5,
                       bench_get_text(row, "title"));
        put_dot(p, g, row, "eval_before", "o", y);
        put_dot(p, g, row, "eval_after", "w", y);
    }
    bench_page_put(p, "</svg></div>");
}

static bool begins_model(const json_t *list, size_t i)
{
    const char *model = bench_get_text(json_array_get(list, i), "model");

    return i == 0 ||
           strcmp(bench_get_text(json_array_get(list, i - 1), "model"),
                  model) != 0;
}

/* What was found in all rounds, if there are some. */
static void put_range(bench_page *p, const json_t *o)
{
    if (json_object_get(o, "excess_least")) {
        bench_page_put(p, "<td>%+.2f to %+.2f %%</td>",
                       bench_get_real(o, "excess_least"),
                       bench_get_real(o, "excess_most"));
    } else {
        bench_page_put(p, "<td></td>");
    }
}

static void put_claims(bench_page *p, const json_t *list)
{
    bench_page_put(p, "<h2>What is known, and what is found here</h2><div "
                      "class=\"panel\"><table id=\"claims\"><tbody>");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *verdict = bench_quality_verdict(o);
        const bool good = strcmp(verdict, "so it is") == 0;

        bench_page_put(p, "<tr><td class=\"t\">");
        bench_page_quote(p, bench_get_text(o, "model"));
        bench_page_put(p, "</td><td class=\"t\">%s</td><td>%+.2f %%</td>",
                       bench_get_text(o, "what"),
                       bench_get_real(o, "excess_percent"));
        put_range(p, o);
        bench_page_put(p,
                       "<td class=\"t\">at most %g %%</td><td class=\"t %s\">%s"
                       "</td></tr>",
                       bench_get_real(o, "most_percent"), good ? "good" : "bad",
                       verdict);
    }
    bench_page_put(p, "</tbody></table></div>");
}

static void put_table(bench_page *p, const json_t *list)
{
    bench_page_put(p, "<h2>Numbers</h2><div class=\"panel\"><table "
                      "id=\"numbers\"><thead><tr><th class=\"t\">model</th>"
                      "<th class=\"t\">weights, method</th><th>parameters</th>"
                      "<th>trained</th><th>loss before</th><th>after</th>"
                      "<th>least</th><th>most</th></tr>"
                      "</thead><tbody>");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);

        bench_page_put(p, "<tr><td class=\"t\">");
        bench_page_quote(p, bench_get_text(row, "model"));
        bench_page_put(p,
                       "</td><td class=\"t\">%s</td><td>%.0f</td><td>%.0f</td>"
                       "<td>%.5f</td><td>%.5f</td><td>%.5f</td><td>%.5f"
                       "</td></tr>",
                       bench_get_text(row, "title"),
                       bench_get_real(row, "parameters"),
                       bench_get_real(row, "trainable"),
                       bench_get_real(row, "eval_before"),
                       bench_get_real(row, "eval_after"),
                       bench_get_real(row, "after_least"),
                       bench_get_real(row, "after_most"));
    }
    bench_page_put(p, "</tbody></table></div>");
}

ql_status bench_quality_page(const json_t *root, const char *path)
{
    const json_t *rows = json_object_get(root, "rows");
    bench_page p;

    bench_page_begin(&p, "What 4 bits cost", "qlora-bench quality", style);
    bench_page_put(&p, "<p class=\"lead\">%.0f steps of %.0f records of ",
                   bench_get_real(root, "steps"),
                   bench_get_real(root, "batch_size"));
    bench_page_quote(&p, bench_get_text(root, "data"));
    bench_page_put(&p, ", adapters of rank %.0f, learning rate %g; losses on ",
                   bench_get_real(root, "lora_r"),
                   bench_get_real(root, "learning_rate"));
    bench_page_quote(&p, bench_get_text(root, "eval_data"));
    bench_page_put(&p,
                   ", nats a token. After training: the middle one of %.0f "
                   "rounds, whose adapters begin with other random numbers."
                   "</p>",
                   bench_get_real(root, "rounds"));
    bench_page_stopped(&p, root);
    bench_page_put(&p, "<h2>Loss</h2><div class=\"keys\">"
                       "<span><i style=\"background:var(--o)\"></i>before "
                       "training</span><span><i "
                       "style=\"background:var(--w)\"></i>after</span></div>");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *model = bench_get_text(json_array_get(rows, i), "model");
        const group g = group_of(rows, model);

        if (begins_model(rows, i)) {
            put_group(&p, &g, model);
        }
    }
    put_claims(&p, json_object_get(root, "claims"));
    put_table(&p, rows);
    return bench_page_end(&p, json_object_get(root, "machine"), path);
}
