/* Going on from a checkpoint: which one, whether it belongs to this run, and
 * what a change of settings means for the rest of it. */
#include <stdio.h>
#include <string.h>

#include "src/base/crc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/trained_folder.h"
#include "src/train/identity.h"
#include "src/train/trainer.h"

enum {
    MAX_CHANGES = 1 << 16
};

/* Sees whether the run can go on from a checkpoint. changes: what differs and
 * does no harm. */
static ql_status agrees(const ql_trainer *t, const ql_checkpoint *c,
                        ql_buf *changes)
{
    ql_status st;

    ql_buf_clear(changes);
    st = ql_identity_compare(c->identity, t->identity, changes);
    if (st == QL_OK && c->progress.step > t->length.total) {
        st = ql_fail(QL_EMISMATCH, "it is beyond the %zu steps asked for",
                     t->length.total);
    }
    return st == QL_OK
               ? st
               : ql_fail_prefix(st, "the run cannot go on from %s: ", c->path);
}

/* Closes it unless the run can go on from it. */
static ql_status keep_if_agrees(const ql_trainer *t, ql_checkpoint *c,
                                ql_buf *changes)
{
    const ql_status st = agrees(t, c, changes);

    if (st != QL_OK) {
        ql_checkpoint_free(c);
    }
    return st;
}

/* Opens a checkpoint that can be gone on from. */
static ql_status open_checkpoint(const ql_trainer *t, ql_checkpoint *c,
                                 const char *path, ql_buf *changes)
{
    QL_TRY(ql_checkpoint_init(c, path));
    return keep_if_agrees(t, c, changes);
}

/* The run of a checkpoint is at its end and what it made is in the output
 * folder, which does not still hold what the run was to replace. */
static bool is_done(const ql_progress *p, const char *out_dir, bool full)
{
    return p->finished && ql_output_finished(out_dir, full) &&
           p->replaces != ql_output_written(out_dir, full);
}

/* The same in the output folder, where a run that is finished is not gone on
 * with: its adapter is there, and about to be replaced. */
static ql_status try_step(const ql_trainer *t, ql_checkpoint *c, size_t step,
                          ql_buf *changes)
{
    char *path = ql_checkpoint_path(t->out_dir, step);
    const ql_status st = path ? ql_checkpoint_init(c, path) : QL_ENOMEM;

    ql_free(path);
    QL_TRY(st);
    if (is_done(&c->progress, t->out_dir, ql_trainer_full(t))) {
        ql_checkpoint_free(c);
        return QL_OK;
    }
    return keep_if_agrees(t, c, changes);
}

/* The newest checkpoint of the output folder that can be used. */
static ql_status find_newest(const ql_trainer *t, ql_checkpoint *c,
                             ql_buf *changes)
{
    ql_status st = QL_OK;
    size_t newest;
    size_t *steps;
    size_t n;

    QL_TRY(ql_checkpoint_list(t->out_dir, &steps, &n));
    for (size_t i = 0; i < n; i++) {
        st = try_step(t, c, steps[i], changes);
        if (st == QL_OK || st == QL_ENOMEM) {
            break;
        }
        if (i + 1 < n) {
            ql_warn("%s; the checkpoint before it is looked at",
                    ql_last_error());
        }
    }
    newest = n > 0 ? steps[0] : 0;
    ql_free(steps);
    if (st == QL_OK && c->path && c->progress.step == newest &&
        n == t->opt->save_total_limit + 1) {
        /* the run was killed before the oldest went, most likely */
        return ql_checkpoint_prune(t->out_dir, newest,
                                   t->opt->save_total_limit);
    }
    if (st == QL_OK || st == QL_ENOMEM) {
        return st;
    }
    return ql_fail(st,
                   "%s; no checkpoint in %s can be used: name another folder, "
                   "or begin anew with --resume off --overwrite-output-dir",
                   ql_last_error(), t->out_dir);
}

/* Says where the run goes on, what was changed, and what becomes of the
 * schedule. */
static void tell(const ql_trainer *t, const ql_checkpoint *c,
                 const ql_buf *changes)
{
    const size_t step = c->progress.step;
    const size_t old = ql_identity_steps(c->identity);
    const double rate = ql_trainer_rate(t, step);

    ql_note("going on from %s, after step %zu of %zu", c->path, step,
            t->length.total);
    if (changes->len > 0) {
        ql_warn("since %s was written: %s", c->path, changes->data);
    }
    if (t->length.total != old) {
        ql_warn("the run now ends after step %zu instead of %zu",
                t->length.total, old);
    }
    if (step < t->length.total && step < old && rate != c->progress.next_rate &&
        t->opt->lr_scheduler_type != QL_SCHEDULER_REDUCE_LR_ON_PLATEAU) {
        ql_warn("the learning rate of step %zu is now %g instead of %g",
                step + 1, rate, c->progress.next_rate);
    }
}

ql_status ql_trainer_find_checkpoint(ql_trainer *t, ql_checkpoint *c)
{
    const char *resume = t->opt->resume;
    ql_status st = QL_OK;
    ql_buf changes;

    *c = (ql_checkpoint){0};
    ql_buf_init(&changes, QL_TAG_TEXT, MAX_CHANGES);
    if (!resume || strcmp(resume, "auto") == 0) {
        st = find_newest(t, c, &changes);
    } else if (strcmp(resume, "off") != 0) {
        st = open_checkpoint(t, c, resume, &changes);
    }
    if (c->path) {
        tell(t, c, &changes);
    }
    ql_buf_free(&changes);
    return st;
}

/* The date of a checkpoint, if it can be read and its run is not finished. */
static ql_status date_of(const char *out_dir, bool full, const char *path,
                         char **date)
{
    const char *found;
    ql_checkpoint c;
    ql_status st = ql_checkpoint_peek(&c, path);

    if (st != QL_OK) {
        return st;
    }
    found = ql_identity_date(c.identity);
    if (found && !is_done(&c.progress, out_dir, full)) {
        *date = ql_strdup(QL_TAG_MISC, found);
        st = *date ? QL_OK : QL_ENOMEM;
    }
    ql_checkpoint_free(&c);
    return st;
}

/* What cannot be read is told of when the run goes on. */
ql_status ql_train_date(const char *out_dir, const ql_train_options *opt,
                        char **date)
{
    const bool is_auto = !opt->resume || strcmp(opt->resume, "auto") == 0;
    const bool full = opt->method == QL_METHOD_FULL;
    size_t *steps = NULL;
    size_t n = 0;
    ql_status st = QL_EFORMAT;

    *date = NULL;
    if (!is_auto && strcmp(opt->resume, "off") != 0) {
        st = date_of(out_dir, full, opt->resume, date);
    } else if (is_auto && ql_checkpoint_list(out_dir, &steps, &n) != QL_OK) {
        n = 0;
    }
    for (size_t i = 0; i < n && st != QL_OK && st != QL_ENOMEM; i++) {
        char *path = ql_checkpoint_path(out_dir, steps[i]);

        st = path ? date_of(out_dir, full, path, date) : QL_ENOMEM;
        ql_free(path);
    }
    ql_free(steps);
    return st == QL_ENOMEM ? st : QL_OK;
}

/* Sees to it that best/ holds the best adapter of the checkpoint: a run that
 * was killed may have gone further, or have been killed while replacing it. */
static ql_status restore_best(ql_trainer *t, const ql_checkpoint *c)
{
    const char *name = ql_trained_weights(ql_trainer_full(t));
    char *want = ql_path_join(c->best, name);
    char *dir = ql_path_join(t->out_dir, "best");
    char *have = dir ? ql_path_join(dir, name) : NULL;
    ql_status st = want && have ? QL_OK : QL_ENOMEM;
    uint32_t sums[2] = {0, 1};
    uint64_t bytes;

    if (st == QL_OK) {
        st = ql_file_crc32(want, &sums[0], &bytes);
    }
    if (st == QL_OK && (!ql_output_finished(dir, ql_trainer_full(t)) ||
                        ql_file_crc32(have, &sums[1], &bytes) != QL_OK ||
                        sums[0] != sums[1])) {
        st = ql_trainer_save_best(t, c->best);
    }
    ql_free(want);
    ql_free(dir);
    ql_free(have);
    return st;
}

/* What the evaluations so far have made of the learning rate. */
static void restore_schedule(ql_trainer *t)
{
    for (size_t i = 0; i < ql_history_size(&t->history); i++) {
        const ql_train_event *e = ql_history_row(&t->history, i);

        if (e->kind == QL_TRAIN_EVAL && e->step > 0 && !e->closing) {
            ql_schedule_see(&t->schedule, e->eval_loss);
        }
    }
}

ql_status ql_trainer_restore(ql_trainer *t, const ql_checkpoint *c)
{
    char *own = ql_checkpoint_path(t->out_dir, c->progress.step);

    if (!own) {
        return QL_ENOMEM;
    }
    t->progress = c->progress;
    t->progress.finished = false; /* it may be longer now */
    t->saved = strcmp(own, c->path) == 0 ? c->progress.step : 0;
    ql_free(own);
    QL_TRY(ql_checkpoint_load(c, t->optimizer, &t->history));
    restore_schedule(t);
    return c->best ? restore_best(t, c) : QL_OK;
}
