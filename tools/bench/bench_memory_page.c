/* The page of qlora-bench memory: charts and tables in one file. */
#include <math.h>
#include <string.h>

#include "qlora/plan.h"
#include "src/base/file.h"
#include "src/train/report_files.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_memory.h"
#include "tools/bench/bench_page.h"
#include "tools/cli/term.h"

enum {
    LONGEST = 1000, /* of a bar, in its own units */
    LEFT = 225,     /* where the axis of plans begins, */
    WIDTH = 1000,   /* of a chart, in its own units */
    ROW = 46,
    TOP = 34,
    PARTS = 8 /* of a bar */
};

static const double mib = 1024.0 * 1024;
static const double gib = 1024.0 * 1024 * 1024;

/* What a bar is made of, from the left. */
static const struct {
    const char *name, *style;
} parts[PARTS] = {
    {"weights", "w"},   {"trained parameters", "p"}, {"gradients", "g"},
    {"optimizer", "o"}, {"activations", "v"},        {"work space", "k"},
    {"other", "x"},     {"mapped files", "f"},
};

static const char style[] =
    ":root{--w:#4269d0;--p:#8a63d2;--g:#e0a100;--o:#e4572e;--v:#2a9d8f;"
    "--k:#74b816;--x:#9a9aa3;--f:#b9c6ee}"
    "@media (prefers-color-scheme: dark){:root{--w:#7d9bf0;--p:#b79af0;"
    "--g:#f0c04a;--o:#ff8662;--v:#58c7b8;--k:#a3d65c;--x:#7d7d86;"
    "--f:#465383}}"
    ".bar{display:grid;grid-template-columns:190px 1fr 84px;gap:14px;"
    "align-items:center;margin-top:12px;font-size:14px}"
    ".bar span{text-align:right}.panel b{font-weight:620}"
    ".bar svg{min-width:0;height:26px;border-radius:4px}"
    "@media (max-width: 640px){.bar{grid-template-columns:1fr auto;"
    "gap:4px 12px}.bar span{text-align:left}"
    ".bar svg{grid-column:1/3;grid-row:2;height:20px}}"
    "svg .mark{stroke:var(--soft);stroke-dasharray:3 4}"
    "svg .hollow{fill:var(--card);stroke-width:2}"
    ".panel th{white-space:nowrap}";

static double held(const json_t *row, ql_plan_part part)
{
    return bench_get_part(row, "held", ql_plan_part_name(part));
}

/* Bytes of the parts of a measured row, the last ones beside those that have a
 * colour of their own, and mapped files. */
static void parts_of(double bytes[PARTS], const json_t *row)
{
    bytes[PARTS - 2] = 0;
    for (int i = 0; i < QL_PLAN_MAPPED; i++) {
        if (i < PARTS - 2) {
            bytes[i] = held(row, (ql_plan_part)i);
        } else {
            bytes[PARTS - 2] += held(row, (ql_plan_part)i);
        }
    }
    bytes[PARTS - 1] = bench_get_real(row, "file");
}

/* A method: its name, its bar, in thousandths of the longest, and its total. */
static void put_bar(bench_page *p, const json_t *row, double most)
{
    double bytes[PARTS];
    char text[CLI_TEXT_BYTES];
    double x = 0;

    parts_of(bytes, row);
    bench_page_put(p,
                   "<div class=\"bar\"><span>%s</span><svg viewBox=\"0 0 %d "
                   "10\" preserveAspectRatio=\"none\">",
                   bench_get_text(row, "title"), LONGEST);
    for (size_t i = 0; i < PARTS; i++) {
        const double w = bytes[i] / most * LONGEST;

        if (bytes[i] > 0) {
            bench_page_put(p,
                           "<rect x=\"%.2f\" width=\"%.2f\" height=\"10\" "
                           "fill=\"var(--%s)\" data-way=\"%s\" "
                           "data-bytes=\"%.0f\"><title>%s: %s</title></rect>",
                           x, w, parts[i].style, bench_get_text(row, "way"),
                           bytes[i], parts[i].name,
                           cli_format_bytes(text, (uint64_t)bytes[i]));
            x += w;
        }
    }
    bench_page_put(
        p, "</svg><b data-peak=\"%.0f\">%s</b></div>",
        bench_get_real(row, "peak"),
        cli_format_bytes(text, (uint64_t)bench_get_real(row, "peak")));
}

static double sum_of(const json_t *row)
{
    double bytes[PARTS];
    double sum = 0;

    parts_of(bytes, row);
    for (size_t i = 0; i < PARTS; i++) {
        sum += bytes[i];
    }
    return sum;
}

static bool same_shape(const json_t *row, const char *shape)
{
    return strcmp(bench_get_text(row, "shape"), shape) == 0;
}

/* The bars of all methods that were measured at a shape. */
static void put_bars(bench_page *p, const json_t *list, const char *shape)
{
    char name[BENCH_QUOTED];
    double most = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);

        most = same_shape(row, shape) ? fmax(most, sum_of(row)) : most;
    }
    bench_page_put(p, "<div class=\"panel\"><b>%s</b>",
                   bench_quoted(name, shape));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);

        if (same_shape(row, shape)) {
            put_bar(p, row, most);
        }
    }
    bench_page_put(p, "</div>");
}

/* True if row i is the first of its shape. */
static bool begins_shape(const json_t *list, size_t i)
{
    const char *shape = bench_get_text(json_array_get(list, i), "shape");

    for (size_t j = 0; j < i; j++) {
        if (same_shape(json_array_get(list, j), shape)) {
            return false;
        }
    }
    return true;
}

static const json_t *find(const json_t *list, const char *shape,
                          const char *way)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);

        if (same_shape(row, shape) &&
            strcmp(bench_get_text(row, "way"), way) == 0) {
            return row;
        }
    }
    return NULL;
}

static void put_figure(bench_page *p, const char *label, const json_t *row)
{
    char text[CLI_TEXT_BYTES];

    if (row) {
        bench_page_put(
            p,
            "<div class=\"figure\"><div class=\"label\">%s</div><div "
            "class=\"value\">%s</div></div>",
            label,
            cli_format_bytes(text, (uint64_t)bench_get_real(row, "peak")));
    }
}

/* The last model that was measured, in large letters. */
static void put_figures(bench_page *p, const json_t *list)
{
    const size_t n = json_array_size(list);
    const char *shape =
        n > 0 ? bench_get_text(json_array_get(list, n - 1), "shape") : "";
    const json_t *full = find(list, shape, "full");
    const json_t *qlora = find(list, shape, "qlora");
    char name[BENCH_QUOTED];

    if (n == 0) {
        return;
    }
    bench_page_put(p,
                   "<div class=\"figures\"><div class=\"figure\"><div "
                   "class=\"label\">measured at</div><div class=\"value\">%s"
                   "</div></div>",
                   bench_quoted(name, shape));
    put_figure(p, "full, fp32", full);
    put_figure(p, "full, bf16", find(list, shape, "full-bf16"));
    put_figure(p, "LoRA", find(list, shape, "lora"));
    put_figure(p, "QLoRA", qlora);
    if (full && qlora) {
        bench_page_put(p,
                       "<div class=\"figure\"><div class=\"label\">fp32 : "
                       "QLoRA</div><div class=\"value\" id=\"ratio\">%.1f"
                       "</div></div>",
                       bench_get_real(full, "peak") /
                           bench_get_real(qlora, "peak"));
    }
    bench_page_put(p, "</div>");
}

static void put_measured(bench_page *p, const json_t *list)
{
    if (json_array_size(list) == 0) {
        return;
    }
    bench_page_put(p, "<h2>Measured <span class=\"aside\">each in a process of "
                      "its own; total: the kernel's largest resident size, the "
                      "middle one of all rounds; parts: the allocator's, each "
                      "at its largest</span></h2>"
                      "<div class=\"keys\">");
    for (size_t i = 0; i < PARTS; i++) {
        bench_page_put(p,
                       "<span><i style=\"background:var(--%s)\"></i>%s</span>",
                       parts[i].style, parts[i].name);
    }
    bench_page_put(p, "</div>");
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (begins_shape(list, i)) {
            put_bars(p, list, bench_get_text(json_array_get(list, i), "shape"));
        }
    }
}

/* Places on an axis of powers of two. */
static const double least_gib = 0.25;
static const double most_gib = 2048;

static double place(double x)
{
    const double share =
        log2(fmax(x, least_gib) / least_gib) / log2(most_gib / least_gib);

    return LEFT + share * (WIDTH - 30 - LEFT);
}

static void put_axis(bench_page *p, double bottom)
{
    static const double marks[] = {8, 16, 24};

    for (double x = least_gib; x <= most_gib; x *= 2) {
        bench_page_put(p,
                       "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" "
                       "y1=\"%d\" y2=\"%.1f\"/><text class=\"soft\" "
                       "x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>",
                       place(x), place(x), TOP - 8, bottom, place(x),
                       bottom + 16, x);
    }
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        bench_page_put(p,
                       "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" "
                       "y1=\"%d\" y2=\"%.1f\"/><text class=\"soft\" "
                       "x=\"%.1f\" y=\"14\" text-anchor=\"middle\">%g</text>",
                       place(marks[i]), place(marks[i]), TOP - 14, bottom,
                       place(marks[i]), marks[i]);
    }
    bench_page_put(p,
                   "<text class=\"soft\" x=\"%.1f\" y=\"14\" "
                   "text-anchor=\"end\">memory of laptops</text>",
                   place(marks[0]) - 20);
    bench_page_put(p,
                   "<text class=\"soft\" x=\"%d\" y=\"%.1f\" "
                   "text-anchor=\"end\">GiB, each line twice the one "
                   "before</text>",
                   WIDTH - 30, bottom + 36);
}

static const struct {
    const char *way, *style, *title, *published, *theirs;
} dots[] = {{"full", "o", "full fine-tuning, fp32", "full_gb",
             "full fine-tuning, mixed precision"},
            {"full-bf16", "p", "full fine-tuning, bf16", "full_16bit_gb",
             "full fine-tuning, 16 bits"},
            {"lora", "g", "LoRA, 16 bits", "lora_gb", "LoRA, 16 bits"},
            {"qlora", "w", "QLoRA", "qlora_gb", "QLoRA"}};

enum {
    DOTS = sizeof(dots) / sizeof(dots[0])
};

/* Those of others, in units of 10^9. */
static void put_published(bench_page *p, const json_t *root, const char *shape,
                          double y)
{
    const json_t *list = json_object_get(root, "published");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);

        for (size_t d = 0; d < DOTS && same_shape(o, shape); d++) {
            const double gb = bench_get_real(o, dots[d].published);

            if (isfinite(gb)) {
                bench_page_put(p,
                               "<circle class=\"hollow\" cx=\"%.1f\" "
                               "cy=\"%.1f\" r=\"5\" stroke=\"var(--%s)\">"
                               "<title>%s: %s, %g GB</title></circle>",
                               place(gb * 1e9 / gib), y, dots[d].style,
                               bench_get_text(o, "source"), dots[d].theirs, gb);
            }
        }
    }
}

/* Digits behind the point, of three in all. */
static int digits_of(double x)
{
    return x < 10 ? 2 : x < 100 ? 1 : 0;
}

static void put_dots(bench_page *p, const json_t *list, const char *shape,
                     double y)
{
    char name[BENCH_QUOTED];

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const double total = bench_get_real(row, "plan_total");

        for (size_t d = 0; d < DOTS && same_shape(row, shape); d++) {
            if (strcmp(bench_get_text(row, "way"), dots[d].way) == 0) {
                bench_page_put(p,
                               "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" "
                               "fill=\"var(--%s)\" data-shape=\"%s\" "
                               "data-way=\"%s\" data-bytes=\"%.0f\"><title>"
                               "%s: %.2f GiB</title></circle>"
                               "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" "
                               "text-anchor=\"middle\">%.*f</text>",
                               place(total / gib), y, dots[d].style,
                               bench_quoted(name, shape), dots[d].way, total,
                               dots[d].title, total / gib, place(total / gib),
                               y - 11, digits_of(total / gib), total / gib);
            }
        }
    }
}

/* How much more than was measured the plan says, for the last model that was
 * measured. */
static void put_plan_error(bench_page *p, const json_t *list)
{
    const size_t n = json_array_size(list);
    const char *shape =
        n > 0 ? bench_get_text(json_array_get(list, n - 1), "shape") : "";
    char name[BENCH_QUOTED];
    double least = HUGE_VAL;
    double most = -HUGE_VAL;

    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(list, i);
        const double error = bench_get_real(row, "plan_error_percent");

        if (same_shape(row, shape)) {
            least = fmin(least, error);
            most = fmax(most, error);
        }
    }
    if (n > 0) {
        bench_page_put(p,
                       "<p class=\"aside\" id=\"error\">Measured beside "
                       "planned, at %s: the plan's private memory is %.1f to "
                       "%.1f %% more than the kernel counted.</p>",
                       bench_quoted(name, shape), least, most);
    }
}

static void put_predicted(bench_page *p, const json_t *root)
{
    const json_t *list = json_object_get(root, "predicted");
    char name[BENCH_QUOTED];
    double y = TOP + 18;
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        n += begins_shape(list, i);
    }
    if (n == 0) {
        return;
    }
    bench_page_put(p,
                   "<h2>Planned <span class=\"aside\">what the training's own "
                   "plan says, all memory; hollow: published by others, on "
                   "GPUs</span></h2><div class=\"keys\">");
    for (size_t d = 0; d < DOTS; d++) {
        bench_page_put(p,
                       "<span><i style=\"background:var(--%s)\"></i>%s</span>",
                       dots[d].style, dots[d].title);
    }
    bench_page_put(p,
                   "</div><div class=\"panel\"><svg viewBox=\"0 0 %d %zu\" "
                   "role=\"img\" aria-label=\"Planned memory\">",
                   WIDTH, TOP + n * ROW + 44);
    put_axis(p, TOP + (double)(n * ROW));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *shape = bench_get_text(json_array_get(list, i), "shape");

        if (begins_shape(list, i)) {
            bench_page_put(
                p, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                LEFT - 12, y + 5, bench_quoted(name, shape));
            put_published(p, root, shape, y);
            put_dots(p, list, shape, y);
            y += ROW;
        }
    }
    bench_page_put(p, "</svg></div>");
}

static void put_number(bench_page *p, double x, int decimals)
{
    if (isfinite(x)) {
        bench_page_put(p, "<td>%.*f</td>", decimals, x);
    } else {
        bench_page_put(p, "<td>&ndash;</td>");
    }
}

static void put_rows(bench_page *p, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        char name[BENCH_QUOTED];

        bench_page_put(p, "<tr><td class=\"t\">%s</td><td class=\"t\">%s</td>",
                       bench_quoted(name, bench_get_text(row, "shape")),
                       bench_get_text(row, "title"));
        put_number(p, bench_get_real(row, "parameters") / 1e6, 1);
        put_number(p, bench_get_real(row, "peak") / gib, 3);
        put_number(p, bench_get_real(row, "anonymous") / gib, 3);
        put_number(p, bench_get_real(row, "plan_total") / gib, 3);
        put_number(p, bench_get_real(row, "plan_anonymous") / gib, 3);
        put_number(p, bench_get_real(row, "plan_error_percent"), 1);
        put_number(p, bench_get_real(row, "parts_error_percent"), 1);
        put_number(p, bench_get_real(row, "first_loss"), 4);
        bench_page_put(p, "</tr>");
    }
}

static void put_table(bench_page *p, const json_t *root)
{
    static const char *const heads[] = {"10<sup>6</sup> parameters",
                                        "all, GiB",
                                        "private",
                                        "planned, all",
                                        "private",
                                        "error, %",
                                        "parts, %",
                                        "first loss"};

    bench_page_put(p, "<h2>Numbers <span class=\"aside\">error: of the planned "
                      "private memory; parts: what they sum to, beside the "
                      "private memory that the kernel counted</span></h2><div "
                      "class=\"panel\">"
                      "<table id=\"numbers\"><thead><tr><th class=\"t\">model"
                      "</th><th class=\"t\">method</th>");
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        bench_page_put(p, "<th>%s</th>", heads[i]);
    }
    bench_page_put(p, "</tr></thead><tbody>");
    put_rows(p, json_object_get(root, "measured"));
    put_rows(p, json_object_get(root, "predicted"));
    bench_page_put(p, "</tbody></table></div>");
}

/* How far the peaks and the steps of all rounds lie apart. */
static void put_rounds(bench_page *p, const json_t *list)
{
    static const char *const keys[] = {
        "peak_least", "peak",           "peak_most", "anonymous_least",
        "anonymous",  "anonymous_most", "swap"};
    char name[BENCH_QUOTED];

    if (json_array_size(list) == 0) {
        return;
    }
    bench_page_put(
        p, "<h2>All rounds <span class=\"aside\">peaks, MiB; "
           "memory elsewhere is that of the middle one, but floors "
           "have the worst for them; speed of all steps</span></h2><div "
           "class=\"panel\"><table id=\"rounds\"><thead><tr><th "
           "class=\"t\">model</th><th class=\"t\">method</th><th>"
           "rounds</th><th>all, least</th><th>middle</th><th>most"
           "</th><th>private, least</th><th>middle</th><th>most</th>"
           "<th>swapped</th><th>tokens/s</th><th>spread, %%</th>"
           "</tr></thead><tbody>");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);

        bench_page_put(p, "<tr><td class=\"t\">%s</td><td class=\"t\">%s</td>",
                       bench_quoted(name, bench_get_text(row, "shape")),
                       bench_get_text(row, "title"));
        put_number(p, bench_get_real(row, "rounds"), 0);
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            put_number(p, bench_get_real(row, keys[k]) / mib, 1);
        }
        put_number(p, bench_get_real(row, "tokens_per_second"), 2);
        put_number(p, bench_get_real(row, "spread_percent"), 0);
        bench_page_put(p, "</tr>");
    }
    bench_page_put(p, "</tbody></table></div>");
}

static void put_others(bench_page *p, const json_t *list)
{
    static const char *const keys[] = {"qlora_gb", "lora_gb", "full_gb",
                                       "full_16bit_gb"};

    bench_page_put(p, "<h2>Published by others <span class=\"aside\">GB, on "
                      "GPUs; mixed: bf16 or fp16, parameters in 32 bits; 16 "
                      "bits: pure bf16, or as the source says</span></h2><div "
                      "class=\"panel\"><table "
                      "id=\"published\"><thead><tr><th class=\"t\">model</th>"
                      "<th>QLoRA</th><th>LoRA, 16 bits</th><th>full, mixed</th>"
                      "<th>full, 16 bits</th><th class=\"t\">source</th></tr>"
                      "</thead><tbody>");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);

        bench_page_put(p, "<tr><td class=\"t\">%s</td>",
                       bench_get_text(o, "model"));
        for (size_t k = 0; k < 4; k++) {
            const double gb = bench_get_real(o, keys[k]);

            put_number(p, gb, gb == floor(gb) ? 0 : 3);
        }
        bench_page_put(p, "<td class=\"t\">%s</td></tr>",
                       bench_get_text(o, "source"));
    }
    bench_page_put(p, "</tbody></table></div>");
}

static void put_floors(bench_page *p, const json_t *list)
{
    if (json_array_size(list) == 0) {
        return;
    }
    bench_page_put(p, "<h2>Floors</h2><div class=\"panel\"><table "
                      "id=\"floors\"><tbody>");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const bool holds = json_is_true(json_object_get(o, "holds"));

        bench_page_put(p,
                       "<tr><td class=\"t\">%s</td><td>%.3f</td><td "
                       "class=\"t\">%s</td><td class=\"t\">%s %g</td><td "
                       "class=\"t %s\">%s</td></tr>",
                       bench_get_text(o, "what"), bench_get_real(o, "value"),
                       bench_get_text(o, "kind"), bench_get_text(o, "bound"),
                       bench_get_real(o, "limit"), holds ? "good" : "bad",
                       holds ? "holds" : "does not hold");
    }
    bench_page_put(p, "</tbody></table></div>");
}

ql_status bench_memory_page(const json_t *root, const char *path)
{
    bench_page p;

    bench_page_begin(&p, "Memory of fine-tuning", "qlora-bench memory", style);
    bench_page_put(&p,
                   "<p class=\"lead\">Sequences of %.0f tokens, %.0f in a "
                   "step, adapters of rank %.0f on all linear layers, %s; the "
                   "same weights, data and AdamW for all methods of a model, "
                   "but that full fine-tuning in bf16 rounds weights, "
                   "gradients and moments to it.</p>",
                   bench_get_real(root, "max_length"),
                   bench_get_real(root, "batch_size"),
                   bench_get_real(root, "lora_r"),
                   json_is_true(json_object_get(root, "gradient_checkpointing"))
                       ? "each block's forward repeated"
                       : "all activations kept");
    bench_page_stopped(&p, root);
    put_figures(&p, json_object_get(root, "measured"));
    put_measured(&p, json_object_get(root, "measured"));
    put_predicted(&p, root);
    put_plan_error(&p, json_object_get(root, "measured"));
    put_floors(&p, json_object_get(root, "floors"));
    put_table(&p, root);
    put_rounds(&p, json_object_get(root, "measured"));
    put_others(&p, json_object_get(root, "published"));
    return bench_page_end(&p, json_object_get(root, "machine"), path);
}
