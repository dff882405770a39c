#include "src/train/publish.h"

#include <string.h>

#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/note.h"

enum {
    MAX_CARD = 1 << 24,
    RARELY = 100 /* times what writing takes goes by before it is done again */
};

static const char samples_name[] = "samples.json";
static const char settings_name[] = "run.yaml";

/* Tells of a failure. True if there was none. */
static bool worked(ql_status st)
{
    if (st != QL_OK) {
        ql_warn("%s", ql_last_error());
    }
    return st == QL_OK;
}

static void write_samples(ql_publish *p, ql_run *run, size_t max_length,
                          bool after)
{
    const ql_report *r = &p->report;

    if (p->samples.n > 0 &&
        !worked(ql_samples_write(&p->samples, run, r->model->config.V,
                                 r->opt->tokenizer, max_length, after))) {
        ql_samples_free(&p->samples);
    }
}

static ql_status save_samples(const ql_report *r, const char *path)
{
    return r->samples->n > 0 ? ql_samples_save(r->samples, path) : QL_OK;
}

/* What was written before the first step of a run that goes on. */
static void read_samples(ql_publish *p)
{
    char *path = ql_path_join(p->report.dir, samples_name);

    if (path && ql_path_exists(path)) {
        worked(ql_samples_load(&p->samples, path));
    }
    ql_free(path);
}

/* The rows of the step that a run goes on from are written again: there may be
 * more of it from a process that was killed behind its checkpoint. */
static void begin_board(ql_publish *p, size_t step)
{
    const ql_history *h = p->report.history;

    worked(ql_tensorboard_init(&p->board, p->report.dir, step));
    for (size_t i = 0; step > 0 && i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->step == step) {
            ql_publish_row(p, e);
        }
    }
}

void ql_publish_begin(ql_publish *p, ql_run *run, size_t max_length,
                      size_t step)
{
    const ql_report *r = &p->report;
    const ql_train_options *o = r->opt;

    p->report.samples = &p->samples;
    begin_board(p, step);
    if (o->tokenizer && o->sample_prompts > 0 &&
        !r->model->config.arch->classifier &&
        worked(ql_samples_init(&p->samples, r->eval ? r->eval : r->data,
                               o->sample_prompts, o->tokenizer, max_length))) {
        if (step > 0) {
            read_samples(p);
        } else {
            write_samples(p, run, max_length, false);
        }
    }
}

void ql_publish_row(ql_publish *p, const ql_train_event *e)
{
    worked(ql_tensorboard_add(&p->board, e));
}

void ql_publish_before(const ql_publish *p, const char *dir)
{
    char *there = ql_path_join(p->report.dir, samples_name);
    char *path = ql_path_join(dir, samples_name);

    if (!there || !path) {
        worked(QL_ENOMEM);
    } else if (!ql_path_exists(there)) {
        worked(save_samples(&p->report, path));
    }
    ql_free(there);
    ql_free(path);
}

void ql_publish_samples(ql_publish *p, ql_run *run, size_t max_length)
{
    write_samples(p, run, max_length, true);
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
        ql_warn("%s is not ours and stays as it is", path);
    }
    ql_free(text);
    ql_free(path);
    return foreign;
}

static ql_status save_card(const ql_report *r, const char *path)
{
    return is_foreign_card(r) ? QL_OK : ql_report_save_card(r, path);
}

/* A file of that name that was there before is replaced only where overwriting
 * was asked for. */
static ql_status save_settings(const ql_report *r, const char *path)
{
    const char *settings = r->opt->settings;
    char *there = ql_path_join(r->dir, settings_name);
    ql_status st = there ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && ql_path_exists(there) && !r->opt->overwrite_output_dir) {
        ql_warn("%s was there before and stays", there);
    } else if (st == QL_OK && settings) {
        st = ql_file_write(path, settings, strlen(settings));
    }
    ql_free(there);
    return st;
}

static void write_files(const ql_publish *p, const char *dir)
{
    static const struct {
        const char *name;
        ql_status (*save)(const ql_report *r, const char *path);
        bool at_end;
    } files[] = {
        {samples_name, save_samples, false},
        {"report.html", ql_report_save, false},
        {"README.md", save_card, true},
        {settings_name, save_settings, true},
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = ql_path_join(dir, files[i].name);

        if (!files[i].at_end || p->report.state == QL_REPORT_FINISHED) {
            worked(path ? files[i].save(&p->report, path) : QL_ENOMEM);
        }
        ql_free(path);
    }
}

void ql_publish_files(ql_publish *p, const char *dir, ql_report_state state,
                      const char *why)
{
    const double now = ql_now_s();

    p->report.state = state;
    p->report.why = why;
    if (state != QL_REPORT_RUNNING || now - p->written >= RARELY * p->cost) {
        write_files(p, dir);
        p->written = ql_now_s();
        p->cost = p->written - now;
    }
}

void ql_publish_free(ql_publish *p, bool keep)
{
    ql_tensorboard_free(&p->board, keep);
    ql_samples_free(&p->samples);
}
