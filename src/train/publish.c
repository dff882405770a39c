#include "src/train/publish.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/note.h"
#include "src/train/metrics.h"
#include "src/train/trainer_state.h"

enum {
    MAX_CARD = 1 << 24
};

/* Tells of a failure. True if there was none. */
static bool worked(ql_status st)
{
    if (st != QL_OK) {
        ql_note("%s", ql_last_error());
    }
    return st == QL_OK;
}

static void write_samples(ql_publish *p, ql_run *run, bool after)
{
    const ql_report *r = &p->report;

    if (p->samples.n > 0 &&
        !worked(ql_samples_write(&p->samples, run, r->model->config.V,
                                 r->opt->tokenizer, p->max_length, after))) {
        ql_samples_free(&p->samples);
    }
}

void ql_publish_begin(ql_publish *p, ql_run *run, size_t step)
{
    const ql_report *r = &p->report;

    p->report.samples = &p->samples;
    worked(ql_tensorboard_init(&p->board, r->dir, step));
    if (r->opt->tokenizer && r->opt->sample_prompts > 0 &&
        worked(ql_samples_init(&p->samples, r->eval ? r->eval : r->data,
                               r->opt->sample_prompts, r->opt->tokenizer,
                               p->max_length))) {
        write_samples(p, run, false);
    }
}

void ql_publish_row(ql_publish *p, const ql_train_event *e)
{
    worked(ql_tensorboard_add(&p->board, e));
}

void ql_publish_samples(ql_publish *p, ql_run *run)
{
    write_samples(p, run, true);
}

static ql_status save_metrics(const ql_report *r, const char *path)
{
    return ql_metrics_save(r->history, path);
}

static ql_status save_state(const ql_report *r, const char *path)
{
    const ql_trainer_state s = {.opt = r->opt, .length = r->length};

    return ql_trainer_state_save(&s, r->history, path);
}

/* The user's own card, or another trainer's, is not for us to replace. */
static bool is_foreign_card(const ql_report *r)
{
    char *path = ql_path_join(r->dir, "README.md");
    char *text = NULL;
    size_t n;
    bool foreign = false;

    if (path && ql_path_exists(path) && !r->opt->overwrite_output_dir) {
        foreign = ql_file_read(path, MAX_CARD, &text, &n) != QL_OK ||
                  !strstr(text, "<!-- written by qlora-train");
    }
    if (foreign) {
        ql_note("%s is not ours and stays as it is", path);
    }
    ql_free(text);
    ql_free(path);
    return foreign;
}

static ql_status save_card(const ql_report *r, const char *path)
{
    return is_foreign_card(r) ? QL_OK : ql_report_save_card(r, path);
}

void ql_publish_files(ql_publish *p, const char *dir, ql_report_state state,
                      const char *why)
{
    static const struct {
        const char *name;
        ql_status (*save)(const ql_report *r, const char *path);
        bool at_end;
    } files[] = {
        {"metrics.csv", save_metrics, false},
        {"trainer_state.json", save_state, false},
        {"report.html", ql_report_save, false},
        {"README.md", save_card, true},
    };

    p->report.state = state;
    p->report.why = why;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = ql_path_join(dir, files[i].name);

        if (state != QL_REPORT_RUNNING || !files[i].at_end) {
            worked(path ? files[i].save(&p->report, path) : QL_ENOMEM);
        }
        ql_free(path);
    }
}

void ql_publish_free(ql_publish *p)
{
    ql_tensorboard_free(&p->board);
    ql_samples_free(&p->samples);
}
