#include "tools/train_screen.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli/fit.h"
#include "tools/cli/results.h"
#include "tools/sample_view.h"

void train_screen_model(const ql_model *m)
{
    char n[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];
    ql_model_info i;

    ql_model_info_read(m, &i);
    fprintf(stderr,
            "model: %s, %zu layers of width %zu, %s parameters, %zu of %zu "
            "linear layers in 4 bits, %s of weights\n",
            i.model_type, i.layers, i.hidden, cli_format_count(n, i.parameters),
            i.linear_4bit, i.linear_layers,
            cli_format_bytes(b, i.weight_bytes));
}

/* What each file was read as. */
static void show_files(const char *what, const ql_dataset *d)
{
    for (size_t i = 0; i < ql_dataset_files(d); i++) {
        const ql_dataset_report *r = ql_dataset_file_report(d, i);

        fprintf(stderr, "%s: %s: %s%s%s%s, %zu records, %zu samples\n", what,
                r->path, ql_format_name(r->format), *r->keys ? " (" : "",
                r->keys, *r->keys ? ")" : "", r->records, r->samples);
    }
}

void train_screen_data(const char *what, const ql_dataset *d)
{
    const ql_dataset_report *r = ql_dataset_report_of(d);
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];

    show_files(what, d);
    fprintf(stderr,
            "%s: %zu samples, %s tokens, %s of them trained (%.1f %%), "
            "longest %zu\n",
            what, r->samples, cli_format_count(a, r->tokens),
            cli_format_count(b, r->trained_tokens),
            r->tokens > 0 ? 100 * (double)r->trained_tokens / (double)r->tokens
                          : 0.0,
            r->longest);
    if (r->truncated + r->dropped_long + r->dropped_empty > 0) {
        fprintf(stderr,
                "%s: %zu cut to the maximum length, %zu left out as too long, "
                "%zu left out with nothing to train on\n",
                what, r->truncated, r->dropped_long, r->dropped_empty);
    }
}

ql_status train_screen_sample(const ql_tokenizer *tok, const ql_dataset *d)
{
    enum {
        MOST = 200 /* tokens */
    };
    const bool coloured = sample_view_coloured(stderr);
    ql_sample s = ql_dataset_sample(d, 0);
    const size_t all = s.n;

    s.n = all < MOST ? all : MOST;
    if (s.n < all) {
        fprintf(stderr, "first sample, %zu of %zu tokens; trained: %s\n", s.n,
                all, sample_view_mark(coloured, s));
    } else {
        fprintf(stderr, "first sample, %zu tokens; trained: %s\n", all,
                sample_view_mark(coloured, s));
    }
    return sample_view_print(stderr, coloured, tok, d, s);
}

enum {
    PARTS = 10,
    BAR = 16 /* columns */
};

/* The parts of a step's line; those of a live line only are empty. What is
 * left out first where the terminal is narrow has the highest rank. */
static void step_parts(cli_part parts[PARTS], const ql_train_event *e)
{
    char eta[CLI_TEXT_BYTES];
    char rss[CLI_TEXT_BYTES];
    char budget[CLI_TEXT_BYTES];
    const cli_part all[PARTS] = {
        {.rank = 0}, {.rank = 8}, {.rank = 1}, {.rank = 9}, {.rank = 7},
        {.rank = 5}, {.rank = 6}, {.rank = 3}, {.rank = 2}, {.rank = 4}};
    const size_t bytes = sizeof(parts[0].text);

    memcpy(parts, all, sizeof(all));
    snprintf(parts[0].text, bytes, "step %zu/%zu", e->step, e->total_steps);
    snprintf(parts[9].text, bytes, "mem %s of %s",
             cli_format_bytes(rss, e->memory.resident),
             cli_format_bytes(budget, e->plan->budget));
    if (e->tokens == 0) {
        return; /* no step is done yet */
    }
    snprintf(parts[2].text, bytes, "loss %.4f", e->loss);
    snprintf(parts[4].text, bytes, "acc %.3f", e->accuracy);
    snprintf(parts[5].text, bytes, "lr %.2e", e->learning_rate);
    snprintf(parts[6].text, bytes, "|g| %.3f", e->grad_norm);
    snprintf(parts[7].text, bytes, "%.0f tok/s", e->tokens_per_second);
    snprintf(parts[8].text, bytes, "ETA %s",
             cli_format_duration(eta, e->eta_s));
}

static void keep_loss(train_screen *s, double loss)
{
    if (s->n_losses == TRAIN_SCREEN_LOSSES) {
        memmove(s->losses, s->losses + 1,
                (TRAIN_SCREEN_LOSSES - 1) * sizeof(s->losses[0]));
        s->n_losses--;
    }
    s->losses[s->n_losses++] = loss;
}

static size_t width_of(const train_screen *s)
{
    return s->term.tty ? cli_term_width(&s->term) - 1 : SIZE_MAX;
}

/* A live line: with a bar for the share of the run that is done, and with the
 * course of the loss. */
static void show_live(train_screen *s, cli_part parts[PARTS], double share)
{
    char line[CLI_LINE_BYTES];

    cli_bar(&parts[1], BAR, share, s->term.utf8);
    cli_spark(&parts[3], s->losses, s->n_losses, s->term.utf8);
    cli_term_live(&s->term, cli_fit(line, parts, PARTS, width_of(s)));
}

/* Logged steps stay on the screen; below them, on a terminal, one live line. */
static void show_step(train_screen *s, const ql_train_event *e)
{
    cli_part parts[PARTS];
    char line[CLI_LINE_BYTES];

    step_parts(parts, e);
    if (e->log) {
        cli_term_line(&s->term, cli_fit(line, parts, PARTS, width_of(s)));
        keep_loss(s, e->loss);
    }
    show_live(s, parts, (double)e->step / (double)e->total_steps);
    s->last = *e;
}

/* Within a step: what the last one told, and how far this one is. */
static void show_batch(train_screen *s, const ql_train_event *e)
{
    const double part = (double)e->batches_done / (double)e->batches;
    cli_part parts[PARTS];

    s->last.plan = e->plan;
    s->last.memory = e->memory;
    s->last.eta_s = e->eta_s;
    step_parts(parts, &s->last);
    snprintf(parts[0].text, sizeof(parts[0].text),
             "step %zu/%zu, batch %zu/%zu", e->step, e->total_steps,
             e->batches_done, e->batches);
    show_live(s, parts, ((double)e->step - 1 + part) / (double)e->total_steps);
}

static void show_eval(train_screen *s, const ql_train_event *e)
{
    char line[160];

    if (e->classifies) {
        snprintf(line, sizeof(line),
                 "evaluation at step %zu: loss %.4f nats a text, accuracy "
                 "%.3f, F1 %.3f (%zu texts)",
                 e->step, e->eval_loss, e->eval_accuracy, e->eval_f1,
                 e->eval_tokens);
        cli_term_line(&s->term, line);
        return;
    }
    snprintf(line, sizeof(line),
             "evaluation at step %zu: loss %.4f nats a token, perplexity %.4g, "
             "accuracy %.3f (%zu tokens)",
             e->step, e->eval_loss, exp(e->eval_loss), e->eval_accuracy,
             e->eval_tokens);
    cli_term_line(&s->term, line);
}

/* The table of the memory plan: a result of a dry run, else news. */
static void show_memory(FILE *out, const ql_plan *p)
{
    char b[CLI_TEXT_BYTES];
    char c[CLI_TEXT_BYTES];

    fputs("memory plan:\n", out);
    for (int i = 0; i < QL_PLAN_PARTS; i++) {
        if (p->bytes[i] > 0) {
            fprintf(out, "  %-22s %10s\n", ql_plan_part_name((ql_plan_part)i),
                    cli_format_bytes(b, p->bytes[i]));
        }
    }
    fprintf(out, "  %-22s %10s of %s that it may have\n", "all",
            cli_format_bytes(b, p->total), cli_format_bytes(c, p->budget));
    if (p->peak > p->total) {
        fprintf(out, "  %-22s %10s, while the model was loaded\n", "before",
                cli_format_bytes(b, p->peak));
    }
    fprintf(out, "  activations are kept in %zu of %zu layers%s\n",
            p->keep_layers, p->layers,
            p->keep_layers < p->layers ? ", and made anew in the others" : "");
    if (p->keep_outputs > 0) {
        fprintf(out, "  but for what goes into the last norm in %zu of these\n",
                p->keep_outputs);
    }
    if (p->page_file > 0) {
        fprintf(out, "  %s of the optimizer's state are in a page file\n",
                cli_format_bytes(b, p->page_file));
    }
    if (p->activation_file > 0) {
        fprintf(out, "  inputs of %zu layers go to a file of %s\n",
                p->spill_layers, cli_format_bytes(b, p->activation_file));
    }
    if (p->weight_memory > 0) {
        fputs("  weights are read from disk layer by layer\n", out);
    }
}

static void show_plan(const ql_train_event *e)
{
    char n[CLI_TEXT_BYTES];

    show_memory(stderr, e->plan);
    if (e->fill > 0) {
        fprintf(stderr, "packing: %zu sequences in an epoch, %.1f %% full\n",
                e->sequences, 100 * e->fill);
    }
    fprintf(stderr, "training: %zu steps, %s trained parameters\n",
            e->total_steps, cli_format_count(n, e->trainable));
}

static void show_evaluating(train_screen *s, const ql_train_event *e)
{
    char line[96];

    snprintf(line, sizeof(line), "evaluating at step %zu: %zu of %zu batches",
             e->step, e->batches_done, e->batches);
    cli_term_live(&s->term, line);
}

static void print_memory_json(const ql_plan *p)
{
    static const char *const keys[QL_PLAN_PARTS] = {
        "weights", "trained", "gradients", "optimizer", "activations", "work",
        "data",    "text",    "log",       "program",   "mapped",      "files"};

    fputs("{\"memory_plan\": {", stdout);
    for (int i = 0; i < QL_PLAN_PARTS; i++) {
        printf("\"%s\": %llu, ", keys[i], (unsigned long long)p->bytes[i]);
    }
    printf("\"anonymous\": %llu, \"total\": %llu, \"peak\": %llu, \"budget\": "
           "%llu, "
           "\"page_file\": %llu, \"activation_file\": %llu, "
           "\"weight_memory\": %llu, "
           "\"layers\": %zu, \"keep_layers\": %zu, \"keep_outputs\": %zu}}\n",
           (unsigned long long)p->anonymous, (unsigned long long)p->total,
           (unsigned long long)p->peak, (unsigned long long)p->budget,
           (unsigned long long)p->page_file,
           (unsigned long long)p->activation_file,
           (unsigned long long)p->weight_memory, p->layers, p->keep_layers,
           p->keep_outputs);
}

/* A text on one line, cut to so many columns: what could move the cursor of a
 * terminal becomes blanks. */
static void print_text(const char *label, const char *text, size_t columns,
                       bool utf8)
{
    size_t n = 0;

    fprintf(stderr, "  %-9s", label);
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool begins = (c & 0xC0) != 0x80;
        const bool control =
            c < 0x20 || c == 0x7f || (c == 0xC2 && (unsigned char)p[1] < 0xA0);

        if (begins && n++ == columns) {
            fputs(utf8 ? "\u2026" : "...", stderr);
            break;
        }
        p += control && c == 0xC2;
        putc(control ? ' ' : *p, stderr);
    }
    putc('\n', stderr);
}

static void show_sample(train_screen *s, const ql_train_sample *x)
{
    enum {
        LABEL = 14,
        PLAIN = 200 /* columns, where it is not a terminal */
    };
    const size_t width = s->term.tty ? cli_term_width(&s->term) : PLAIN;
    const size_t columns = width > 2 * LABEL ? width - LABEL : LABEL;

    cli_term_clear(&s->term);
    fprintf(stderr, "sample %zu\n", s->samples);
    print_text("prompt", x->prompt, columns, s->term.utf8);
    if (x->before) {
        print_text("before", x->before, columns, s->term.utf8);
    }
    print_text("after", x->after, columns, s->term.utf8);
    print_text("in data", x->expected, columns, s->term.utf8);
}

static void print_sample(const train_screen *s, const ql_train_sample *x)
{
    printf("{\"sample\": %zu, \"prompt\": ", s->samples);
    cli_json_string(stdout, x->prompt);
    printf(", \"before\": ");
    if (x->before) {
        cli_json_string(stdout, x->before);
    } else {
        printf("null");
    }
    printf(", \"after\": ");
    cli_json_string(stdout, x->after);
    printf(", \"expected\": ");
    cli_json_string(stdout, x->expected);
    puts("}");
}

static void print_json(const train_screen *s, const ql_train_event *e)
{
    if (e->kind == QL_TRAIN_PLAN) {
        print_memory_json(e->plan);
        printf("{\"total_steps\": %zu, \"trainable_parameters\": %zu, "
               "\"sequences\": %zu, \"packing_fill\": %.6g}\n",
               e->total_steps, e->trainable, e->sequences, e->fill);
    } else if (e->kind == QL_TRAIN_STEP && e->log) {
        printf("{\"step\": %zu, \"epoch\": %.6g, \"loss\": %.9g, "
               "\"mean_token_accuracy\": %.6g, \"learning_rate\": %.9g, "
               "\"grad_norm\": %.9g, \"tokens_per_second\": %.6g, "
               "\"num_tokens\": %zu, \"rss_bytes\": %llu}\n",
               e->step, e->epoch, e->loss, e->accuracy, e->learning_rate,
               e->grad_norm, e->tokens_per_second, e->tokens,
               (unsigned long long)e->memory.resident);
    } else if (e->kind == QL_TRAIN_EVAL) {
        printf("{\"step\": %zu, \"eval_loss\": %.9g, \"eval_perplexity\": "
               "%.9g, \"eval_mean_token_accuracy\": %.6g, \"eval_tokens\": "
               "%zu",
               e->step, e->eval_loss, fmin(exp(e->eval_loss), DBL_MAX),
               e->eval_accuracy, e->eval_tokens);
        if (e->classifies) {
            printf(", \"eval_accuracy\": %.6g, \"eval_f1\": %.6g",
                   e->eval_accuracy, e->eval_f1);
        }
        puts("}");
    } else if (e->kind == QL_TRAIN_SAMPLE) {
        print_sample(s, e->sample);
    }
    fflush(stdout);
}

bool train_screen_event(const ql_train_event *e, void *user)
{
    train_screen *s = user;

    s->samples += e->kind == QL_TRAIN_SAMPLE;
    if (s->common->json) {
        print_json(s, e);
    }
    if (!s->common->quiet) {
        if (e->kind == QL_TRAIN_PLAN) {
            show_plan(e);
        } else if (e->kind == QL_TRAIN_STEP) {
            show_step(s, e);
        } else if (e->kind == QL_TRAIN_BATCH) {
            show_batch(s, e);
        } else if (e->kind == QL_TRAIN_EVALUATING) {
            show_evaluating(s, e);
        } else if (e->kind == QL_TRAIN_EVAL) {
            show_eval(s, e);
        } else if (e->kind == QL_TRAIN_SAMPLE) {
            show_sample(s, e->sample);
        }
    }
    return !cli_interrupted();
}

void train_screen_dry_run(const cli_common *common, const ql_train_result *r)
{
    if (!common->json) {
        show_memory(stdout, &r->plan);
    }
}

void train_screen_refused(const cli_common *common, const ql_train_result *r)
{
    if (r->plan.total <= r->plan.budget) {
        return; /* it was not the plan */
    }
    if (common->json) {
        print_memory_json(&r->plan);
    } else if (!common->quiet) {
        show_memory(stderr, &r->plan);
    }
}

/* A part of the line that sets what was measured beside the plan. */
static void show_measured(const char *what, uint64_t took, uint64_t planned,
                          const char *end)
{
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];

    printf(" %s %s of %s%s", what, cli_format_bytes(a, took),
           cli_format_bytes(b, planned), end);
}

static void show_streaming(const ql_train_result *r)
{
    char bytes[CLI_TEXT_BYTES];

    if (r->weights_read > 0) {
        printf("weights: %s read layer by layer, %llu waits, %.1f s\n",
               cli_format_bytes(bytes, r->weights_read),
               (unsigned long long)r->weight_stalls, r->weight_stall_s);
    }
}

/* What evaluations say of the run, behind other keys. */
static void print_evaluated(const ql_train_result *r)
{
    printf(", \"stopped_early\": %s", r->waited > 0 ? "true" : "false");
    if (!isnan(r->first_eval_loss)) {
        printf(", \"first_eval_loss\": %.9g", r->first_eval_loss);
    }
    if (!isnan(r->last_eval_loss)) {
        printf(", \"eval_loss\": %.9g", r->last_eval_loss);
    }
    if (r->best_step > 0) {
        printf(", \"best_step\": %zu, \"best_eval_loss\": %.9g", r->best_step,
               r->best_eval_loss);
    }
}

void train_screen_result(const train_options *o, const cli_common *common,
                         const ql_train_result *r)
{
    char peak[CLI_TEXT_BYTES];
    char time[CLI_TEXT_BYTES];
    ql_memory_use mem;

    ql_memory_read(&mem);
    if (common->json) {
        printf("{\"steps\": %zu, \"tokens\": %zu, \"trained_tokens\": %zu, "
               "\"train_runtime\": %.3f, \"peak_rss_bytes\": %llu, "
               "\"peak_anonymous_bytes\": %llu, \"peak_file_bytes\": %llu, "
               "\"weights_read_bytes\": %llu, "
               "\"weight_stalls\": %llu, \"weight_stall_s\": %.3f, "
               "\"output_dir\": ",
               r->steps, r->tokens, r->trained_tokens, r->seconds,
               (unsigned long long)mem.peak,
               (unsigned long long)r->peak_anonymous,
               (unsigned long long)r->peak_file,
               (unsigned long long)r->weights_read,
               (unsigned long long)r->weight_stalls, r->weight_stall_s);
        cli_json_string(stdout, o->output);
        print_evaluated(r);
        puts("}");
        return;
    }
    printf("steps: %zu, time: %s, tokens/s: %.0f, peak memory: %s\n", r->steps,
           cli_format_duration(time, r->seconds),
           r->seconds > 0 ? (double)r->tokens / r->seconds : 0.0,
           cli_format_bytes(peak, mem.peak));
    fputs("memory, measured of planned:", stdout);
    show_measured("private", r->peak_anonymous, r->plan.anonymous, ",");
    show_measured("mapped files", r->peak_file,
                  r->plan.bytes[QL_PLAN_MAPPED] + r->plan.bytes[QL_PLAN_FILES],
                  ",");
    show_measured("all", mem.peak, r->plan.peak, "\n");
    show_streaming(r);
    printf("train loss: %.4f -> %.4f\n", r->first_loss, r->last_loss);
    if (!isnan(r->last_eval_loss)) {
        printf("eval loss:  %.4f -> %.4f\n", r->first_eval_loss,
               r->last_eval_loss);
    }
    if (o->t.load_best_model_at_end && r->best_step > 0 &&
        r->best_step < r->steps) {
        printf("kept:       step %zu, eval loss %.4f\n", r->best_step,
               r->best_eval_loss);
    }
    printf("%s: %s\n", o->t.method == QL_METHOD_FULL ? "model" : "adapter",
           o->output);
    printf("report: %s/report.html\n", o->output);
}
