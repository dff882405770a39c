/* Fine-tuning: LoRA adapters on a frozen 4-bit base, or all weights. */
#ifndef QLORA_TRAIN_H
#define QLORA_TRAIN_H

#include "qlora/dataset.h"
#include "qlora/model.h"
#include "qlora/plan.h"
#include "qlora/runtime.h"

/* Learning rate over the run, as transformers defines it: the factor on the
 * peak. s is the step from 0, w the warmup steps, T all steps; during warmup
 * the factor is s / w. */
typedef enum ql_scheduler {
    QL_SCHEDULER_CONSTANT,             /* 1, without warmup */
    QL_SCHEDULER_CONSTANT_WITH_WARMUP, /* 1 */
    QL_SCHEDULER_LINEAR,               /* (T - s) / (T - w) */
    QL_SCHEDULER_COSINE, /* c = (1 + cos(pi (s - w) / (T - w))) / 2 */
    QL_SCHEDULER_COSINE_WITH_RESTARTS,      /* the same, num_cycles times */
    QL_SCHEDULER_COSINE_WITH_MIN_LR,        /* c (1 - m) + m, m: min_lr_rate */
    QL_SCHEDULER_COSINE_WARMUP_WITH_MIN_LR, /* the same, one step ahead */
    QL_SCHEDULER_POLYNOMIAL,           /* linear, to a learning rate of 1e-7 */
    QL_SCHEDULER_INVERSE_SQRT,         /* sqrt(w / s); without warmup
                                  sqrt(10000 / (s + 10000)) */
    QL_SCHEDULER_WARMUP_STABLE_DECAY,  /* 1, then as cosine in the last
                                         num_decay_steps */
    QL_SCHEDULER_REDUCE_LR_ON_PLATEAU, /* 1, without warmup; a tenth of what it
                                          was after 11 evaluations without a
                                          smaller loss */
    QL_SCHEDULER_COUNT
} ql_scheduler;

/* When something is done again and again. */
typedef enum ql_strategy {
    QL_STRATEGY_NO,
    QL_STRATEGY_STEPS, /* every so many steps */
    QL_STRATEGY_EPOCH  /* at the end of each epoch */
} ql_strategy;

/* A list of texts. Borrowed for as long as the options are used. */
typedef struct ql_list {
    const char *const *items;
    size_t n;
} ql_list;

/* How AdamW keeps its moments: in f32, in 8 bits as bitsandbytes does, or in
 * the type of what is trained, as torch does. The paged ones keep what exceeds
 * optimizer_memory in a file without a name in the output folder; as long as
 * nothing does they are the same as the others. */
typedef enum ql_optim {
    QL_OPTIM_PAGED_ADAMW_32BIT,
    QL_OPTIM_ADAMW_32BIT,
    QL_OPTIM_PAGED_ADAMW_8BIT,
    QL_OPTIM_ADAMW_8BIT,
    QL_OPTIM_ADAMW_TORCH
} ql_optim;

/* What is trained, on what. */
typedef enum ql_method {
    QL_METHOD_QLORA, /* an adapter on linear layers in 4 bits */
    QL_METHOD_LORA,  /* one on those of 16 or 32 bits, as they are stored */
    QL_METHOD_FULL   /* all weights, of a model that is not in 4 bits */
} ql_method;

/* In what method full has weights and gradients. */
typedef enum ql_weight_type {
    QL_WEIGHT_FP32,
    QL_WEIGHT_BF16 /* half the memory; steps that are small beside a weight are
                      lost. Norms and biases stay in fp32 */
} ql_weight_type;

/* Whether a block's forward is repeated before its backward. */
typedef enum ql_checkpointing {
    QL_CHECKPOINTING_OFF, /* all activations are kept */
    QL_CHECKPOINTING_ON,  /* none but the blocks' inputs are kept */
    QL_CHECKPOINTING_AUTO /* those of as many layers as there is room for */
} ql_checkpointing;

/* In what the inputs of blocks are kept from which a forward is repeated. */
typedef enum ql_activation {
    QL_ACTIVATION_FP32,
    QL_ACTIVATION_BF16 /* half the memory; every forward but the last block's is
                          repeated, and gradients differ by less than 1 % of
                          their norm */
} ql_activation;

/* Names are those of Hugging Face's TrainingArguments and LoraConfig. */
typedef struct ql_train_options {
    ql_method method;     /* qlora; the model must be opened for it: for lora
                            and full, without quantizing. For full, what is
                            about an adapter must be left as it is */
    ql_weight_type dtype; /* fp32; of method full */
    size_t lora_r;        /* 16 */
    double lora_alpha;    /* 32 */
    double lora_dropout;  /* 0.05 */
    bool use_rslora;      /* false */
    bool use_dora;        /* false */
    /* Modules to adapt: ends of their paths ("q_proj"), one pattern for all of
     * a path, or "all-linear"; empty: that. Embedding and head count only
     * where they are named. */
    ql_list lora_target_modules;
    ql_list modules_to_save;     /* trained whole: embedding, head */
    ql_list layers_to_transform; /* numbers; empty: all */
    /* "PATTERN=NUMBER": a rank, an alpha, of modules whose path the pattern
     * stands for the end of. */
    ql_list rank_pattern, alpha_pattern;
    /* How pairs begin: NULL or "true": A at random, B zero; "gaussian";
     * "pissa", "pissa_niter_N": as the leading part of the weight, which the
     * base then lacks; "loftq": as the leading part of what its quantization
     * loses. Both take a model that is not in 4 bits. What was taken off the
     * base is in the adapter that is written, whose rank and alpha are then
     * twice these. */
    const char *init_lora_weights;
    size_t loftq_iter;   /* 1; rounds of quantizing and decomposing */
    const char *adapter; /* NULL: a fresh one; else a PEFT folder to go on
                            from, whose settings are those above */

    ql_optim optim;                  /* paged_adamw_32bit */
    uint64_t optimizer_memory;       /* 0: all; bytes of memory for the state of
                                       a paged optimizer */
    double learning_rate;            /* 2e-4 */
    ql_scheduler lr_scheduler_type;  /* cosine */
    double min_lr_rate;              /* 0.1; of the two with_min_lr */
    const char *lr_scheduler_kwargs; /* NULL; a JSON object of what
                                        transformers' scheduler takes by name:
                                        {"num_cycles": 3} */
    double warmup_ratio;             /* 0.03; of all steps, rounded up */
    double warmup_steps;             /* 0; overrides the ratio when not 0; below
                                       1 it is a ratio itself */
    double weight_decay;             /* 0 */
    double adam_beta1, adam_beta2;   /* 0.9, 0.999 */
    double adam_epsilon;             /* 1e-8 */
    double max_grad_norm;            /* 0.3; 0: no clipping */
    /* LoRA+: the learning rate of B, and of magnitudes, is so many times the
     * others'; 0: it is the same. An embedding's B then has one of its own. */
    double loraplus_lr_ratio;     /* 0 */
    double loraplus_lr_embedding; /* 1e-6 */
    double neftune_noise_alpha;   /* 0: none; noise on the embeddings while
                                     training, uniform within
                                     alpha / sqrt(tokens of the sequence
                                     times width) */

    double num_train_epochs;            /* 3 */
    int max_steps;                      /* -1: by epochs; above 0: overrides */
    size_t per_device_train_batch_size; /* 1; of packs, or samples */
    size_t gradient_accumulation_steps; /* 16 */

    bool packing;         /* true: several samples in a sequence of the data's
                             max_length, each by itself */
    size_t logging_steps; /* 10; with early stopping, steps before an
                             evaluation are logged, too */
    bool shuffle;         /* true */

    ql_strategy eval_strategy;      /* steps; before and after in any case but
                                       no */
    size_t eval_steps;              /* 0: only before and after */
    bool load_best_model_at_end;    /* true; where there is evaluation data */
    size_t early_stopping_patience; /* 0: off; evaluations without a better
                                       loss that end the run */
    ql_strategy save_strategy;      /* steps */
    size_t save_steps;              /* 250 */
    size_t save_total_limit;        /* 3 checkpoints; 0: all are kept */
    const char *resume;             /* NULL or "auto": from the newest sound
                                       checkpoint in the output folder; "off";
                                       or a checkpoint's folder */

    ql_checkpointing gradient_checkpointing; /* auto */
    ql_activation activation_dtype;          /* fp32 */
    uint64_t memory; /* 0: what is free, less a margin; bytes that the process
                        may have */
    bool dry_run;    /* false; true: make the plan, tell it, and end */
    uint64_t seed;   /* 42 */
    bool overwrite_output_dir; /* false */

    size_t sample_prompts;         /* 3; records whose prompts are continued
                                      before and after training */
    const ql_tokenizer *tokenizer; /* NULL: without such samples. Borrowed */
    const char *settings; /* NULL; lines "name: value" that the report shows as
                             the settings of the run, and that run.yaml gets.
                             Borrowed */
} ql_train_options;

/* Fills in the defaults named above. */
QL_API void ql_train_options_init(ql_train_options *opt);

/* Name of a scheduler as --lr-scheduler-type spells it. Borrowed, constant. */
QL_API const char *ql_scheduler_name(ql_scheduler scheduler);

/* What a progress event tells. */
typedef enum ql_train_event_kind {
    QL_TRAIN_PLAN,  /* before anything: what is the same in all events; step is
                      not 0 where a run goes on */
    QL_TRAIN_STEP,  /* an optimizer step is done */
    QL_TRAIN_EVAL,  /* an evaluation is done: eval_loss, eval_accuracy */
    QL_TRAIN_DONE,  /* the adapter is written: loss, tokens_per_second and
                      elapsed_s are of the whole run */
    QL_TRAIN_BATCH, /* batches_done of batches of the step at work; told now and
                       then, where steps take long */
    QL_TRAIN_EVALUATING, /* the same of an evaluation */
    QL_TRAIN_SAVE,       /* a checkpoint is written */
    QL_TRAIN_SAMPLE      /* the adapter is written; one of the samples */
} ql_train_event_kind;

/* The prompt of a record, and how it goes on: in the data, and as the model
 * wrote it before and after training. UTF-8, borrowed; before may be NULL. */
typedef struct ql_train_sample {
    const char *prompt, *expected, *before, *after;
} ql_train_sample;

typedef struct ql_train_event {
    ql_train_event_kind kind;
    const ql_plan *plan; /* of the memory */
    size_t step, total_steps;
    double epoch;
    size_t trainable;         /* parameters of the adapter */
    size_t sequences;         /* in an epoch: packs, or samples */
    double fill;              /* with packing: the share of max_length that has
                                 tokens; else 0 */
    double loss;              /* nats per trained token, over the steps since
                                 the last one with log */
    double accuracy;          /* share of trained tokens predicted first, over
                                 the same steps */
    double learning_rate;     /* used in this step */
    double grad_norm;         /* of this step, before clipping */
    double tokens_per_second; /* all tokens, over the same steps */
    size_t tokens;            /* that passed through training steps so far */
    double elapsed_s, eta_s;
    bool log;              /* logging_steps says that this step is shown */
    double eval_loss;      /* nats per trained token */
    double eval_accuracy;  /* as accuracy */
    bool closing;          /* an evaluation that is made only because the run
                              ends: neither the learning rate nor the patience
                              goes by it */
    bool classifies;       /* the model is a classifier: what is said of trained
                              tokens is of texts, and there is */
    double eval_f1;        /* of two classes that of the second, else the mean
                              over the classes */
    size_t eval_tokens;    /* trained tokens of the evaluation data */
    double eval_runtime_s; /* time that the evaluation took */
    size_t batches_done, batches;  /* micro-batches of what is at work */
    ql_memory_use memory;          /* of the process, now */
    const ql_train_sample *sample; /* of a SAMPLE event */
} ql_train_event;

/* News from the trainer. Return false to stop: the step is finished, a
 * checkpoint saved if there was a step, and ql_train returns QL_ECANCELLED. An
 * evaluation is left, and done when the run goes on. */
typedef bool ql_train_fn(const ql_train_event *event, void *user);

typedef struct ql_train_result {
    size_t steps;
    size_t tokens, trained_tokens; /* that passed through training steps */
    double first_loss, last_loss;  /* of the first and last step */
    double first_eval_loss, last_eval_loss; /* NaN without evaluation data */
    size_t best_step;      /* of the smallest evaluation loss; 0: none */
    double best_eval_loss; /* NaN without */
    size_t waited;         /* evaluations without a smaller loss that ended the
                              run early; 0: it went to its end */
    double seconds;        /* over all processes that took part in the run */
    /* Of the seconds of this process, those that went to laying out batches; to
     * telling of steps and the log; to checkpoints; to waiting for page files
     * and weights. */
    double data_s, log_s, save_s, paging_s;
    ql_plan plan;            /* of the memory, and what was measured: */
    uint64_t peak_anonymous; /* bytes, private, after any step */
    uint64_t peak_file;      /* the same of mapped files */
    /* Where not all mapped weights stay in memory: bytes that were brought
     * back, times a layer was waited for, and how long. */
    uint64_t weights_read, weight_stalls;
    double weight_stall_s;
} ql_train_result;

/* What lists of options point to that came from a folder. */
typedef struct ql_adapter_texts ql_adapter_texts;

/* Takes all that makes up an adapter, rank, alpha, dropout, variants and lists,
 * from a folder of PEFT's or MLX's, and sets opt->adapter to it. dir is
 * borrowed; *texts is Owned, for as long as opt is used. Errors: those of
 * ql_model_load_adapter. */
QL_API ql_status ql_train_options_adapter(ql_train_options *opt,
                                          const char *dir,
                                          ql_adapter_texts **texts);
QL_API void ql_adapter_texts_close(ql_adapter_texts **texts);

/* What can be told wrong before anything is loaded. ql_train checks it too.
 * Errors: QL_EINVAL (options; out_dir is a file, holds an adapter, or
 * checkpoints that are not to be gone on from), named. */
QL_API ql_status ql_train_check(const char *out_dir,
                                const ql_train_options *opt);

/* The same of the adapter's options and a model's folder, of which only
 * config.json is read. Errors: those of ql_model_open for it; QL_EINVAL for
 * names, layers and patterns that the model does not have, named. */
QL_API ql_status ql_train_check_model(const char *model_dir,
                                      const ql_train_options *opt);

/* The date that chat templates were told in the checkpoint from which a run
 * would go on: its data must be read with the same one. NULL: there is none.
 * Owned: *date, by ql_free. Errors: QL_ENOMEM. */
QL_API ql_status ql_train_date(const char *out_dir, const ql_train_options *opt,
                               char **date);

/* Before a model is opened so: whether there is memory for it, quantizing its
 * weights included. Errors: QL_ENOMEM, saying how much is lacking; those of
 * ql_model_open for files that are missing or damaged. */
QL_API ql_status ql_train_check_loading(const char *model_dir,
                                        const ql_model_options *how,
                                        const ql_train_options *opt);

/* Trains an adapter for model on data and writes a PEFT folder to out_dir
 * (adapter_config.json, adapter_model.safetensors, the tokenizer's files and
 * metrics.csv). eval, fn and result may be NULL. The adapter stays on the
 * model.
 *
 * With method full all weights are trained instead, and a model's folder is
 * written (config.json, model.safetensors and the rest): in the end in the
 * types that model has its weights in, on the way, for all that follows to be
 * the same to the bit, in those that are trained.
 *
 * The loss of an optimizer step is the mean over all its trained tokens,
 * however they are spread over micro-batches. With the same seed the result is
 * the same to the bit, for any number of threads.
 *
 * On the way out_dir/checkpoint-N gets all that is needed to go on after step
 * N, and out_dir/best the adapter with the smallest evaluation loss. A run that
 * was stopped or killed at any moment goes on when ql_train is called again,
 * and ends with the same adapter and log, to the bit. Settings that would make
 * another run of it are refused; others are named by notes, as are checkpoints
 * that are damaged.
 *
 * Errors: QL_EINVAL (options; out_dir holds an adapter already, or another
 * process writes to it), QL_EMISMATCH (token ids beyond the model's
 * vocabulary; checkpoints of another run), QL_EFORMAT (checkpoints, all
 * damaged), QL_ENUMERIC (a loss or gradient is not finite; a checkpoint of the
 * step before is saved), QL_ECANCELLED, QL_EIO, QL_ENOSPACE, QL_ENOMEM
 * (it would not fit, which is told before anything is written). */
QL_API ql_status ql_train(ql_model *model, const ql_dataset *data,
                          const ql_dataset *eval, const char *out_dir,
                          const ql_train_options *opt, ql_train_fn *fn,
                          void *user, ql_train_result *result);

#endif
