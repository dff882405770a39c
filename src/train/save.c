/* What a run writes: checkpoints, the best adapter, and at its end the output
 * folder. */
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/generation_config.h"
#include "src/convert/model_code.h"
#include "src/convert/peft.h"
#include "src/convert/trained_folder.h"
#include "src/train/metrics.h"
#include "src/train/trainer.h"

enum {
    MAX_REMARKS = 1 << 10
};

static const char *kind_of(const ql_trainer *t)
{
    return ql_trainer_full(t) ? "model" : "adapter";
}

bool ql_trainer_must_save(const ql_trainer *t)
{
    const ql_train_options *o = t->opt;
    const size_t step = t->progress.step;

    if (t->progress.finished) {
        return o->save_strategy != QL_STRATEGY_NO;
    }
    if (step == 0 || o->save_strategy == QL_STRATEGY_NO) {
        return false;
    }
    return o->save_strategy == QL_STRATEGY_EPOCH
               ? step % t->length.steps_per_epoch == 0
               : step % o->save_steps == 0;
}

ql_status ql_trainer_save_best(ql_trainer *t, const char *from)
{
    char *path = ql_path_join(t->out_dir, "best");
    ql_status st = QL_ENOMEM;
    ql_outdir d = {0};

    if (path) {
        QL_TRY_DONE(ql_outdir_init(&d, path, true));
        QL_TRY_DONE(from ? ql_trained_copy(ql_trainer_full(t), from, d.work)
                         : ql_trained_save(&t->adapter, t->m, true, d.work));
        st = ql_outdir_commit(&d);
    }
done:
    ql_outdir_free(&d);
    ql_free(path);
    return st;
}

/* best: where the best adapter is, if there is one. */
static ql_trainer_state state_of(const ql_trainer *t, const char *best)
{
    return (ql_trainer_state){
        .opt = t->opt,
        .length = t->length,
        .best_checkpoint = t->progress.best_step > 0 ? best : NULL,
    };
}

/* The checkpoint's own adapter may be the best. */
static ql_status write_checkpoint(ql_trainer *t, const char *path)
{
    const bool apart =
        t->progress.best_step > 0 && t->progress.best_step != t->progress.step;
    char *best = ql_path_join(t->out_dir, "best");
    const ql_trainer_state state = state_of(t, best);
    const ql_checkpoint_content content = {
        .progress = &t->progress,
        .adapter = &t->adapter,
        .model = t->m,
        .optimizer = t->optimizer,
        .history = &t->history,
        .state = &state,
        .identity = t->identity,
        .best = apart ? best : NULL,
    };
    const ql_status st = best ? ql_checkpoint_write(&content, path) : QL_ENOMEM;

    ql_free(best);
    return st;
}

/* What programs read of the run. */
static ql_status write_log(const ql_trainer *t)
{
    char *best = ql_path_join(t->out_dir, "best");
    char *metrics = ql_path_join(t->output.work, "metrics.csv");
    char *json = ql_path_join(t->output.work, "trainer_state.json");
    const ql_trainer_state state = state_of(t, best);
    ql_status st = best && metrics && json ? QL_OK : QL_ENOMEM;

    if (st == QL_OK) {
        st = ql_metrics_save(&t->history, metrics);
    }
    if (st == QL_OK) {
        st = ql_trainer_state_save(&state, &t->history, json);
    }
    ql_free(best);
    ql_free(metrics);
    ql_free(json);
    return st;
}

/* Lets people watch: what is read of the run, as it stands. Not where the
 * folder holds an adapter, which is replaced at the end with all of that. */
static void show_progress(ql_trainer *t, ql_report_state state, const char *why)
{
    if (ql_output_finished(t->out_dir, ql_trainer_full(t))) {
        return;
    }
    if (write_log(t) != QL_OK) {
        ql_warn("%s", ql_last_error());
    }
    ql_publish_files(&t->publish, t->output.work, state, why);
    if (ql_output_show(&t->output) != QL_OK) {
        ql_warn("%s", ql_last_error());
    }
}

/* There before the first checkpoint is. */
static void show_samples(ql_trainer *t)
{
    if (ql_output_finished(t->out_dir, ql_trainer_full(t))) {
        return;
    }
    ql_publish_before(&t->publish, t->output.work);
    if (ql_output_show(&t->output) != QL_OK) {
        ql_warn("%s", ql_last_error());
    }
}

ql_status ql_trainer_save(ql_trainer *t)
{
    ql_train_event e = {.kind = QL_TRAIN_SAVE, .step = t->progress.step};

    if (t->saved != t->progress.step) {
        char *path = ql_checkpoint_path(t->out_dir, t->progress.step);
        ql_status st;

        t->progress.result.seconds = ql_trainer_seconds(t);
        t->progress.next_rate = ql_trainer_rate(t, t->progress.step);
        show_samples(t);
        st = path ? write_checkpoint(t, path) : QL_ENOMEM;
        ql_free(path);
        QL_TRY(st);
        t->saved = t->progress.step;
        t->output.written = true;
        show_progress(t, QL_REPORT_RUNNING, NULL);
        ql_trainer_tell(t, &e);
    }
    return ql_checkpoint_prune(t->out_dir, t->progress.step,
                               t->opt->save_total_limit);
}

/* Copies the files that the tokenizer of the adapter's user needs, and those
 * that belong to a model. */
static ql_status copy_tokenizer(const ql_trainer *t)
{
    static const char *const names[] = {
        "tokenizer.json",  "tokenizer_config.json", "special_tokens_map.json",
        "tokenizer.model", "added_tokens.json",     "vocab.json",
        "merges.txt",      "chat_template.jinja",   "generation_config.json",
    };
    const size_t all = sizeof(names) / sizeof(names[0]);
    const size_t n = ql_trainer_full(t) ? all : all - 1;
    ql_status st = QL_OK;

    for (size_t i = 0; i < n; i++) {
        char *from = ql_path_join(t->m->dir, names[i]);
        char *to = ql_path_join(t->output.work, names[i]);

        if (!from || !to) {
            st = QL_ENOMEM;
        } else if (st == QL_OK && ql_path_exists(from)) {
            st = ql_file_copy(from, to);
        }
        ql_free(from);
        ql_free(to);
    }
    return st == QL_OK ? ql_model_code_carry(t->m->dir, t->output.work) : st;
}

static ql_status write_file(const ql_trainer *t, const char *name,
                            const char *text, size_t len)
{
    char *path = ql_path_join(t->output.work, name);
    const ql_status st = path ? ql_file_write(path, text, len) : QL_ENOMEM;

    ql_free(path);
    return st;
}

/* Puts the parameters of the best adapter in the place of the last. The
 * gradients are done with, so this takes no more memory than training did. */
static ql_status load_best_adapter(ql_trainer *t, const char *path)
{
    ql_adapter best = {0};
    ql_status st = ql_peft_load(&best, &t->m->config, path);

    if (st == QL_OK && t->adapter.taken) {
        st = ql_principal_restore(&t->adapter, NULL, &t->m->config, &best);
    } else if (st == QL_OK && best.count != t->adapter.count) {
        st = ql_fail(QL_EMISMATCH, "%s was changed by something else", path);
    } else if (st == QL_OK) {
        memcpy(t->adapter.param, best.param, best.count * sizeof(float));
    }
    if (st == QL_OK) {
        ql_adapter_settle(&t->adapter);
    }
    ql_adapter_free(&best);
    return st;
}

static ql_status load_best(ql_trainer *t)
{
    char *path = ql_path_join(t->out_dir, "best");
    ql_status st = QL_ENOMEM;

    ql_free(t->adapter.grad);
    t->adapter.grad = NULL;
    t->replaced = true;
    if (path) {
        st = ql_trainer_full(t) ? ql_trained_read(&t->adapter, path)
                                : load_best_adapter(t, path);
    }
    ql_free(path);
    return st;
}

/* A best adapter that is not of this run would mislead. */
static ql_status drop_foreign_best(const ql_trainer *t)
{
    char *path = ql_path_join(t->out_dir, "best");
    ql_status st = path ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && t->progress.best_step == 0 &&
        ql_output_finished(path, ql_trainer_full(t))) {
        st = ql_dir_discard(path);
    }
    ql_free(path);
    return st;
}

/* Adds to what the report says. */
static void remark(ql_buf *all, const char *text)
{
    if (ql_buf_printf(all, "%s%s", all->len > 0 ? "; " : "", text) != QL_OK) {
        ql_buf_clear(all);
    }
}

/* That a run ended early, and that what it made is worse than what it began
 * with. */
static void add_remarks(ql_trainer *t, ql_buf *all)
{
    ql_train_result *r = &t->progress.result;
    const bool best = t->publish.report.kept > 0;
    const double kept = best ? r->best_eval_loss : r->last_eval_loss;
    const bool known = best || t->progress.evaluated == t->progress.step + 1;
    char text[256];

    if (t->progress.step < t->length.total) {
        r->waited = ql_history_waited(&t->history);
        snprintf(text, sizeof(text),
                 "stopped early after step %zu of %zu: %zu evaluation%s "
                 "without a smaller loss",
                 t->progress.step, t->length.total, r->waited,
                 r->waited == 1 ? "" : "s");
        ql_note("%s", text);
        remark(all, text);
    }
    if (known && kept > r->first_eval_loss) { /* neither is NaN */
        snprintf(text, sizeof(text),
                 "the %s kept is worse than the model %s (evaluation loss %.4f "
                 "against %.4f): lower --learning-rate",
                 kind_of(t),
                 t->opt->adapter || ql_trainer_full(t) ? "as it was before"
                                                       : "without it",
                 kept, r->first_eval_loss);
        ql_warn("%s", text);
        remark(all, text);
    }
}

static ql_train_event done_event(const ql_trainer *t)
{
    const ql_history_sum *all = &t->history.all;
    ql_train_event e = {.kind = QL_TRAIN_DONE, .step = all->steps};

    ql_trainer_complete(t, &e);
    if (all->steps > 0) {
        e.loss = all->loss.sum / (double)all->loss.count;
        e.tokens_per_second = (double)all->tokens / all->seconds;
    }
    return e;
}

static void tell_samples(ql_trainer *t)
{
    for (size_t i = 0; i < t->publish.samples.n; i++) {
        const ql_sample_text *s = &t->publish.samples.texts[i];
        const ql_train_sample sample = {s->prompt, s->expected, s->before,
                                        s->after};
        ql_train_event e = {.kind = QL_TRAIN_SAMPLE,
                            .step = t->progress.step,
                            .sample = &sample};

        ql_trainer_tell(t, &e);
    }
}

/* All files of the output folder but those of what was trained. */
static ql_status write_rest(ql_trainer *t)
{
    const char *form = ql_dataset_chat_template(t->batches.ds);
    ql_buf remarks;

    QL_TRY(copy_tokenizer(t));
    if (form) {
        QL_TRY(write_file(t, "chat_template.jinja", form, strlen(form)));
    }
    QL_TRY(write_log(t));
    ql_buf_init(&remarks, QL_TAG_MISC, MAX_REMARKS);
    add_remarks(t, &remarks);
    ql_publish_files(&t->publish, t->output.work, QL_REPORT_FINISHED,
                     remarks.len > 0 ? remarks.data : NULL);
    t->publish.report.why = NULL;
    ql_buf_free(&remarks);
    return QL_OK;
}

/* What is kept, and all that is written of a run that is at its end. */
static ql_status write_end(ql_trainer *t)
{
    if (t->opt->load_best_model_at_end && t->progress.best_step > 0 &&
        t->progress.best_step != t->progress.step) {
        QL_TRY(load_best(t));
        t->publish.report.kept = t->progress.best_step;
    }
    ql_publish_samples(&t->publish, t->run, ql_trainer_longest(t));
    QL_TRY(drop_foreign_best(t));
    QL_TRY(write_rest(t));
    QL_TRY(ql_trained_save(&t->adapter, t->m, false, t->output.work));
    if (ql_trainer_full(t)) {
        QL_TRY(ql_generation_config_end(t->output.work));
    }
    return ql_output_commit(&t->output);
}

ql_status ql_trainer_finish(ql_trainer *t)
{
    ql_train_event e = done_event(t);
    ql_status st;

    QL_TRY(ql_trainer_log(t, &e));
    st = write_end(t);
    if (st != QL_OK) {
        ql_history_drop(&t->history);
        return st;
    }
    tell_samples(t);
    ql_trainer_tell(t, &e);
    return QL_OK;
}

/* Where the optimizer's state is lost, the adapter is all there is. */
static ql_status save_adapter(ql_trainer *t)
{
    char name[48];
    char *path;
    ql_status st = QL_ENOMEM;
    ql_outdir d = {0};

    snprintf(name, sizeof(name), "%s-%zu", kind_of(t), t->progress.step);
    path = ql_path_join(t->out_dir, name);
    if (path) {
        QL_TRY_DONE(ql_outdir_init(&d, path, true));
        QL_TRY_DONE(ql_trained_save(&t->adapter, t->m, true, d.work));
        st = ql_outdir_commit(&d);
        t->output.written = st == QL_OK;
    }
done:
    ql_outdir_free(&d);
    ql_free(path);
    return st;
}

/* The report says how it ended. The sentence stays what it is. */
static ql_status show_end(ql_trainer *t, ql_status st)
{
    char *why = ql_strdup(QL_TAG_MISC, ql_last_error());

    if (!why) {
        return QL_ENOMEM;
    }
    show_progress(t, st == QL_ECANCELLED ? QL_REPORT_STOPPED : QL_REPORT_FAILED,
                  why);
    ql_fail(st, "%s", why);
    ql_free(why);
    return st;
}

/* What was to be saved at the end is not; the sentence is why. One reason for
 * both is told once. */
static ql_status tell_both(ql_status st, const char *why, ql_status saved,
                           const char *name)
{
    char *second;

    if (saved == st) {
        return ql_fail(st, "%s", why);
    }
    second = ql_strdup(QL_TAG_MISC, ql_last_error());
    if (!second) {
        return QL_ENOMEM;
    }
    ql_fail(st, "%s; and the %s could not be written: %s", why, name, second);
    ql_free(second);
    return st;
}

/* Removes what was made for the end, which would be shown: it was not reached,
 * and what is left needs the room. */
static void clear_work(const ql_trainer *t)
{
    if (ql_dir_remove(t->output.work) != QL_OK ||
        ql_dir_make(t->output.work) != QL_OK) {
        ql_warn("%s", ql_last_error());
    }
}

/* Saves the checkpoint of this step, or what of it is sound, and adds to why
 * what became of it. *shown: there is a folder for the report. */
static ql_status save_rest(ql_trainer *t, ql_status st, const char *why,
                           bool *shown)
{
    const size_t step = t->progress.step;
    const bool whole = !t->unsound || t->saved == step;
    const char *name = whole ? "checkpoint" : kind_of(t);
    const ql_status saved = whole ? ql_trainer_save(t) : save_adapter(t);

    /* a run that only could not write leaves nothing, if nothing is there */
    *shown = saved != st || t->output.written || t->saved > 0;
    if (saved == QL_OK) {
        return ql_fail(st, "%s; the %s of step %zu is in %s/%s-%zu", why, name,
                       step, t->out_dir, name, step);
    }
    return tell_both(st, why, saved, name);
}

ql_status ql_trainer_rescue(ql_trainer *t, ql_status st)
{
    bool shown = true;
    char *why;

    if (t->progress.step == 0) {
        return ql_fail(st, "%s; nothing was written", ql_last_error());
    }
    why = ql_strdup(QL_TAG_MISC, ql_last_error());
    if (!why) {
        return QL_ENOMEM;
    }
    clear_work(t);
    if (!t->replaced || t->saved == t->progress.step) {
        st = save_rest(t, st, why, &shown);
    } else if (t->publish.report.kept == 0) {
        ql_fail(st, "%s", why); /* the best is what could not be read */
    } else {
        ql_fail(st, "%s; the best %s, of step %zu, is in %s/best", why,
                kind_of(t), t->progress.best_step, t->out_dir);
    }
    ql_free(why);
    return shown ? show_end(t, st) : st;
}
