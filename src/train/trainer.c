/* The course of a training: what it begins with, its steps, and its end. */
#include <math.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/base/rng.h"
#include "src/base/utf8_check.h"
#include "src/convert/adapter_begin.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/convert/trained_folder.h"
#include "src/model/full.h"
#include "src/train/identity.h"
#include "src/train/trainer.h"

static ql_adapter_options adapter_options(const ql_train_options *o)
{
    return (ql_adapter_options){.r = o->lora_r,
                                .alpha = o->lora_alpha,
                                .dropout = o->lora_dropout,
                                .rslora = o->use_rslora,
                                .full = o->method == QL_METHOD_FULL,
                                .half = o->dtype == QL_WEIGHT_BF16};
}

ql_status ql_train_check(const char *out_dir, const ql_train_options *opt)
{
    const ql_adapter_options adapter = adapter_options(opt);
    const bool anew = opt->resume && strcmp(opt->resume, "off") == 0;

    QL_TRY(ql_train_options_check(opt));
    QL_TRY(ql_adapter_options_check(&adapter));
    return ql_output_check(out_dir, adapter.full, opt->overwrite_output_dir,
                           anew);
}

ql_status ql_train_check_model(const char *model_dir,
                               const ql_train_options *opt)
{
    ql_config c;
    ql_status st;

    QL_TRY(ql_dir_need(model_dir, "give a Hugging Face model folder"));
    QL_TRY(ql_config_init(&c, model_dir));
    st = ql_adapter_fits(&c, opt);
    if (st == QL_OK && c.quantized && opt->method == QL_METHOD_FULL) {
        st = ql_fail(QL_EMISMATCH,
                     "%s: the model is in 4 bits, but method full trains all "
                     "weights; give the folder it was made from, or use "
                     "method qlora",
                     model_dir);
    }
    ql_config_free(&c);
    return st;
}

double ql_trainer_seconds(const ql_trainer *t)
{
    return t->started > 0 ? ql_now_s() - t->started
                          : t->progress.result.seconds;
}

void ql_trainer_complete(const ql_trainer *t, ql_train_event *e)
{
    const ql_history_sum *all = &t->history.all;

    e->total_steps = t->length.total;
    e->trainable = t->trainable;
    e->sequences = t->batches.packs;
    e->fill = t->batches.fill;
    e->epoch = (double)e->step / (double)t->length.steps_per_epoch;
    e->elapsed_s = ql_trainer_seconds(t);
    e->tokens = all->tokens;
    if (all->steps > 0) {
        e->eta_s = all->seconds / (double)all->steps *
                   (double)(t->length.total - t->progress.step);
    }
    e->plan = &t->plan;
    ql_memory_read(&e->memory);
}

static void keep_peak(uint64_t *peak, uint64_t bytes)
{
    *peak = bytes > *peak ? bytes : *peak;
}

/* What each part of the plan takes now. */
static void keep_peaks(uint64_t *peaks, const ql_memory_use *memory)
{
    uint64_t known = 0;

    for (int tag = 0; tag < QL_TAG_COUNT; tag++) {
        keep_peak(&peaks[tag], ql_alloc_bytes((ql_tag)tag));
        known += ql_alloc_bytes((ql_tag)tag);
    }
    if (memory->anonymous > known) {
        keep_peak(&peaks[QL_PLAN_PROGRAM], memory->anonymous - known);
    }
}

void ql_trainer_tell(ql_trainer *t, ql_train_event *e)
{
    ql_trainer_complete(t, e);
    keep_peaks(t->publish.report.peaks, &e->memory);
    keep_peak(&t->publish.report.peak_anonymous, e->memory.anonymous);
    keep_peak(&t->publish.report.peak_file, e->memory.file);
    t->told = ql_now_s();
    if (t->fn && !t->fn(e, t->user)) {
        t->stop = true;
    }
}

ql_status ql_trainer_log(ql_trainer *t, const ql_train_event *e)
{
    ql_publish_row(&t->publish, e);
    return ql_history_add(&t->history, e);
}

double ql_trainer_rate(const ql_trainer *t, size_t step)
{
    return ql_schedule_rate(&t->schedule, step);
}

/* Every id must have a row in the embedding. */
static ql_status check_ids(const ql_dataset *ds, size_t V)
{
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const ql_sample s = ql_dataset_sample(ds, i);

        for (size_t j = 0; j < s.n; j++) {
            if (s.ids[j] < 0 || (size_t)s.ids[j] >= V) {
                QL_FAIL(QL_EMISMATCH,
                        "token id %d is beyond the model's vocabulary of %zu; "
                        "the tokenizer belongs to another model",
                        (int)s.ids[j], V);
            }
        }
    }
    return QL_OK;
}

bool ql_trainer_full(const ql_trainer *t)
{
    return t->opt->method == QL_METHOD_FULL;
}

static ql_status check_method(const ql_trainer *t)
{
    static const char *const does[] = {
        [QL_METHOD_LORA] = "lora trains beside those of 16",
        [QL_METHOD_FULL] = "full trains all weights, in 16 or 32",
    };

    if (t->opt->method != QL_METHOD_QLORA && t->m->weights.quantized > 0) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %zu linear layers are in 4 bits, but method %s; give the "
                "folder they were made from, or use method qlora",
                t->m->dir, t->m->weights.quantized, does[t->opt->method]);
    }
    return QL_OK;
}

/* A model that is written must not take the place of the one it is made of. */
static ql_status check_place(const ql_trainer *t)
{
    if (ql_trainer_full(t) && ql_path_exists(t->out_dir) &&
        ql_path_within(t->out_dir, t->m->dir) &&
        ql_path_within(t->m->dir, t->out_dir)) {
        QL_FAIL(QL_EINVAL,
                "%s holds the model that is trained; name another folder",
                t->out_dir);
    }
    return QL_OK;
}

static ql_status check_paths(const ql_trainer *t)
{
    const char *adapter = t->opt->adapter ? t->opt->adapter : "";

    if (!ql_utf8_valid(t->m->dir, strlen(t->m->dir))) {
        QL_FAIL(QL_EINVAL, "the model's path is not UTF-8 text, which "
                           "adapter_config.json needs; rename the folder");
    }
    if (!ql_utf8_valid(adapter, strlen(adapter))) {
        QL_FAIL(QL_EINVAL, "the adapter's path is not UTF-8 text, which "
                           "checkpoint.json needs; rename the folder");
    }
    return QL_OK;
}

/* A run can only end early by more evaluations before its last step than it is
 * to wait for. */
static void note_patience(const ql_trainer *t)
{
    const ql_train_options *o = t->opt;
    const size_t every = o->eval_strategy == QL_STRATEGY_EPOCH
                             ? t->length.steps_per_epoch
                             : o->eval_steps;
    const size_t patience = o->early_stopping_patience;
    size_t n;

    if (patience == 0) {
        return;
    }
    n = (t->length.total - 1) / every;
    if (n <= patience) {
        ql_warn("early-stopping-patience %zu cannot end this run of %zu steps "
                "early: %zu evaluation%s due before its last step",
                patience, t->length.total, n, n == 1 ? " is" : "s are");
    }
}

static ql_status prepare_data(ql_trainer *t, const ql_dataset *data,
                              const ql_dataset *eval)
{
    const ql_train_options *o = t->opt;
    const ql_batches_options batches = {.size = o->per_device_train_batch_size,
                                        .packing = o->packing,
                                        .shuffle = o->shuffle,
                                        .seed = o->seed};
    const ql_batches_options whole = {.size = o->per_device_train_batch_size,
                                      .packing = o->packing,
                                      .shuffle = true}; /* to pack well */

    QL_TRY(check_ids(data, t->m->config.V));
    QL_TRY(ql_batches_init(&t->batches, data, &batches));
    if (eval) {
        QL_TRY(check_ids(eval, t->m->config.V));
        QL_TRY(ql_batches_init(&t->eval, eval, &whole));
        t->has_eval = true;
    }
    if (!eval && ql_train_options_evaluated(o)) {
        QL_FAIL(QL_EINVAL,
                "%s goes by the loss of evaluation data; give --eval-data or "
                "--eval-split",
                ql_train_options_evaluated(o));
    }
    t->length = ql_train_length_of(o, t->batches.n);
    note_patience(t);
    QL_TRY(
        ql_schedule_init(&t->schedule, o, t->length.warmup, t->length.total));
    return ql_identity_make(&t->identity, o, t->m, data, eval, &t->length);
}

/* An adapter with what it has taken off the base, from a checkpoint. */
static ql_status restore_adapter(ql_trainer *t, const char *dir)
{
    const ql_config *c = &t->m->config;
    ql_adapter twice;
    ql_status st;

    QL_TRY(ql_peft_load(&twice, c, dir));
    st = ql_adapter_make(&t->adapter, c, NULL, t->opt, 0, true);
    if (st == QL_OK) {
        st = ql_principal_restore(&t->adapter, &t->m->weights, c, &twice);
    }
    ql_adapter_free(&twice);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: ", dir);
}

/* An adapter of a folder, which must be what the options say. */
static ql_status load_adapter(ql_trainer *t, const char *dir)
{
    QL_TRY(ql_peft_load_onto(&t->adapter, t->m, dir));
    if (t->adapter.fixed) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: the adapter %s, and is not trained on; fold it into the "
                "model (qlora-export merge) and train that",
                dir, t->adapter.fixed);
    }
    QL_TRY(ql_adapter_matches(&t->adapter, &t->m->config, t->opt, dir));
    t->adapter.opt.dropout = t->opt->lora_dropout;
    return ql_adapter_train(&t->adapter);
}

/* All weights of a checkpoint. */
static ql_status load_full(ql_trainer *t, const char *dir)
{
    const ql_adapter_options how = adapter_options(t->opt);
    ql_status st = ql_full_init(&t->adapter, &t->m->config, &how, true);

    if (st == QL_OK) {
        st = ql_trained_read(&t->adapter, dir);
    }
    if (st != QL_OK) {
        ql_adapter_free(&t->adapter);
    }
    return st;
}

/* What the folder of a classifier does not have. */
static void note_fresh(const ql_trainer *t)
{
    const ql_weights *w = &t->m->weights;
    const ql_names *names = t->m->config.arch->names;
    const char *says = "it begins at random, and is to be trained";

    if (w->fresh_pooler) {
        ql_warn("the model has no %s%s: %s", w->base, names->pooler, says);
    }
    if (w->fresh_head) {
        ql_warn("the model has no %s: %s", names->head, says);
    }
}

/* from: the checkpoint to go on from; its path is NULL where there is none. */
static ql_status make_adapter(ql_trainer *t, const ql_checkpoint *from)
{
    const ql_train_options *o = t->opt;
    const char *dir = from->path ? from->path : o->adapter;
    ql_principal principal;

    QL_TRY(ql_adapter_principal(&principal, o));
    if (!dir) {
        note_fresh(t);
    }
    QL_TRY(from->path && ql_principal_takes(&principal)
               ? restore_adapter(t, dir)
           : dir && ql_trainer_full(t) ? load_full(t, dir)
           : dir                       ? load_adapter(t, dir)
                 : ql_adapter_make(&t->adapter, &t->m->config, &t->m->weights,
                                   o, ql_rng_split(o->seed, 1), true));
    ql_model_use_adapter(t->m, &t->adapter);
    return QL_OK;
}

/* The optimizer, whose page file, if any, has no name in the output folder. */
static ql_status make_optimizer(ql_trainer *t)
{
    const ql_adapter *a = &t->adapter;
    float *rates = ql_alloc(QL_TAG_MISC, a->n_tensors, sizeof(*rates));
    const ql_optimizer_options opt = {.kind = t->opt->optim,
                                      .memory = t->plan.optimizer_memory,
                                      .profile = &t->profile,
                                      .page_dir = t->output.work,
                                      .plain = a->n_plain,
                                      .half = a->n_half,
                                      .rate = rates};
    ql_status st = rates ? QL_OK : QL_ENOMEM;

    if (st == QL_OK) {
        ql_step_rates(rates, a, t->opt);
        st = ql_optimizer_open(&t->optimizer, &opt, a->sizes, a->n_tensors);
    }
    ql_free(rates);
    return st;
}

size_t ql_trainer_longest(const ql_trainer *t)
{
    const size_t a = t->batches.max_length;
    const size_t b = t->eval.max_length;

    return a > b ? a : b;
}

static ql_status make_run(ql_trainer *t)
{
    ql_run_options opt = ql_trainer_run_options(t);

    opt.profile = &t->profile;
    return ql_run_open(&t->run, t->m, &opt);
}

static ql_status set_up(ql_trainer *t, const ql_dataset *data,
                        const ql_dataset *eval)
{
    ql_checkpoint from = {0};
    ql_status st;

    QL_TRY(ql_train_check(t->out_dir, t->opt));
    QL_TRY(check_method(t));
    QL_TRY(check_place(t));
    QL_TRY(check_paths(t));
    QL_TRY(prepare_data(t, data, eval));
    QL_TRY(ql_trainer_plan(t));
    if (t->opt->dry_run) {
        return QL_OK;
    }
    QL_TRY(ql_output_init(&t->output, t->out_dir, ql_trainer_full(t)));
    QL_TRY_DONE(ql_trainer_find_checkpoint(t, &from));
    QL_TRY_DONE(make_adapter(t, &from));
    QL_TRY_DONE(make_optimizer(t));
    QL_TRY_DONE(ql_trainer_disk_need(t, &from));
    QL_TRY_DONE(make_run(t));
    QL_TRY_DONE(ql_history_reserve(&t->history, ql_trainer_log_rows(t)));
    st = from.path ? ql_trainer_restore(t, &from) : QL_OK;
    t->progress.replaces = ql_output_written(t->out_dir, ql_trainer_full(t));
done:
    ql_checkpoint_free(&from);
    return st;
}

/* The micro-batches of the step to come. */
static ql_step next_step(const ql_trainer *t)
{
    const size_t number = t->progress.step;
    const size_t a = t->opt->gradient_accumulation_steps;
    const size_t from = number % t->length.steps_per_epoch * a;

    return (ql_step){
        .from = from,
        .to = from + a < t->batches.n ? from + a : t->batches.n,
        .number = number,
        .lr = ql_trainer_rate(t, number),
    };
}

/* Counts a step that is done, tells and notes it. */
static ql_status note_step(ql_trainer *t, const ql_step *s, double seconds)
{
    const size_t step = s->number + 1;
    const ql_history_sum sum = {
        .loss = s->loss, .steps = 1, .tokens = s->tokens, .seconds = seconds};
    ql_train_result *r = &t->progress.result;
    ql_train_event e = {
        .kind = QL_TRAIN_STEP,
        .step = step,
        .learning_rate = s->lr,
        .grad_norm = s->grad_norm,
        .log = step % t->opt->logging_steps == 0 || step == 1 ||
               step == t->length.total,
    };

    ql_history_step(&t->history, &sum, &e);
    t->progress.step = r->steps = step;
    r->tokens = t->history.all.tokens;
    r->trained_tokens = t->history.all.loss.count;
    r->last_loss = s->loss.sum / (double)s->loss.count;
    if (step == 1) {
        r->first_loss = r->last_loss;
    }
    /* a run may end at any of these, with all its steps in the log */
    e.log |= t->opt->early_stopping_patience > 0 && ql_trainer_must_evaluate(t);
    ql_trainer_tell(t, &e);
    return e.log ? ql_trainer_log(t, &e) : QL_OK;
}

static void tell_batch(size_t done, size_t n, void *user)
{
    const double rarely = 0.25; /* seconds */
    ql_trainer *t = user;
    ql_train_event e = {.kind = QL_TRAIN_BATCH,
                        .step = t->progress.step + 1,
                        .batches_done = done,
                        .batches = n};

    if (done < n && ql_now_s() - t->told >= rarely) {
        ql_trainer_tell(t, &e);
    }
}

static ql_status do_step(ql_trainer *t)
{
    const double started = ql_now_s();
    ql_step s = next_step(t);
    ql_status st;

    s.fn = tell_batch;
    s.user = t;
    s.profile = &t->profile;
    ql_profile_mark(&t->profile, QL_WORK_DATA);
    if (s.from == 0) {
        ql_batches_begin(&t->batches, s.number / t->length.steps_per_epoch);
    }
    st =
        ql_step_run(&s, t->run, &t->batches, &t->adapter, t->optimizer, t->opt);
    t->unsound = s.spoilt;
    ql_profile_mark(&t->profile, QL_WORK_LOG);
    if (st == QL_OK) {
        st = note_step(t, &s, ql_now_s() - started);
    }
    ql_profile_mark(&t->profile, QL_WORK_OTHER);
    return st;
}

/* All steps are done, or evaluations have not become better for too long; and
 * none was left when asked to stop. */
static bool is_over(const ql_trainer *t)
{
    const size_t patience = t->opt->early_stopping_patience;

    return !ql_trainer_must_evaluate(t) &&
           (t->progress.step >= t->length.total ||
            (patience > 0 && ql_history_waited(&t->history) >= patience));
}

static void begin_publishing(ql_trainer *t)
{
    t->publish.report = (ql_report){
        .dir = t->out_dir,
        .history = &t->history,
        .opt = t->opt,
        .length = t->length,
        .trainable = t->trainable,
        .model = t->m,
        .adapter = &t->adapter,
        .plan = &t->plan,
        .data = t->batches.ds,
        .eval = t->eval.ds,
    };
    ql_publish_begin(&t->publish, t->run, ql_trainer_longest(t),
                     t->progress.step);
}

/* What did not go to training itself. */
static void note_times(ql_trainer *t)
{
    const double *seconds = t->profile.seconds;
    ql_train_result *r = &t->progress.result;

    r->data_s = seconds[QL_WORK_DATA];
    r->log_s = seconds[QL_WORK_LOG];
    r->save_s = seconds[QL_WORK_SAVE];
    r->paging_s = seconds[QL_WORK_PAGING];
}

/* After each number of steps, from those done so far: the evaluation that is
 * due, the checkpoint that is due, the next step. A checkpoint is thus that of
 * a step with all that belongs to it, and a run that goes on from it does the
 * same. */
static ql_status train(ql_trainer *t)
{
    ql_train_event plan = {.kind = QL_TRAIN_PLAN, .step = t->progress.step};
    ql_progress *p = &t->progress;

    ql_batches_begin(&t->batches, p->step / t->length.steps_per_epoch);
    ql_trainer_tell(t, &plan);
    begin_publishing(t);
    t->started = ql_now_s() - p->result.seconds;
    ql_profile_start(&t->profile);
    while (!t->stop && !p->finished) {
        if (ql_trainer_must_evaluate(t)) {
            QL_TRY(ql_trainer_evaluate(t));
        }
        p->finished = is_over(t);
        if (ql_trainer_must_save(t)) {
            ql_profile_mark(&t->profile, QL_WORK_SAVE);
            QL_TRY(ql_trainer_save(t));
            ql_profile_mark(&t->profile, QL_WORK_OTHER);
        }
        if (!t->stop && !p->finished) {
            QL_TRY(do_step(t));
        }
    }
    p->result.seconds = ql_trainer_seconds(t);
    note_times(t);
    if (!p->finished) {
        QL_FAIL(QL_ECANCELLED, "stopped after step %zu of %zu", p->step,
                t->length.total);
    }
    return QL_OK;
}

/* The adapter becomes the model's own. */
static void hand_over(ql_trainer *t)
{
    ql_adapter_freeze(&t->adapter);
    ql_adapter_free(&t->m->adapter);
    t->m->adapter = t->adapter;
    t->adapter = (ql_adapter){0};
    ql_model_use_adapter(t->m, NULL);
}

/* What is known at the end, however that came. */
static void fill_result(ql_trainer *t, ql_train_result *r)
{
    *r = t->progress.result;
    r->plan = t->plan;
    r->peak_anonymous = t->publish.report.peak_anonymous;
    r->peak_file = t->publish.report.peak_file;
    if (t->run) {
        const ql_stream_use use = ql_run_streamed(t->run);

        r->weights_read = use.bytes;
        r->weight_stalls = use.stalls;
        r->weight_stall_s = use.stall_s;
    }
}

static void clean_up(ql_trainer *t)
{
    ql_publish_free(&t->publish, t->output.written);
    ql_run_close(&t->run);
    ql_output_free(&t->output);
    ql_optimizer_close(&t->optimizer);
    ql_batches_free(&t->batches);
    ql_batches_free(&t->eval);
    ql_history_free(&t->history);
    json_decref(t->identity);
    if (t->adapter.param) {
        hand_over(t);
    }
}

ql_status ql_train(ql_model *model, const ql_dataset *data,
                   const ql_dataset *eval, const char *out_dir,
                   const ql_train_options *opt, ql_train_fn *fn, void *user,
                   ql_train_result *result)
{
    ql_trainer t = {.m = model,
                    .opt = opt,
                    .out_dir = out_dir,
                    .fn = fn,
                    .user = user,
                    .output = {.lock = -1},
                    .progress.result = {.first_eval_loss = (double)NAN,
                                        .last_eval_loss = (double)NAN,
                                        .best_eval_loss = (double)NAN}};
    ql_status st;

    ql_history_init(&t.history);
    st = set_up(&t, data, eval);
    if (st == QL_OK && opt->dry_run) {
        ql_trainer_tell(&t, &(ql_train_event){.kind = QL_TRAIN_PLAN});
    } else if (st == QL_OK) {
        st = train(&t);
        st = st == QL_OK ? ql_trainer_finish(&t) : st;
        st = st == QL_OK ? st : ql_trainer_rescue(&t, st);
    }
    if (result) {
        fill_result(&t, result);
    }
    clean_up(&t);
    return st;
}
