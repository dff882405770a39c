#include "tools/train_screen.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "tools/cli/results.h"

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

static void show_step(train_screen *s, const ql_train_event *e)
{
    char eta[CLI_TEXT_BYTES];
    char rss[CLI_TEXT_BYTES];
    char line[256];
    ql_memory_use mem;

    ql_memory_read(&mem);
    snprintf(line, sizeof(line),
             "step %zu/%zu  loss %.4f  acc %.3f  lr %.2e  |g| %.3f  %.0f tok/s "
             " ETA %s  mem %s",
             e->step, e->total_steps, e->loss, e->accuracy, e->learning_rate,
             e->grad_norm, e->tokens_per_second,
             cli_format_duration(eta, e->eta_s),
             cli_format_bytes(rss, mem.resident));
    if (e->log) {
        cli_term_line(&s->term, line);
    } else {
        cli_term_live(&s->term, line);
    }
}

static void show_eval(train_screen *s, const ql_train_event *e)
{
    char line[160];

    snprintf(line, sizeof(line),
             "evaluation at step %zu: loss %.4f nats a token, perplexity %.2f, "
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
    fprintf(out, "  activations are kept in %zu of %zu layers%s\n",
            p->keep_layers, p->layers,
            p->keep_layers < p->layers ? ", and made anew in the others" : "");
    if (p->page_file > 0) {
        fprintf(out, "  %s of the optimizer's state are in a page file\n",
                cli_format_bytes(b, p->page_file));
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
             e->step, e->eval_done, e->eval_batches);
    cli_term_live(&s->term, line);
}

static void print_memory_json(const ql_plan *p)
{
    static const char *const keys[QL_PLAN_PARTS] = {
        "weights", "adapter", "gradients", "optimizer", "activations", "work",
        "data",    "text",    "log",       "program",   "mapped",      "files"};

    fputs("{\"memory_plan\": {", stdout);
    for (int i = 0; i < QL_PLAN_PARTS; i++) {
        printf("\"%s\": %llu, ", keys[i], (unsigned long long)p->bytes[i]);
    }
    printf("\"anonymous\": %llu, \"total\": %llu, \"budget\": %llu, "
           "\"page_file\": %llu, \"weight_memory\": %llu, "
           "\"layers\": %zu, \"keep_layers\": %zu}}\n",
           (unsigned long long)p->anonymous, (unsigned long long)p->total,
           (unsigned long long)p->budget, (unsigned long long)p->page_file,
           (unsigned long long)p->weight_memory, p->layers, p->keep_layers);
}

static void print_json(const ql_train_event *e)
{
    if (e->kind == QL_TRAIN_PLAN) {
        print_memory_json(e->plan);
        printf("{\"total_steps\": %zu, \"trainable_parameters\": %zu, "
               "\"sequences\": %zu, \"packing_fill\": %.6g}\n",
               e->total_steps, e->trainable, e->sequences, e->fill);
    } else if (e->kind == QL_TRAIN_STEP && e->log) {
        printf("{\"step\": %zu, \"epoch\": %.6g, \"loss\": %.9g, "
               "\"mean_token_accuracy\": %.6g, \"learning_rate\": %.9g, "
               "\"grad_norm\": %.9g, \"tokens_per_second\": %.6g}\n",
               e->step, e->epoch, e->loss, e->accuracy, e->learning_rate,
               e->grad_norm, e->tokens_per_second);
    } else if (e->kind == QL_TRAIN_EVAL) {
        printf("{\"step\": %zu, \"eval_loss\": %.9g, \"eval_perplexity\": "
               "%.9g, \"eval_mean_token_accuracy\": %.6g, \"eval_tokens\": "
               "%zu}\n",
               e->step, e->eval_loss, fmin(exp(e->eval_loss), DBL_MAX),
               e->eval_accuracy, e->eval_tokens);
    }
    fflush(stdout);
}

bool train_screen_event(const ql_train_event *e, void *user)
{
    train_screen *s = user;

    if (s->common->json) {
        print_json(e);
    }
    if (!s->common->quiet) {
        if (e->kind == QL_TRAIN_PLAN) {
            show_plan(e);
        } else if (e->kind == QL_TRAIN_STEP) {
            show_step(s, e);
        } else if (e->kind == QL_TRAIN_EVALUATING) {
            show_evaluating(s, e);
        } else if (e->kind == QL_TRAIN_EVAL) {
            show_eval(s, e);
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

void train_screen_result(const train_options *o, const cli_common *common,
                         const ql_train_result *r)
{
    char peak[CLI_TEXT_BYTES];
    char time[CLI_TEXT_BYTES];
    char all[CLI_TEXT_BYTES];
    char planned[CLI_TEXT_BYTES];
    ql_memory_use mem;

    ql_memory_read(&mem);
    if (common->json) {
        printf("{\"steps\": %zu, \"tokens\": %zu, \"trained_tokens\": %zu, "
               "\"train_runtime\": %.3f, \"peak_rss_bytes\": %llu, "
               "\"peak_anonymous_bytes\": %llu, \"output_dir\": ",
               r->steps, r->tokens, r->trained_tokens, r->seconds,
               (unsigned long long)mem.peak,
               (unsigned long long)r->peak_anonymous);
        cli_json_string(stdout, o->output);
        puts("}");
        return;
    }
    printf("steps: %zu, time: %s, tokens/s: %.0f, peak memory: %s\n", r->steps,
           cli_format_duration(time, r->seconds),
           r->seconds > 0 ? (double)r->tokens / r->seconds : 0.0,
           cli_format_bytes(peak, mem.peak));
    printf("memory: %s private of %s planned; with mapped files %s of %s\n",
           cli_format_bytes(time, r->peak_anonymous),
           cli_format_bytes(peak, r->plan.anonymous),
           cli_format_bytes(all, mem.peak),
           cli_format_bytes(planned, r->plan.total));
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
    printf("adapter: %s\n", o->output);
}
