/* A folder that "ollama create" takes: the model and the adapter as GGUF
 * files, and a Modelfile that names them, with the chat template, the words
 * that end an answer, and the settings of the model's makers. */
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/base/quote.h"
#include "src/convert/gguf_adapter.h"
#include "src/convert/gguf_model.h"
#include "src/convert/go_template.h"
#include "src/convert/model_files.h"
#include "src/convert/modelfile.h"
#include "src/text/chat_end.h"
#include "src/text/end_ids.h"
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
    char *model_path, *adapter_path; /* of the files */
    ql_export_options adapter_opt;
    ql_export_report adapter_report;
    ql_gguf_adapter *adapter_file; /* NULL: it is worked into the model */
    ql_gguf_model_job what;
    ql_gguf_model *model_file;
    ql_tokenizer *tok;
    json_t *tokens; /* special tokens by name */
    json_t *generation;
    ql_end_ids ends;
    int32_t chat_end; /* of answers, by the template; -1 for none */
    ql_go_template template;
    bool has_template;
    bool dated;     /* the template puts the date in */
    bool has_tools; /* the template shows tools, or there is one that does */
    ql_buf out;
} job;

/* The adapter beside the model; where it cannot be said there, in it. */
static ql_status plan_adapter(job *j)
{
    ql_status st;

    j->adapter_opt = *j->opt;
    j->adapter_opt.type = QL_EXPORT_TYPE_F32;
    st = ql_gguf_adapter_open(&j->adapter_file, j->model, j->adapter,
                              j->adapter_path, &j->adapter_opt,
                              &j->adapter_report);
    if (st == QL_EUNSUPPORTED) {
        ql_note("the adapter is worked into the model, since %s",
                ql_last_error());
        return QL_OK;
    }
    return st;
}

static ql_status plan_model(job *j)
{
    j->what =
        (ql_gguf_model_job){.model = j->model,
                            .adapter = j->adapter_file ? NULL : j->adapter,
                            .trained = j->adapter,
                            .out = j->model_path,
                            .tokenizer = true};
    return ql_gguf_model_open(&j->model_file, &j->what, j->opt, j->report);
}

/* Both files are checked and have room before one is written. */
static ql_status plan_files(job *j, const char *dir)
{
    j->adapter_path = ql_path_join(dir, adapter_name);
    j->model_path = ql_path_join(dir, model_name);
    if (!j->adapter_path || !j->model_path) {
        return QL_ENOMEM;
    }
    QL_TRY(plan_adapter(j));
    QL_TRY(plan_model(j));
    return ql_disk_need(
        dir,
        ql_gguf_model_bytes(j->model_file) +
            (j->adapter_file ? ql_gguf_adapter_bytes(j->adapter_file) : 0));
}

static ql_status write_files(job *j)
{
    QL_TRY(ql_gguf_model_finish(j->model_file));
    if (!j->adapter_file) {
        return QL_OK;
    }
    j->report->files = 2;
    j->report->tensors += j->adapter_report.tensors;
    j->report->merged = j->adapter_report.merged;
    j->report->bytes += j->adapter_report.bytes;
    return ql_gguf_adapter_finish(j->adapter_file);
}

/* The text that Ollama puts before a conversation itself. */
static const char *bos_of(const job *j)
{
    const ql_post_row *row = &j->tok->postprocessor.single;
    const bool puts =
        row->n > 0 && row->items[0].id >= 0 && row->items[0].id == j->tok->bos;

    return puts ? ql_tokenizer_token(j->tok, j->tok->bos) : NULL;
}

/* Whether tools are shown, by the template of a folder or by another one there
 * for conversations with tools. */
static ql_status find_tools(job *j, const char *dir, const char *plain)
{
    ql_chat_source other;
    const ql_status st = ql_chat_source_find(&other, dir, NULL, true);

    j->has_tools = j->template.shows_tools ||
                   (st == QL_OK && strcmp(other.text, plain) != 0);
    ql_chat_source_free(&other);
    return st;
}

static ql_status read_template(job *j)
{
    const char *dir = j->adapter;
    ql_chat_source source;
    ql_status st = ql_chat_source_find(&source, dir, NULL, false);

    if (st == QL_ENOTFOUND) {
        dir = j->model;
        st = ql_chat_source_find(&source, dir, NULL, false);
    }
    if (st == QL_OK) {
        j->has_template = true;
        j->dated = strstr(source.text, "strftime_now") != NULL;
        st = ql_go_template_init(&j->template, &source, j->tokens, bos_of(j));
    }
    if (st == QL_OK) {
        st = find_tools(j, dir, source.text);
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
    QL_TRY(st);
    QL_TRY(ql_end_ids_init(&j->ends, j->model));
    QL_TRY(ql_chat_end_read(&j->chat_end, j->adapter, j->model, j->tok));
    return read_template(j);
}

static ql_status put_template(job *j)
{
    const ql_go_template *g = &j->template;

    if (g->text && j->dated) {
        QL_TRY(ql_buf_puts(&j->out, "# The date in the template is that of "
                                    "its export.\n"));
    }
    if (g->text && g->folds_system) {
        QL_TRY(ql_buf_puts(&j->out,
                           "# The model's chat template shows no system "
                           "message: it is put before the first question.\n"));
    }
    if (g->text && j->has_tools) {
        ql_warn("the model's chat template shows tools, the one for Ollama "
                "does not: there the model gets none");
        QL_TRY(ql_buf_puts(&j->out, "# The model's chat template shows tools; "
                                    "this one does not.\n"));
    }
    if (g->text && ql_modelfile_can(g->text)) {
        return ql_buf_printf(&j->out, "TEMPLATE \"\"\"%s\"\"\"\n", g->text);
    }
    if (j->has_template) {
        ql_warn("the model's chat template has no translation for Ollama: "
                "write a TEMPLATE into the Modelfile");
        return ql_buf_puts(&j->out, "# The model's chat template has no "
                                    "translation; write a TEMPLATE here.\n");
    }
    return ql_buf_puts(&j->out, "TEMPLATE \"\"\"{{ .Prompt }}\"\"\"\n");
}

/* A word that ends an answer, once. */
static ql_status put_stop(job *j, const char *word)
{
    ql_buf line;
    ql_status st;

    ql_buf_init(&line, QL_TAG_TEXT, MAX_MODELFILE);
    if (!ql_modelfile_can(word)) {
        QL_TRY_DONE(ql_quote_ascii(&line, word, strlen(word)));
        ql_warn("a Modelfile cannot say the text %s, which ends answers: "
                "Ollama may write on behind it",
                line.data);
        goto done;
    }
    QL_TRY_DONE(ql_buf_puts(&line, "PARAMETER stop "));
    QL_TRY_DONE(ql_modelfile_quote(&line, word));
    QL_TRY_DONE(ql_buf_puts(&line, "\n"));
    if (word[0] && !strstr(j->out.data, line.data)) {
        st = ql_buf_puts(&j->out, line.data);
    }
done:
    ql_buf_free(&line);
    return st;
}

/* The same of a token, by the text that it adds to one: a piece may stand for
 * blanks or bytes. */
static ql_status put_stop_token(job *j, int32_t id)
{
    const int32_t ids[2] = {id, id};
    char *one = NULL;
    char *two = NULL;
    size_t n = 0;
    size_t m = 0;
    ql_status st;

    if (id < 0 || !ql_tokenizer_token(j->tok, id)) {
        return QL_OK;
    }
    QL_TRY_DONE(ql_tokenizer_decode(j->tok, ids, 1, false, &one, &n));
    QL_TRY_DONE(ql_tokenizer_decode(j->tok, ids, 2, false, &two, &m));
    st = put_stop(j, m > n ? two + n : one);
done:
    ql_free(one);
    ql_free(two);
    return st;
}

static ql_status put_stops(job *j)
{
    QL_TRY(put_stop_token(j, j->tok->eos));
    for (size_t i = 0; i < j->ends.n; i++) {
        QL_TRY(put_stop_token(j, j->ends.ids[i]));
    }
    return j->chat_end < 0
               ? QL_OK
               : put_stop(j, ql_tokenizer_token(j->tok, j->chat_end));
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
            QL_TRY(ql_buf_printf(&j->out, "PARAMETER %s %.15g\n", names[i][1],
                                 json_number_value(v)));
        }
    }
    return QL_OK;
}

static ql_status make_modelfile(job *j)
{
    QL_TRY(ql_buf_printf(&j->out, "FROM ./%s\n", model_name));
    if (j->adapter_file) {
        QL_TRY(ql_buf_printf(&j->out, "ADAPTER ./%s\n", adapter_name));
    }
    QL_TRY(put_template(j));
    QL_TRY(put_stops(j));
    return put_sampling(j);
}

static ql_status write_modelfile(const job *j, const char *dir)
{
    char *path = ql_path_join(dir, modelfile_name);
    const ql_status st =
        path ? ql_file_write(path, j->out.data, j->out.len) : QL_ENOMEM;

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
    QL_TRY(ql_model_files_keep(j->adapter, out_dir));
    QL_TRY(read_inputs(j));
    QL_TRY(ql_outdir_init(&out, out_dir, j->opt->force));
    QL_TRY_DONE(plan_files(j, out.work));
    QL_TRY_DONE(make_modelfile(j));
    QL_TRY_DONE(write_files(j));
    QL_TRY_DONE(write_modelfile(j, out.work));
    st = ql_outdir_commit(&out);
done:
    ql_gguf_adapter_close(&j->adapter_file);
    ql_gguf_model_close(&j->model_file);
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
    ql_free(j.adapter_path);
    ql_free(j.model_path);
    ql_go_template_free(&j.template);
    ql_tokenizer_close(&j.tok);
    json_decref(j.tokens);
    json_decref(j.generation);
    ql_end_ids_free(&j.ends);
    ql_buf_free(&j.out);
    return st;
}
