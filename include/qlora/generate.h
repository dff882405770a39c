/* Text from a model. */
#ifndef QLORA_GENERATE_H
#define QLORA_GENERATE_H

#include "qlora/model.h"
#include "qlora/tokenizer.h"

/* Tokens are chosen as transformers does: the repetition penalty, then, unless
 * the temperature is 0, temperature, top-k, top-p and min-p in this order. */
typedef struct ql_generate_options {
    size_t max_new_tokens;     /* 128 */
    double temperature;        /* 0.7; 0: always the most likely token */
    double top_p;              /* 0.9; 1: all */
    size_t top_k;              /* 0: all */
    uint64_t seed;             /* 42; each text of a generator has random
                                  numbers of its own */
    double min_p;              /* 0: all; else those of at least this share of
                                  the most likely one's probability */
    double repetition_penalty; /* 0 or 1: none; above 1, what is there already
                                  is less likely */
    const char *const *stop;   /* [n_stop] texts that end what is written; they
                                  are not part of it */
    size_t n_stop;
    size_t max_context;        /* tokens of prompt and text; 0: as many as the
                                  model was made for */
    const char *chat_template; /* NULL: the model's, or a default one; else a
                                  template, its file, or the name of one of the
                                  model's */
    const char *date;          /* NULL: the clock's; else what templates tell:
                                  YYYY-MM-DD, maybe and HH:MM:SS */
} ql_generate_options;

/* Fills in the defaults named above; 0 and NULL where none is. */
QL_API void ql_generate_options_init(ql_generate_options *opt);

/* A piece of new text, valid UTF-8, in order. len 0: between passes over a long
 * prompt. Return false to stop. */
typedef bool ql_generate_fn(const char *piece, size_t len, void *user);

/* A model that writes, and what it has read so far: a prompt that begins as the
 * text before it is read from where they differ. */
typedef struct ql_generator ql_generator;

/* All is borrowed, what opt points to included. Errors: QL_EINVAL (options),
 * QL_EFORMAT (generation_config.json), QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_generator_open(ql_generator **out, ql_model *model,
                                   const ql_tokenizer *tok,
                                   const ql_generate_options *opt);
QL_API void ql_generator_close(ql_generator **g);

/* Why a text ended. */
typedef enum ql_generate_end {
    QL_END_NONE,  /* it was stopped */
    QL_END_TOKEN, /* at one of the model's end tokens */
    QL_END_STOP,  /* before a stop text */
    QL_END_LENGTH /* at max_new_tokens, or at the end of the context */
} ql_generate_end;

typedef struct ql_generated {
    char *text;         /* NULL after a failure, but not if it was stopped.
                              Owned: ql_free */
    const int32_t *ids; /* of the prompt's tokens, then of the new ones; NULL
                           with the text. Borrowed until the next one */
    ql_generate_end end;
    size_t prompt_tokens;
    size_t reused_tokens; /* of them, not read again */
    size_t new_tokens;    /* written, without an end token */
    double prompt_s;      /* seconds for the prompt, */
    double text_s;        /* and for what was written behind it */
} ql_generated;

/* Continues a prompt until an end token of the model's generation_config.json
 * or of its tokenizer, a stop text, max_new_tokens, or the end of the context.
 * The prompt is tokenized with the model's special tokens. out may be NULL.
 *
 * Errors: QL_EINVAL (a prompt that is empty, or leaves no room), QL_EFORMAT
 * (prompt is not UTF-8), QL_EMISMATCH (tokenizer of another model),
 * QL_ENUMERIC (a logit is not finite), QL_ECANCELLED, QL_ENOMEM. */
QL_API ql_status ql_generator_continue(ql_generator *g, const char *prompt,
                                       ql_generate_fn *out, void *user,
                                       ql_generated *result);

/* Answers a conversation, by the chat template, as it was trained. json: a list
 * of messages with "role" and "content", as the OpenAI API has them, or a
 * record of such a conversation as datasets have them ("messages" or
 * "conversations", maybe "system" and "tools"). What the template does not show
 * is given as text, as in training. what: what errors name. The answer ends,
 * too, at the special token that the template writes behind one. Where the
 * prompt opens a thought ("<think>"), the text begins with that, so that it is
 * a turn as conversations have it; it is in no count.
 *
 * Errors: as above; QL_EFORMAT when json is no such thing, or the template
 * refuses it, with its own sentence; QL_EUNSUPPORTED for content that is no
 * text, and for a message whose role the template does not show. */
QL_API ql_status ql_generator_answer(ql_generator *g, const char *json,
                                     const char *what, ql_generate_fn *out,
                                     void *user, ql_generated *result);

/* What the model read is forgotten: the next text does not depend on it, to the
 * last bit. */
QL_API void ql_generator_forget(ql_generator *g);

/* Opens the chat template, unless it is open; ql_generator_answer does so, too.
 * *has, if not NULL: whether the model has one, or one was given; else
 * conversations are written in a default form. Errors: QL_ENOTFOUND,
 * QL_EFORMAT, QL_EUNSUPPORTED, QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_generator_open_chat(ql_generator *g, bool *has);

typedef struct ql_generate_memory {
    uint64_t weights;    /* bytes of weights, most of them mapped */
    uint64_t cache;      /* keys and values held now */
    uint64_t cache_most; /* for a context of all tokens */
    uint64_t work;       /* of passes, and for choosing tokens */
    size_t context;      /* tokens */
} ql_generate_memory;

QL_API void ql_generator_memory(const ql_generator *g, ql_generate_memory *out);

/* Opens a generator, continues a prompt, closes it. text may be NULL, else it
 * receives the new text, NULL after any failure. Owned: ql_free(*text). */
QL_API ql_status ql_generate(ql_model *model, const ql_tokenizer *tok,
                             const char *prompt, const ql_generate_options *opt,
                             ql_generate_fn *out, void *user, char **text);

/* Conversations in JSON, one after the other: from a file, which may be
 * compressed by gzip, or for "-" from standard input. */
typedef struct ql_conversations ql_conversations;

/* path is copied. Errors: QL_ENOTFOUND, QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_conversations_open(ql_conversations **out,
                                       const char *path);
QL_API void ql_conversations_close(ql_conversations **c);

/* The next one, as ql_generator_answer takes it, as soon as it is there; *json
 * is NULL at the end. *what names it in errors, *line is where it begins. Both
 * texts are borrowed until the next call. What is no JSON is handed out, too:
 * what begins without a bracket as far as its line goes; of brackets that do
 * not close as they were opened, as much as shows it, and then the next one is
 * looked for from the second line on, where one begins with a bracket. Errors:
 * QL_EFORMAT for a NUL byte in it, or more bytes than can be held, with the
 * next one to be had all the same, and for damaged gzip data, behind which the
 * end comes; QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_conversations_next(ql_conversations *c, const char **json,
                                       const char **what, size_t *line);

/* A class of a classifier, and how likely it is. */
typedef void ql_class_fn(const char *name, double share, void *user);

/* Tells the classes of a text, or with b of a pair of texts, in the order of
 * their numbers. a and b are NUL-terminated UTF-8; b may be NULL.
 *
 * Errors: QL_EUNSUPPORTED (the model is no classifier; with b: QL_EINVAL),
 * QL_ENOTFOUND (it has no head or no pooler, nor has its adapter), QL_EINVAL
 * (no token, or more than the model was made for), QL_EFORMAT (not UTF-8),
 * QL_EMISMATCH (tokenizer of another model), QL_ENUMERIC, QL_ENOMEM. */
QL_API ql_status ql_classify(ql_model *model, const ql_tokenizer *tok,
                             const char *a, const char *b, ql_class_fn *out,
                             void *user);

#endif
