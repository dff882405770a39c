#include "src/convert/gguf_tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/gguf_pre.h"
#include "src/convert/model_files.h"
#include "src/text/chat_end.h"
#include "src/text/chat_file.h"
#include "src/text/end_ids.h"
#include "src/text/tokenizer_handle.h"

/* Types of tokens, as llama.cpp numbers them. */
typedef enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE
} token_type;

enum {
    NAME_BYTES = 64,
    MAX_TOKEN = 1 << 16,
    MAX_ENDS = 2 /* end tokens beside eos that the format has a name for */
};

/* The score of tokens that no merge makes: below all ranks. */
static const float no_merge = -1e6F;

typedef struct job {
    ql_gguf_writer *w;
    ql_tokenizer *tok;
    ql_gguf_pre pre;
    size_t vocab;   /* rows of the embedding */
    uint8_t *types; /* [vocab] */
    ql_buf text;
} job;

/* "<0x0A>" */
static bool is_byte(const char *s, size_t n)
{
    return n == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>';
}

static void mark_added(job *j, const ql_added_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const int32_t id = set->tokens[i].id;

        j->types[id] = ql_added_is_special(&j->tok->added, id)
                           ? TOKEN_CONTROL
                           : TOKEN_USER_DEFINED;
    }
}

static ql_status find_types(job *j)
{
    const ql_tokenizer *t = j->tok;
    const bool pieces = strcmp(j->pre.model, "llama") == 0;

    j->types = ql_alloc(QL_TAG_TEXT, j->vocab, 1);
    if (!j->types) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < j->vocab; i++) {
        size_t n = 0;
        const char *s = ql_vocab_get(&t->vocab, (int64_t)i, &n);

        j->types[i] = !s                        ? TOKEN_UNUSED
                      : pieces && is_byte(s, n) ? TOKEN_BYTE
                                                : TOKEN_NORMAL;
    }
    mark_added(j, &t->added.raw);
    mark_added(j, &t->added.normalized);
    if (t->model.bpe.unk >= 0) {
        j->types[t->model.bpe.unk] = TOKEN_UNKNOWN;
    }
    return QL_OK;
}

static ql_status put_tokens(const job *j)
{
    QL_TRY(ql_gguf_put_list(j->w, "tokenizer.ggml.tokens", QL_GGUF_STRING,
                            j->vocab));
    for (size_t i = 0; i < j->vocab; i++) {
        char hole[NAME_BYTES];
        size_t n = 0;
        const char *s = ql_vocab_get(&j->tok->vocab, (int64_t)i, &n);

        if (!s) {
            n = (size_t)snprintf(hole, sizeof(hole), "[PAD%zu]", i);
            s = hole;
        }
        QL_TRY(ql_gguf_item_string(j->w, s, n));
    }
    return QL_OK;
}

/* llama.cpp merges the neighbours whose union has the highest score first, so
 * a token's score is the rank of the first merge that makes it, with a minus
 * sign. */
static ql_status put_scores(const job *j)
{
    const ql_bpe *b = &j->tok->model.bpe;
    float *scores = ql_alloc(QL_TAG_WORK, j->vocab, sizeof(*scores));
    ql_status st = scores ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; scores && i < j->vocab; i++) {
        scores[i] = j->types[i] == TOKEN_NORMAL ? no_merge : 0;
    }
    for (size_t i = 0; scores && i < b->n_slots; i++) {
        const ql_bpe_merge *m = &b->merges[i];

        if (m->left >= 0) {
            const float score = -(float)m->rank;
            float *old = &scores[m->id];

            *old = *old == no_merge || *old == 0 || score > *old ? score : *old;
        }
    }
    if (st == QL_OK) {
        st = ql_gguf_put_list(j->w, "tokenizer.ggml.scores", QL_GGUF_FLOAT32,
                              j->vocab);
    }
    for (size_t i = 0; st == QL_OK && i < j->vocab; i++) {
        st = ql_gguf_item_f32(j->w, scores[i]);
    }
    ql_free(scores);
    return st;
}

static ql_status put_types(const job *j)
{
    QL_TRY(ql_gguf_put_list(j->w, "tokenizer.ggml.token_type", QL_GGUF_INT32,
                            j->vocab));
    for (size_t i = 0; i < j->vocab; i++) {
        QL_TRY(ql_gguf_item_i32(j->w, j->types[i]));
    }
    return QL_OK;
}

static int by_rank(const void *a, const void *b)
{
    const ql_bpe_merge *x = a;
    const ql_bpe_merge *y = b;

    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Appends a token; a blank in it is "\u0120", since one stands between the two
 * halves of a merge. */
static ql_status add_half(ql_buf *out, const ql_vocab *vocab, int32_t id)
{
    size_t n = 0;
    const char *s = ql_vocab_get(vocab, id, &n);

    for (size_t i = 0; i < n; i++) {
        QL_TRY(s[i] == ' ' ? ql_buf_puts(out, "\xC4\xA0")
                           : ql_buf_putc(out, s[i]));
    }
    return QL_OK;
}

static ql_status put_merge(job *j, const ql_bpe_merge *m)
{
    ql_buf_clear(&j->text);
    QL_TRY(add_half(&j->text, &j->tok->vocab, m->left));
    QL_TRY(ql_buf_putc(&j->text, ' '));
    QL_TRY(add_half(&j->text, &j->tok->vocab, m->right));
    return ql_gguf_item_string(j->w, j->text.data, j->text.len);
}

static ql_status put_merges(job *j)
{
    const ql_bpe *b = &j->tok->model.bpe;
    ql_bpe_merge *sorted = ql_alloc(QL_TAG_WORK, b->n_slots, sizeof(*sorted));
    ql_status st = sorted ? QL_OK : QL_ENOMEM;
    size_t n = 0;

    for (size_t i = 0; sorted && i < b->n_slots; i++) {
        if (b->merges[i].left >= 0) {
            sorted[n++] = b->merges[i];
        }
    }
    if (st == QL_OK && n == 0) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "the tokenizer has no merges, and llama.cpp reads none "
                     "of its kind without");
    }
    if (st == QL_OK) {
        qsort(sorted, n, sizeof(*sorted), by_rank);
        st = ql_gguf_put_list(j->w, "tokenizer.ggml.merges", QL_GGUF_STRING, n);
    }
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        st = put_merge(j, &sorted[i]);
    }
    ql_free(sorted);
    return st;
}

static ql_status put_id(const job *j, const char *name, int64_t id)
{
    char key[NAME_BYTES];

    snprintf(key, sizeof(key), "tokenizer.ggml.%s_token_id", name);
    return id >= 0 && (size_t)id < j->vocab
               ? ql_gguf_put_u32(j->w, key, (size_t)id)
               : QL_OK;
}

/* Token of a name in the folder's special tokens, -1 for none. */
static int64_t named(const job *j, const json_t *tokens, const char *name)
{
    const json_t *v = json_object_get(tokens, name);

    return json_is_string(v) ? ql_tokenizer_id(j->tok, json_string_value(v))
                             : -1;
}

/* The token that ends texts, and others that do; -1 where there is none. */
typedef struct ends {
    int64_t eos, others[MAX_ENDS];
} ends;

static void add_end(ends *e, int64_t id)
{
    int64_t *place = e->eos < 0 ? &e->eos : NULL;

    if (id < 0 || id == e->eos) {
        return;
    }
    for (size_t i = 0; !place && i < MAX_ENDS; i++) {
        if (e->others[i] == id) {
            return;
        }
        place = e->others[i] < 0 ? &e->others[i] : NULL;
    }
    if (place) {
        *place = id;
    } else {
        ql_warn("GGUF has no name for so many end tokens: %lld is left out",
                (long long)id);
    }
}

/* An id that a file says. */
static void add_said(const job *j, ends *e, int32_t id)
{
    if ((size_t)id < j->vocab) {
        add_end(e, id);
    } else {
        ql_warn("the end token %d is beyond the vocabulary of %zu tokens: it "
                "is left out",
                (int)id, j->vocab);
    }
}

/* That of answers comes first, for llama.cpp ends a turn at "eot". */
static ql_status read_ends(const job *j, const char *dir,
                           const char *template_dir, ends *e)
{
    ql_end_ids said;
    int32_t answer;

    *e = (ends){.eos = -1, .others = {-1, -1}};
    add_end(e, j->tok->eos);
    QL_TRY(ql_chat_end_read(&answer, template_dir, dir, j->tok));
    add_end(e, answer);
    QL_TRY(ql_end_ids_init(&said, dir));
    for (size_t i = 0; i < said.n; i++) {
        add_said(j, e, said.ids[i]);
    }
    ql_end_ids_free(&said);
    return QL_OK;
}

static ql_status put_specials(const job *j, const char *dir,
                              const char *template_dir)
{
    const ql_post_row *row = &j->tok->postprocessor.single;
    const ql_post_item *first = row->n > 0 ? &row->items[0] : NULL;
    const ql_post_item *last = row->n > 0 ? &row->items[row->n - 1] : NULL;
    json_t *tokens = NULL;
    ends e;
    ql_status st;

    QL_TRY_DONE(ql_chat_tokens_read(&tokens, dir));
    QL_TRY_DONE(read_ends(j, dir, template_dir, &e));
    QL_TRY_DONE(put_id(j, "bos", j->tok->bos));
    QL_TRY_DONE(put_id(j, "eos", e.eos));
    QL_TRY_DONE(put_id(j, "eot", e.others[0]));
    QL_TRY_DONE(put_id(j, "eom", e.others[1]));
    QL_TRY_DONE(put_id(j, "unknown",
                       j->tok->model.bpe.unk >= 0
                           ? j->tok->model.bpe.unk
                           : named(j, tokens, "unk_token")));
    QL_TRY_DONE(put_id(j, "padding", named(j, tokens, "pad_token")));
    QL_TRY_DONE(
        ql_gguf_put_bool(j->w, "tokenizer.ggml.add_bos_token",
                         first && first->id >= 0 && first->id == j->tok->bos));
    QL_TRY_DONE(
        ql_gguf_put_bool(j->w, "tokenizer.ggml.add_eos_token",
                         last && last->id >= 0 && last->id == j->tok->eos));
    if (strcmp(j->pre.model, "llama") == 0) {
        st = ql_gguf_put_bool(j->w, "tokenizer.ggml.add_space_prefix",
                              j->pre.space_prefix);
    }
done:
    json_decref(tokens);
    return st;
}

static ql_status put_template(const job *j, const char *dir,
                              const char *template_dir)
{
    ql_chat_source source = {0};
    ql_status st = QL_ENOTFOUND;

    if (template_dir) {
        st = ql_chat_source_find(&source, template_dir, NULL, false);
    }
    if (st == QL_ENOTFOUND) {
        ql_chat_source_free(&source);
        st = ql_chat_source_find(&source, dir, NULL, false);
    }
    if (st == QL_OK) {
        st = ql_gguf_put_string(j->w, "tokenizer.chat_template", source.text);
    } else if (st == QL_ENOTFOUND) {
        st = QL_OK;
    }
    ql_chat_source_free(&source);
    return st;
}

static ql_status put_all(job *j, const char *dir, const char *template_dir)
{
    const bool pieces = strcmp(j->pre.model, "llama") == 0;

    if (j->tok->vocab.size > j->vocab) {
        QL_FAIL(QL_EMISMATCH,
                "%s: the tokenizer has ids up to %zu, but the model's "
                "vocabulary has %zu; it belongs to another model",
                dir, j->tok->vocab.size - 1, j->vocab);
    }
    QL_TRY(find_types(j));
    QL_TRY(ql_gguf_put_string(j->w, "tokenizer.ggml.model", j->pre.model));
    QL_TRY(ql_gguf_put_string(j->w, "tokenizer.ggml.pre", j->pre.name));
    QL_TRY(put_tokens(j));
    if (pieces) {
        QL_TRY(put_scores(j));
    }
    QL_TRY(put_types(j));
    if (!pieces) {
        QL_TRY(put_merges(j));
    }
    QL_TRY(put_specials(j, dir, template_dir));
    return put_template(j, dir, template_dir);
}

ql_status ql_gguf_put_tokenizer(ql_gguf_writer *w, const char *dir,
                                const char *template_dir, size_t vocab)
{
    job j = {.w = w, .vocab = vocab};
    json_t *root = NULL;
    ql_status st;

    ql_buf_init(&j.text, QL_TAG_TEXT, MAX_TOKEN);
    QL_TRY_DONE(ql_tokenizer_open(&j.tok, dir));
    QL_TRY_DONE(ql_tokenizer_tree(&root, dir));
    QL_TRY_DONE(ql_gguf_pre_find(&j.pre, root, dir));
    st = put_all(&j, dir, template_dir);
done:
    json_decref(root);
    ql_tokenizer_close(&j.tok);
    ql_free(j.types);
    ql_buf_free(&j.text);
    return st;
}
