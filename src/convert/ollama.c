/* A folder that "ollama create" takes: the model and the adapter as GGUF
 * files, and a Modelfile that names them, with the chat template, the words
 * that end an answer, and the settings of the model's makers. */
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/gguf_model.h"
#include "src/convert/go_template.h"
#include "src/convert/model_files.h"
#include "src/text/tokenizer_handle.h"

static const char model_name[] = "model.gguf";
static const char adapter_name[] = "adapter.gguf";
static const char modelfile_name[] = "Modelfile";

enum {
    MAX_JSON = 1 << 26,
    MAX_MODELFILE = 1 << 25
};

/* One call of ql_export_ollama. */
typedef struct job {
    const char *model, *adapter;
    const ql_export_options *opt;
    ql_export_report *report;
    const char *dir; /* that is written to */
    bool merged;     /* the adapter is worked into the model */
    ql_tokenizer *tok;
    json_t *tokens; /* special tokens by name */
    json_t *generation;
    ql_go_template template;
    bool has_template;
    bool dated; /* the template puts the date in */
    ql_buf out;
} job;

/* The adapter beside the model; where it cannot be said there, in it. */
static ql_status write_adapter(job *j)
{
    char *path = ql_path_join(j->dir, adapter_name);
    ql_export_options opt = *j->opt;
    ql_status st = QL_ENOMEM;

    opt.type = QL_EXPORT_TYPE_F32;
    if (path) {
        st = ql_export_gguf_adapter(j->model, j->adapter, path, &opt, NULL);
    }
    if (st == QL_EUNSUPPORTED) {
        ql_note("the adapter is worked into the model, since %s",
                ql_last_error());
        j->merged = true;
        st = QL_OK;
    }
    ql_free(path);
    return st;
}

static ql_status write_model(job *j)
{
    char *path = ql_path_join(j->dir, model_name);
    const ql_gguf_model_job what = {.model = j->model,
                                    .adapter = j->merged ? j->adapter : NULL,
                                    .trained = j->adapter,
                                    .out = path,
                                    .tokenizer = true};
    const ql_status st =
        path ? ql_gguf_model_write(&what, j->opt, j->report) : QL_ENOMEM;

    ql_free(path);
    j->report->files = j->merged ? 1 : 2;
    return st;
}

/* The text that Ollama puts before a conversation itself. */
static const char *bos_of(const job *j)
{
    const ql_post_row *row = &j->tok->postprocessor.single;
    const bool puts =
        row->n > 0 && row->items[0].id >= 0 && row->items[0].id == j->tok->bos;

    return puts ? ql_tokenizer_token(j->tok, j->tok->bos) : NULL;
}

static ql_status read_template(job *j)
{
    ql_chat_source source = {0};
    ql_status st = ql_chat_source_find(&source, j->adapter, NULL, false);

    if (st == QL_ENOTFOUND) {
        st = ql_chat_source_find(&source, j->model, NULL, false);
    }
    if (st == QL_OK) {
        j->has_template = true;
        j->dated = strstr(source.text, "strftime_now") != NULL;
        st = ql_go_template_init(&j->template, &source, j->tokens, bos_of(j));
    }
    ql_chat_source_free(&source);
    return st == QL_ENOTFOUND ? QL_OK : st;
}

static ql_status read_inputs(job *j)
{
    char *path = NULL;
    ql_status st;

    QL_TRY(ql_tokenizer_open(&j->tok, j->model));
    QL_TRY(ql_chat_tokens_read(&j->tokens, j->model));
    st = ql_json_load_optional(&j->generation, &path, j->model,
                               "generation_config.json", MAX_JSON);
    ql_free(path);
    return st == QL_OK ? read_template(j) : st;
}

static ql_status put_template(job *j)
{
    const ql_go_template *g = &j->template;

    if (g->text && j->dated) {
        QL_TRY(ql_buf_puts(&j->out, "# The date in the template is that of "
                                    "its export.\n"));
    }
    if (g->text && g->no_system) {
        QL_TRY(ql_buf_puts(&j->out, "# The model's chat template takes no "
                                    "system message: one is left out.\n"));
    }
    if (g->text) {
        return ql_buf_printf(&j->out, "TEMPLATE \"\"\"%s\"\"\"\n", g->text);
    }
    if (j->has_template) {
        ql_note("the model's chat template has no translation for Ollama: "
                "write a TEMPLATE into the Modelfile");
        return ql_buf_puts(&j->out, "# The model's chat template has no "
                                    "translation; write a TEMPLATE here.\n");
    }
    return ql_buf_puts(&j->out, "TEMPLATE \"\"\"{{ .Prompt }}\"\"\"\n");
}

/* A word that ends an answer, once. */
static ql_status put_stop(job *j, const char *word)
{
    char line[512];

    if (!word || strpbrk(word, "\"\\\n")) {
        return QL_OK;
    }
    snprintf(line, sizeof(line), "PARAMETER stop \"%s\"\n", word);
    return strstr(j->out.data, line) ? QL_OK : ql_buf_puts(&j->out, line);
}

/* The end tokens, and those special tokens that the template puts behind an
 * answer. */
static ql_status put_stops(job *j)
{
    const json_t *ends = json_object_get(j->generation, "eos_token_id");
    const ql_added_set *set = &j->tok->added.raw;

    QL_TRY(put_stop(j, ql_tokenizer_token(j->tok, j->tok->eos)));
    for (size_t i = 0; i < ql_json_count(ends); i++) {
        const json_int_t id = json_integer_value(ql_json_item(ends, i));

        QL_TRY(put_stop(j, ql_vocab_get(&j->tok->vocab, id, NULL)));
    }
    for (size_t i = 0; i < set->n; i++) {
        const ql_added_token *t = &set->tokens[i];

        if (j->template.end && t->id != j->tok->bos &&
            ql_added_is_special(&j->tok->added, t->id) &&
            strstr(j->template.end, t->content)) {
            QL_TRY(put_stop(j, t->content));
        }
    }
    return QL_OK;
}

/* How the makers of the model sample from it, if they do. */
static ql_status put_sampling(job *j)
{
    static const char *const names[][2] = {
        {"temperature", "temperature"},
        {"top_p", "top_p"},
        {"top_k", "top_k"},
        {"min_p", "min_p"},
        {"repetition_penalty", "repeat_penalty"},
    };

    if (!json_is_true(json_object_get(j->generation, "do_sample"))) {
        return QL_OK;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *v = json_object_get(j->generation, names[i][0]);

        if (json_is_number(v)) {
            QL_TRY(ql_buf_printf(&j->out, "PARAMETER %s %g\n", names[i][1],
                                 json_number_value(v)));
        }
    }
    return QL_OK;
}

static ql_status write_modelfile(job *j)
{
    char *path = ql_path_join(j->dir, modelfile_name);
    ql_status st = QL_ENOMEM;

    if (path) {
        QL_TRY_DONE(ql_buf_printf(&j->out, "FROM ./%s\n", model_name));
        if (!j->merged) {
            QL_TRY_DONE(ql_buf_printf(&j->out, "ADAPTER ./%s\n", adapter_name));
        }
        QL_TRY_DONE(put_template(j));
        QL_TRY_DONE(put_stops(j));
        QL_TRY_DONE(put_sampling(j));
        st = ql_file_write(path, j->out.data, j->out.len);
    }
done:
    ql_free(path);
    return st;
}

static ql_status run(job *j, const char *out_dir)
{
    ql_outdir out;
    ql_status st;

    QL_TRY(ql_dir_need(j->model, "give a Hugging Face model folder"));
    QL_TRY(
        ql_model_files_check(j->model, out_dir, modelfile_name, j->opt->force));
    QL_TRY(read_inputs(j));
    QL_TRY(ql_outdir_init(&out, out_dir, j->opt->force));
    j->dir = out.work;
    QL_TRY_DONE(write_adapter(j));
    QL_TRY_DONE(write_model(j));
    QL_TRY_DONE(write_modelfile(j));
    st = ql_outdir_commit(&out);
done:
    ql_outdir_free(&out);
    return st;
}

ql_status ql_export_ollama(const char *model_dir, const char *adapter_dir,
                           const char *out_dir, const ql_export_options *opt,
                           ql_export_report *report)
{
    ql_export_report own;
    job j = {.model = model_dir,
             .adapter = adapter_dir,
             .opt = opt,
             .report = report ? report : &own};
    ql_status st;

    *j.report = (ql_export_report){0};
    ql_buf_init(&j.out, QL_TAG_TEXT, MAX_MODELFILE);
    st = run(&j, out_dir);
    ql_go_template_free(&j.template);
    ql_tokenizer_close(&j.tok);
    json_decref(j.tokens);
    json_decref(j.generation);
    ql_buf_free(&j.out);
    return st;
}
