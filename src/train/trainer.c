/* The training loop: epochs, steps, evaluations, news, and the folder that
 * comes out of it. */
#include <math.h>
#include <string.h>

#include "qlora/train.h"
#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/quote.h"
#include "src/base/rng.h"
#include "src/convert/peft.h"
#include "src/train/metrics.h"
#include "src/train/options.h"
#include "src/train/output.h"
#include "src/train/step.h"
#include "src/train/trainer_state.h"

/* One call of ql_train. */
typedef struct trainer {
    ql_model *m;
    const ql_train_options *opt;
    const char *out_dir;
    ql_train_fn *fn;
    void *user;
    ql_train_result *result;
    ql_batches batches, eval;
    bool has_eval;
    ql_train_length length;
    ql_adapter adapter;
    ql_output output;
    ql_optimizer *optimizer;
    ql_run *run;
    ql_history history;
    double started; /* ql_now_s of the first step */
    bool stop;      /* the caller asked for it */
} trainer;

static ql_adapter_options adapter_options(const ql_train_options *o)
{
    return (ql_adapter_options){.r = o->lora_r,
                                .alpha = o->lora_alpha,
                                .dropout = o->lora_dropout,
                                .rslora = o->use_rslora,
                                .targets = o->lora_target_modules};
}

ql_status ql_train_check(const char *out_dir, const ql_train_options *opt)
{
    const ql_adapter_options adapter = adapter_options(opt);

    QL_TRY(ql_train_options_check(opt));
    QL_TRY(ql_adapter_options_check(&adapter));
    return ql_output_check(out_dir, opt->overwrite_output_dir);
}

/* Fills in what every event has. */
static void complete(const trainer *t, ql_train_event *e)
{
    const ql_history_sum *all = &t->history.all;

    e->total_steps = t->length.total;
    e->trainable = t->adapter.count;
    e->sequences = t->batches.packs;
    e->fill = t->batches.fill;
    e->epoch = (double)e->step / (double)t->length.steps_per_epoch;
    e->elapsed_s = t->started > 0 ? ql_now_s() - t->started : 0;
    e->tokens = all->tokens;
    if (all->steps > 0) {
        e->eta_s = all->seconds / (double)all->steps *
                   (double)(t->length.total - e->step);
    }
    ql_memory_read(&e->memory);
}

/* Sends an event; a refusal is remembered. */
static void tell(trainer *t, ql_train_event *e)
{
    complete(t, e);
    if (t->fn && !t->fn(e, t->user)) {
        t->stop = true;
    }
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

static ql_status make_adapter(trainer *t)
{
    const ql_train_options *o = t->opt;
    const ql_adapter_options opt = adapter_options(o);

    QL_TRY(ql_adapter_init(&t->adapter, &t->m->config, &opt,
                           ql_rng_split(o->seed, 1), true));
    ql_model_use_adapter(t->m, &t->adapter);
    return QL_OK;
}

/* The output folder and the optimizer, whose page file, if any, has no name in
 * it; there must be room for both. */
static ql_status make_output(trainer *t)
{
    const ql_adapter *a = &t->adapter;
    ql_optimizer_options opt = {.kind = t->opt->optim,
                                .memory = t->opt->optimizer_memory,
                                .page_dir = t->out_dir};
    ql_optimizer_need need;

    QL_TRY(ql_optimizer_plan(&need, &opt, a->sizes, 2 * a->n));
    QL_TRY(ql_output_init(&t->output, t->out_dir, t->opt->overwrite_output_dir,
                          a->count * sizeof(float) + need.file));
    opt.page_dir = t->output.work;
    return ql_optimizer_open(&t->optimizer, &opt, a->sizes, 2 * a->n);
}

static ql_status make_run(trainer *t)
{
    const ql_batches *a = &t->batches;
    const ql_batches *b = &t->eval; /* all zero without evaluation data */
    const ql_run_options opt = {
        .max_tokens =
            a->max_tokens > b->max_tokens ? a->max_tokens : b->max_tokens,
        .max_length =
            a->max_length > b->max_length ? a->max_length : b->max_length,
        .max_sequences = a->max_sequences > b->max_sequences ? a->max_sequences
                                                             : b->max_sequences,
        .training = true,
        .keep_layers = t->opt->gradient_checkpointing ? 0 : t->m->config.layers,
    };

    return ql_run_open(&t->run, t->m, &opt);
}

static ql_status set_up(trainer *t, const ql_dataset *data,
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

    QL_TRY(ql_train_options_check(o));
    if (!ql_utf8_valid(t->m->dir, strlen(t->m->dir))) {
        QL_FAIL(QL_EINVAL, "the model's path is not UTF-8 text, which "
                           "adapter_config.json needs; rename the folder");
    }
    QL_TRY(check_ids(data, t->m->config.V));
    QL_TRY(ql_batches_init(&t->batches, data, &batches));
    if (eval) {
        QL_TRY(check_ids(eval, t->m->config.V));
        QL_TRY(ql_batches_init(&t->eval, eval, &whole));
        t->has_eval = true;
    }
    t->length = ql_train_length_of(o, t->batches.n);
    QL_TRY(make_adapter(t));
    QL_TRY(make_output(t));
    return make_run(t);
}

/* Loss over the evaluation data, told and noted. */
static ql_status evaluate(trainer *t, size_t step)
{
    const double started = ql_now_s();
    ql_train_event e = {.kind = QL_TRAIN_EVAL, .step = step, .log = true};
    ql_loss sum = {0};

    if (!t->has_eval) {
        return QL_OK;
    }
    for (size_t i = 0; i < t->eval.n; i++) {
        ql_batch batch;

        ql_batches_get(&t->eval, i, &batch);
        ql_run_loss(t->run, &batch, NULL, &sum);
    }
    e.eval_runtime_s = ql_now_s() - started;
    e.eval_tokens = sum.count;
    e.eval_loss = sum.sum / (double)sum.count;
    e.eval_accuracy = (double)sum.hits / (double)sum.count;
    if (!isfinite(e.eval_loss)) {
        QL_FAIL(QL_ENUMERIC, "step %zu: the evaluation loss is not finite",
                step);
    }
    if (step == 0) {
        t->result->first_eval_loss = e.eval_loss;
    }
    t->result->last_eval_loss = e.eval_loss;
    tell(t, &e);
    return ql_history_add(&t->history, &e);
}

/* The micro-batches of a step, starting a new epoch where one begins. */
static ql_step next_step(trainer *t, size_t number)
{
    const size_t a = t->opt->gradient_accumulation_steps;
    const size_t in_epoch = number % t->length.steps_per_epoch;
    const size_t from = in_epoch * a;

    if (in_epoch == 0) {
        ql_batches_begin(&t->batches, number / t->length.steps_per_epoch);
    }
    return (ql_step){
        .from = from,
        .to = from + a < t->batches.n ? from + a : t->batches.n,
        .number = number,
        .lr = t->opt->learning_rate *
              ql_scheduler_factor(t->opt->lr_scheduler_type, number,
                                  t->length.warmup, t->length.total),
    };
}

/* Counts a step that is done, tells and notes it. */
static ql_status note_step(trainer *t, const ql_step *s, double seconds)
{
    const size_t step = s->number + 1;
    const ql_history_sum sum = {
        .loss = s->loss, .steps = 1, .tokens = s->tokens, .seconds = seconds};
    ql_train_event e = {
        .kind = QL_TRAIN_STEP,
        .step = step,
        .learning_rate = s->lr,
        .grad_norm = s->grad_norm,
        .log = step % t->opt->logging_steps == 0 || step == 1 ||
               step == t->length.total,
    };

    ql_history_step(&t->history, &sum, &e);
    t->result->steps = step;
    t->result->tokens = t->history.all.tokens;
    t->result->trained_tokens = t->history.all.loss.count;
    t->result->last_loss = s->loss.sum / (double)s->loss.count;
    if (step == 1) {
        t->result->first_loss = t->result->last_loss;
    }
    tell(t, &e);
    return e.log ? ql_history_add(&t->history, &e) : QL_OK;
}

static ql_status train(trainer *t)
{
    ql_train_event plan = {.kind = QL_TRAIN_PLAN};

    tell(t, &plan);
    if (!t->stop) {
        QL_TRY(evaluate(t, 0));
    }
    t->started = ql_now_s();
    for (size_t i = 0; i < t->length.total && !t->stop; i++) {
        const size_t every = t->opt->eval_steps;
        const double started = ql_now_s();
        ql_step s = next_step(t, i);

        QL_TRY(ql_step_run(&s, t->run, &t->batches, &t->adapter, t->optimizer,
                           t->opt));
        QL_TRY(note_step(t, &s, ql_now_s() - started));
        if ((every > 0 && (i + 1) % every == 0) || i + 1 == t->length.total) {
            QL_TRY(evaluate(t, i + 1));
        }
    }
    t->result->seconds = ql_now_s() - t->started;
    if (t->stop && t->result->steps < t->length.total) {
        QL_FAIL(QL_ECANCELLED, "stopped after step %zu of %zu",
                t->result->steps, t->length.total);
    }
    return QL_OK;
}

/* Copies the files that the tokenizer of the adapter's user needs. */
static ql_status copy_tokenizer(const trainer *t)
{
    static const char *const names[] = {
        "tokenizer.json",  "tokenizer_config.json", "special_tokens_map.json",
        "tokenizer.model", "added_tokens.json",     "vocab.json",
        "merges.txt",      "chat_template.jinja",
    };
    ql_status st = QL_OK;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
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
    return st;
}

static ql_status write_file(const trainer *t, const char *name,
                            const char *text, size_t len)
{
    char *path = ql_path_join(t->output.work, name);
    const ql_status st = path ? ql_file_write(path, text, len) : QL_ENOMEM;

    ql_free(path);
    return st;
}

/* What people and programs read of the run. */
static ql_status write_log(const trainer *t)
{
    const ql_trainer_state state = {.opt = t->opt, .length = t->length};
    char *metrics = ql_path_join(t->output.work, "metrics.csv");
    char *json = ql_path_join(t->output.work, "trainer_state.json");
    ql_status st = metrics && json ? QL_OK : QL_ENOMEM;

    if (st == QL_OK) {
        st = ql_metrics_save(&t->history, metrics);
    }
    if (st == QL_OK) {
        st = ql_trainer_state_save(&state, &t->history, json);
    }
    ql_free(metrics);
    ql_free(json);
    return st;
}

static ql_status save(trainer *t)
{
    const char *form = ql_dataset_chat_template(t->batches.ds);

    QL_TRY(copy_tokenizer(t));
    if (form) {
        QL_TRY(write_file(t, "chat_template.jinja", form, strlen(form)));
    }
    QL_TRY(write_log(t));
    QL_TRY(ql_peft_save(&t->adapter, t->m->dir, t->output.work));
    return ql_output_commit(&t->output);
}

static ql_train_event done_event(const trainer *t)
{
    const ql_history_sum *all = &t->history.all;
    ql_train_event e = {.kind = QL_TRAIN_DONE, .step = all->steps};

    complete(t, &e);
    if (all->steps > 0) {
        e.loss = all->loss.sum / (double)all->loss.count;
        e.tokens_per_second = (double)all->tokens / all->seconds;
    }
    return e;
}

/* Saves after the end of training, however it ended, and adds to its sentence
 * what became of the adapter. One that was never trained is not worth writing,
 * let alone over another. */
static ql_status finish(trainer *t, ql_status st)
{
    ql_train_event e = done_event(t);
    ql_status saved;
    char *why;

    if (st != QL_OK && t->result->steps == 0) {
        return ql_fail(st, "%s; nothing was written", ql_last_error());
    }
    why = ql_strdup(QL_TAG_MISC, st == QL_OK ? "" : ql_last_error());
    if (!why) {
        return QL_ENOMEM;
    }
    saved = ql_history_add(&t->history, &e);
    if (saved == QL_OK) {
        saved = save(t);
    }
    if (saved != QL_OK) {
        ql_free(why);
        return saved;
    }
    if (st != QL_OK) {
        ql_fail(st, "%s; the adapter of step %zu was saved in %s", why, e.step,
                t->out_dir);
    }
    ql_free(why);
    tell(t, &e);
    return st;
}

/* The adapter becomes the model's own. */
static void hand_over(trainer *t)
{
    ql_free(t->adapter.grad);
    t->adapter.grad = NULL;
    ql_adapter_free(&t->m->adapter);
    t->m->adapter = t->adapter;
    t->adapter = (ql_adapter){0};
    ql_model_use_adapter(t->m, NULL);
}

ql_status ql_train(ql_model *model, const ql_dataset *data,
                   const ql_dataset *eval, const char *out_dir,
                   const ql_train_options *opt, ql_train_fn *fn, void *user,
                   ql_train_result *result)
{
    ql_train_result own;
    trainer t = {.m = model,
                 .opt = opt,
                 .out_dir = out_dir,
                 .fn = fn,
                 .user = user,
                 .result = result ? result : &own};
    ql_status st;

    *t.result = (ql_train_result){.first_eval_loss = (double)NAN,
                                  .last_eval_loss = (double)NAN};
    ql_history_init(&t.history);
    st = set_up(&t, data, eval);
    if (st == QL_OK) {
        st = finish(&t, train(&t));
    }
    ql_run_close(&t.run);
    ql_output_free(&t.output);
    ql_optimizer_close(&t.optimizer);
    ql_batches_free(&t.batches);
    ql_batches_free(&t.eval);
    ql_history_free(&t.history);
    if (t.adapter.param) {
        hand_over(&t);
    }
    return st;
}
