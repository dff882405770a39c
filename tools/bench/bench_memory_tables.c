/* The results of qlora-bench memory as tables, beside what others published
 * and what is asked of us. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qlora/plan.h"
#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_memory.h"
#include "tools/bench/bench_table.h"

enum {
    CSV_BYTES = 1 << 20
};

static const double gib = 1024.0 * 1024 * 1024;

/* GB as those who wrote them count; NAN where they say nothing. */
static const struct {
    const char *model, *shape, *source;
    double qlora, lora, full, full16;
} published[] = {
    {"7B", "llama-7b", "LLaMA-Factory, README, estimated", 6, 16, 120, 60},
    {"14B", "llama-13b", "LLaMA-Factory, README, estimated", 12, 32, 240, 120},
    {"30B", "llama-33b", "LLaMA-Factory, README, estimated", 24, 64, 600, 300},
    {"70B", "llama-70b", "LLaMA-Factory, README, estimated", 48, 160, 1200,
     600},
    {"33B", "llama-33b", "QLoRA paper, arXiv 2305.14314: one card of 24 GB", 24,
     (double)NAN, (double)NAN, (double)NAN},
    {"65B", "",
     "QLoRA paper, arXiv 2305.14314: one card of 48 GB; 16-bit fine-tuning: "
     "more than 780",
     48, (double)NAN, (double)NAN, 780},
    {"7B", "", "QLoRA paper: 4-bit base alone", 5.048, (double)NAN, (double)NAN,
     (double)NAN},
};

void bench_memory_published(json_t *root)
{
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        json_t *o = json_object();

        bench_set_text(o, "result", "published");
        bench_set_text(o, "model", published[i].model);
        bench_set_text(o, "shape", published[i].shape);
        bench_set_real(o, "qlora_gb", published[i].qlora);
        bench_set_real(o, "lora_gb", published[i].lora);
        bench_set_real(o, "full_gb", published[i].full);
        bench_set_real(o, "full_16bit_gb", published[i].full16);
        bench_set_text(o, "source", published[i].source);
        json_array_append_new(list, o);
    }
    json_object_set_new(root, "published", list);
}

/* The row of a shape and a way: measured if it was, else predicted. */
static const json_t *find(const json_t *root, const char *shape,
                          const char *way)
{
    const char *const lists[] = {"measured", "predicted"};

    for (size_t l = 0; l < 2; l++) {
        const json_t *list = json_object_get(root, lists[l]);

        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *row = json_array_get(list, i);

            if (strcmp(bench_get_text(row, "shape"), shape) == 0 &&
                strcmp(bench_get_text(row, "way"), way) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

static bool is_measured(const json_t *row)
{
    return strcmp(bench_get_text(row, "result"), "measured") == 0;
}

/* Bytes, private or in all, as the kernel or else the plan has them. */
static double memory_of(const json_t *row, bool all)
{
    if (is_measured(row)) {
        return bench_get_real(row, all ? "peak" : "anonymous");
    }
    return bench_get_real(row, all ? "plan_total" : "plan_anonymous");
}

/* The same of the round that had the most. */
static double most_of(const json_t *row, bool all)
{
    return is_measured(row)
               ? bench_get_real(row, all ? "peak_most" : "anonymous_most")
               : memory_of(row, all);
}

static double least_of_all(const json_t *row)
{
    return is_measured(row) ? bench_get_real(row, "peak_least")
                            : memory_of(row, true);
}

static void add_floor(json_t *list, const char *what, const json_t *row,
                      double value, double bound, bool at_most)
{
    json_t *o = json_object();

    bench_set_text(o, "result", "floor");
    bench_set_text(o, "what", what);
    bench_set_text(o, "kind", is_measured(row) ? "measured" : "predicted");
    bench_set_real(o, "value", value);
    bench_set_text(o, "bound", at_most ? "at most" : "at least");
    bench_set_real(o, "limit", bound);
    json_object_set_new(
        o, "holds", json_boolean(at_most ? value <= bound : value >= bound));
    json_array_append_new(list, o);
}

static void tinyllama_floors(json_t *list, const json_t *root)
{
    const json_t *q = find(root, "tinyllama", "qlora");
    const json_t *full = find(root, "tinyllama", "full");

    if (!q) {
        return;
    }
    add_floor(list, "TinyLlama shape, QLoRA, private memory, GiB", q,
              most_of(q, false) / gib, 0.55, true);
    add_floor(list, "TinyLlama shape, QLoRA, all memory, GiB", q,
              most_of(q, true) / gib, 1.3, true);
    if (full) {
        add_floor(list,
                  "TinyLlama shape, full fine-tuning to QLoRA, all memory",
                  is_measured(full) ? q : full,
                  least_of_all(full) / most_of(q, true), 13, false);
    }
}

static void llama_floors(json_t *list, const json_t *root)
{
    const json_t *q = find(root, "llama-7b", "qlora");
    const json_t *full = find(root, "llama-7b", "full");

    if (!q) {
        return;
    }
    add_floor(list, "Llama-7B shape, QLoRA, private memory, GiB", q,
              most_of(q, false) / gib, 1.5, true);
    add_floor(list, "Llama-7B shape, QLoRA, all memory, GiB", q,
              most_of(q, true) / gib, 5.2, true);
    if (full) {
        add_floor(list, "Llama-7B shape, full fine-tuning, all memory, GiB",
                  full, least_of_all(full) / gib, 100, false);
    }
}

/* They are those of 512 tokens and rank 16, and for the worst of all rounds. */
void bench_memory_floors(json_t *root)
{
    json_t *list = json_array();

    if (bench_get_real(root, "max_length") == 512 &&
        bench_get_real(root, "batch_size") == 1 &&
        bench_get_real(root, "lora_r") == 16) {
        tinyllama_floors(list, root);
        llama_floors(list, root);
    }
    json_object_set_new(root, "floors", list);
}

static const bench_column columns[] = {
    {"shape", "shape", -13, BENCH_TEXT},
    {"way", "method", -12, BENCH_TEXT},
    {"kind", "", -9, BENCH_TEXT},
    {"parameters", "parameters", 12, 0},
    {"trainable", "trainable", 12, 0},
    {"total_gib", "all, GiB", 9, 3},
    {"anonymous_gib", "private", 8, 3},
    {"file_gib", "files", 8, 3},
    {"plan_total_gib", "planned", 9, 3},
    {"plan_anonymous_gib", "private", 8, 3},
    {"plan_error_percent", "error, %", 8, 1},
    {"parts_error_percent", "parts, %", 8, 1},
    {"first_loss", "first loss", 10, 5},
    {"tokens_per_second", "tokens/s", 9, 2},
    {"spread_percent", "spread %", 8, 1},

    /* of the file alone */
    {"rounds", "", 0, 0},
    {"total_least_gib", "", 0, 0},
    {"total_most_gib", "", 0, 0},
    {"anonymous_least_gib", "", 0, 0},
    {"anonymous_most_gib", "", 0, 0},
    {"swap_gib", "", 0, 0},
};

enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0]),
    SHOWN = COLUMNS - 6
};

static void fill_cells(bench_cell *cells, const json_t *row)
{
    const bool measured = is_measured(row);
    const double none = (double)NAN;
    const double plan = bench_get_real(row, "plan_total");
    const bench_cell all[COLUMNS] = {
        bench_text(bench_get_text(row, "shape")),
        bench_text(bench_get_text(row, "way")),
        bench_text(bench_get_text(row, "result")),
        bench_number(bench_get_real(row, "parameters")),
        bench_number(bench_get_real(row, "trainable")),
        bench_number(memory_of(row, true) / gib),
        bench_number(memory_of(row, false) / gib),
        bench_number(measured ? bench_get_real(row, "file") / gib : none),
        bench_number(plan / gib),
        bench_number(bench_get_real(row, "plan_anonymous") / gib),
        bench_number(bench_get_real(row, "plan_error_percent")),
        bench_number(bench_get_real(row, "parts_error_percent")),
        bench_number(bench_get_real(row, "first_loss")),
        bench_number(bench_get_real(row, "tokens_per_second")),
        bench_number(bench_get_real(row, "spread_percent")),
        bench_number(bench_get_real(row, "rounds")),
        bench_number(bench_get_real(row, "peak_least") / gib),
        bench_number(bench_get_real(row, "peak_most") / gib),
        bench_number(bench_get_real(row, "anonymous_least") / gib),
        bench_number(bench_get_real(row, "anonymous_most") / gib),
        bench_number(bench_get_real(row, "swap") / gib),
    };

    memcpy(cells, all, sizeof(all));
}

static void show_list(const json_t *list, const bench_table *t)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        bench_cell cells[COLUMNS];

        fill_cells(cells, json_array_get(list, i));
        bench_table_row(t, cells);
    }
}

/* How far the peaks of what was measured several times lie apart, MiB. */
static void show_rounds(const json_t *list)
{
    static const bench_column heads[] = {
        {"shape", "shape", -13, BENCH_TEXT},
        {"way", "method", -12, BENCH_TEXT},
        {"rounds", "rounds", 6, 0},
        {"peak_least", "all, least", 10, 1},
        {"peak", "middle", 9, 1},
        {"peak_most", "most", 9, 1},
        {"anonymous_least", "private, least", 14, 1},
        {"anonymous", "middle", 9, 1},
        {"anonymous_most", "most", 9, 1},
        {"swap", "swapped", 7, 1},
    };
    const bench_table t = {"rounds", heads, sizeof(heads) / sizeof(heads[0]),
                           false};
    const double mib = 1 << 20;

    puts("\nPeaks of all rounds, MiB; memory elsewhere is that of the middle "
         "one");
    bench_table_head(&t);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        bench_cell cells[sizeof(heads) / sizeof(heads[0])];

        cells[0] = bench_text(bench_get_text(row, "shape"));
        cells[1] = bench_text(bench_get_text(row, "way"));
        cells[2] = bench_number(bench_get_real(row, "rounds"));
        for (size_t k = 3; k < t.n; k++) {
            cells[k] = bench_number(bench_get_real(row, heads[k].key) / mib);
        }
        bench_table_row(&t, cells);
    }
}

/* Where the memory of what was measured went, MiB. */
static void show_parts(const json_t *list)
{
    static const bench_column heads[] = {
        {"shape", "shape", -13, BENCH_TEXT},
        {"way", "method", -12, BENCH_TEXT},
        {"weights", "weights", 8, 1},
        {"trained", "trained", 8, 1},
        {"gradients", "gradients", 9, 1},
        {"optimizer", "optimizer", 9, 1},
        {"activations", "activ.", 8, 1},
        {"work space", "work", 8, 1},
        {"data", "data", 6, 1},
        {"texts", "texts", 6, 1},
        {"program", "program", 7, 1},
        {"private", "private", 8, 1},
    };
    const bench_table t = {"parts", heads, sizeof(heads) / sizeof(heads[0]),
                           false};
    const double mib = 1 << 20;

    puts(
        "\nHeld at most, by purpose, MiB, as the allocator counts it; program: "
        "what it does not know of");
    bench_table_head(&t);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        bench_cell cells[sizeof(heads) / sizeof(heads[0])];

        cells[0] = bench_text(bench_get_text(row, "shape"));
        cells[1] = bench_text(bench_get_text(row, "way"));
        for (int tag = QL_PLAN_WEIGHTS; tag <= QL_PLAN_DATA; tag++) {
            cells[2 + tag] = bench_number(
                bench_get_part(row, "held",
                               ql_plan_part_name((ql_plan_part)tag)) /
                mib);
        }
        cells[9] = bench_number(
            (bench_get_part(row, "held", ql_plan_part_name(QL_PLAN_TEXT)) +
             bench_get_part(row, "held", ql_plan_part_name(QL_PLAN_LOG))) /
            mib);
        cells[10] = bench_number(
            bench_get_part(row, "held", ql_plan_part_name(QL_PLAN_PROGRAM)) /
            mib);
        cells[11] = bench_number(bench_get_real(row, "anonymous") / mib);
        bench_table_row(&t, cells);
    }
}

static void show_published(const json_t *list)
{
    static const bench_column heads[] = {
        {"model", "model", -6, BENCH_TEXT},
        {"qlora_gb", "QLoRA", 7, 1},
        {"lora_gb", "LoRA 16", 7, 0},
        {"full_gb", "full", 7, 0},
        {"full_16bit_gb", "full 16", 7, 0},
        {"source", "source", -1, BENCH_TEXT},
    };
    const bench_table t = {"published", heads, 6, false};

    puts("\nPublished, on GPUs, GB; full: mixed precision, bf16 or fp16, "
         "parameters in 32 bits; full 16: pure bf16, or as the source says");
    bench_table_head(&t);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);

        bench_table_row(&t,
                        (const bench_cell[]){
                            bench_text(bench_get_text(o, "model")),
                            bench_number(bench_get_real(o, "qlora_gb")),
                            bench_number(bench_get_real(o, "lora_gb")),
                            bench_number(bench_get_real(o, "full_gb")),
                            bench_number(bench_get_real(o, "full_16bit_gb")),
                            bench_text(bench_get_text(o, "source")),
                        });
    }
}

static void show_floors(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const bool holds = json_is_true(json_object_get(o, "holds"));

        printf("%s%s: %.3f, %s; %s %g: %s\n", i ? "" : "\nFloors\n",
               bench_get_text(o, "what"), bench_get_real(o, "value"),
               bench_get_text(o, "kind"), bench_get_text(o, "bound"),
               bench_get_real(o, "limit"), holds ? "holds" : "DOES NOT HOLD");
    }
}

static void show_machine(const json_t *m)
{
    printf("qlora %s, %s build, %s; %s, %.0f threads of %.0f cores, %s, %.1f "
           "GiB; others at work: %.1f\n%s\n",
           bench_get_text(m, "version"), bench_get_text(m, "build"),
           bench_get_text(m, "compiler"), bench_get_text(m, "processor"),
           bench_get_real(m, "threads"), bench_get_real(m, "cores"),
           bench_get_text(m, "isa"), bench_get_real(m, "memory_gib"),
           bench_get_real(m, "load"), bench_get_text(m, "command"));
}

void bench_memory_text(const json_t *root, bool json)
{
    const bench_table t = {"memory", columns, SHOWN, false};
    const json_t *measured = json_object_get(root, "measured");
    const json_t *predicted = json_object_get(root, "predicted");

    if (json) {
        bench_put_line(json_object_get(root, "machine"));
        bench_put_lines(measured);
        bench_put_lines(predicted);
        bench_put_lines(json_object_get(root, "published"));
        bench_put_lines(json_object_get(root, "floors"));
        return;
    }
    show_machine(json_object_get(root, "machine"));
    bench_table_head(&t);
    show_list(measured, &t);
    show_list(predicted, &t);
    if (json_array_size(measured) > 0) {
        show_rounds(measured);
        show_parts(measured);
    }
    show_published(json_object_get(root, "published"));
    show_floors(json_object_get(root, "floors"));
}

/* In quotes, of which those inside are doubled. */
static ql_status csv_text(ql_buf *b, const char *text)
{
    QL_TRY(ql_buf_putc(b, '"'));
    for (; *text; text++) {
        QL_TRY(*text == '"' ? ql_buf_puts(b, "\"\"") : ql_buf_putc(b, *text));
    }
    return ql_buf_putc(b, '"');
}

static ql_status csv_row(ql_buf *b, const bench_cell *cells)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        QL_TRY(ql_buf_puts(b, i ? "," : ""));
        if (columns[i].decimals == BENCH_TEXT) {
            QL_TRY(csv_text(b, cells[i].text));
        } else if (isfinite(cells[i].number)) {
            QL_TRY(ql_buf_printf(b, "%.9g", cells[i].number));
        }
    }
    return ql_buf_puts(b, "\n");
}

static ql_status csv_list(ql_buf *b, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        bench_cell cells[COLUMNS];

        fill_cells(cells, json_array_get(list, i));
        QL_TRY(csv_row(b, cells));
    }
    return QL_OK;
}

ql_status bench_memory_csv(const json_t *root, const char *path)
{
    ql_buf b;
    ql_status st = QL_OK;

    ql_buf_init(&b, QL_TAG_TEXT, CSV_BYTES);
    for (size_t i = 0; i < COLUMNS; i++) {
        QL_TRY_DONE(ql_buf_printf(&b, "%s%s", i ? "," : "", columns[i].key));
    }
    QL_TRY_DONE(ql_buf_puts(&b, "\n"));
    QL_TRY_DONE(csv_list(&b, json_object_get(root, "measured")));
    QL_TRY_DONE(csv_list(&b, json_object_get(root, "predicted")));
    st = ql_file_write(path, b.data, b.len);
done:
    ql_buf_free(&b);
    return st;
}
