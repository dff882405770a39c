/* tokenizer.json: each part is read by the file that implements it. The
 * settings "truncation" and "padding" are left alone, since transformers
 * replaces them at every call.
 *
 * A tree of the whole file would take ten times its size, nearly all of it
 * for the lists "vocab" and "merges" of the model. So these two are cut out of
 * the text, of which the tree is made, and read on their own. */
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/tokenizer_handle.h"

enum {
    FILE_BYTES = 1 << 28
};

/* The text of the file and what is cut out of it. */
typedef struct source {
    ql_json_scan text;  /* all of it */
    ql_json_scan vocab; /* values in it; all zero where there are none */
    ql_json_scan merges;
    ql_buf rest;      /* the text with null in place of these */
    const char *done; /* up to here, text is in rest */
} source;

/* Leaves a value out: null and as many line ends as it has, so that errors
 * after it name the right line. */
static ql_status cut_value(source *s, ql_json_scan *at, ql_json_scan *value)
{
    ql_json_scan_peek(at);
    *value = *at;
    QL_TRY(ql_json_scan_skip(at));
    value->end = at->p;
    QL_TRY(ql_buf_append(&s->rest, s->done, (size_t)(value->p - s->done)));
    QL_TRY(ql_buf_puts(&s->rest, "null"));
    for (const char *p = value->p; (p = memchr(p, '\n', (size_t)(at->p - p)));
         p++) {
        QL_TRY(ql_buf_putc(&s->rest, '\n'));
    }
    s->done = at->p;
    return QL_OK;
}

/* A member of an object, whose name was read. */
typedef ql_status member_fn(source *s, ql_json_scan *at, const char *name);

/* Passes over a value. Of an object, member passes over those of members. */
static ql_status each_member(source *s, ql_json_scan *at, member_fn *member)
{
    ql_status st = QL_OK;
    ql_buf name;

    if (!ql_json_scan_take(at, '{')) {
        return ql_json_scan_skip(at);
    }
    if (ql_json_scan_take(at, '}')) {
        return QL_OK;
    }
    ql_buf_init(&name, QL_TAG_TEXT, SIZE_MAX / 4);
    do {
        QL_TRY_DONE(ql_json_scan_string(at, &name));
        QL_TRY_DONE(ql_json_scan_expect(at, ':'));
        QL_TRY_DONE(member(s, at, name.data));
    } while (ql_json_scan_take(at, ','));
    st = ql_json_scan_expect(at, '}');
done:
    ql_buf_free(&name);
    return st;
}

static ql_status model_member(source *s, ql_json_scan *at, const char *name)
{
    if (strcmp(name, "vocab") == 0) {
        return cut_value(s, at, &s->vocab);
    }
    return strcmp(name, "merges") == 0 ? cut_value(s, at, &s->merges)
                                       : ql_json_scan_skip(at);
}

static ql_status root_member(source *s, ql_json_scan *at, const char *name)
{
    return strcmp(name, "model") == 0 ? each_member(s, at, model_member)
                                      : ql_json_scan_skip(at);
}

/* Of a name that is there twice, the tree finds out. */
static ql_status parse(source *s, json_t **root)
{
    ql_json_scan at = s->text;

    *root = NULL;
    QL_TRY(each_member(s, &at, root_member));
    QL_TRY(ql_buf_append(&s->rest, s->done, (size_t)(s->text.end - s->done)));
    QL_TRY(ql_json_parse(root, s->rest.data, s->rest.len, s->text.where));
    if (!json_is_object(*root)) {
        QL_FAIL(QL_EFORMAT, "%s: must be a JSON object", s->text.where);
    }
    return QL_OK;
}

/* The normalizer comes before the added tokens, which it is applied to. */
static ql_status read_parts(ql_tokenizer *t, const source *s,
                            const json_t *root)
{
    const char *where = s->text.where;
    const ql_model_text model = {
        .part = {json_object_get(root, "model"), where, "model"},
        .vocab = s->vocab,
        .merges = s->merges};

    QL_TRY(ql_subword_init(&t->model, &model, &t->vocab));
    t->vocab.sealed = true;
    QL_TRY(ql_normalizer_init(&t->normalizer,
                              json_object_get(root, "normalizer"), where));
    QL_TRY(ql_added_init(&t->added, json_object_get(root, "added_tokens"),
                         &t->vocab, &t->normalizer, where));
    QL_TRY(ql_pretokenizer_init(&t->pretokenizer,
                                json_object_get(root, "pre_tokenizer"), where));
    QL_TRY(ql_postprocessor_init(&t->postprocessor,
                                 json_object_get(root, "post_processor"),
                                 &t->vocab, where));
    return ql_decoder_init(&t->decoder, json_object_get(root, "decoder"),
                           where);
}

/* Refuses a folder that has a tokenizer of another form only. */
static ql_status refuse_other(const char *dir, const char *path)
{
    static const char *const others[] = {"tokenizer.model", "spiece.model",
                                         "vocab.json", "vocab.txt"};
    bool there = ql_path_exists(path);

    for (size_t i = 0; !there && i < sizeof(others) / sizeof(others[0]); i++) {
        char *other = ql_path_join(dir, others[i]);

        if (!other) {
            return QL_ENOMEM;
        }
        there = ql_path_exists(other);
        ql_free(other);
        if (there) {
            QL_FAIL(QL_ENOTFOUND,
                    "%s: there is no tokenizer.json but a %s, which is not "
                    "read; make one of the other in Python: "
                    "transformers.AutoTokenizer.from_pretrained(\"%s\")"
                    ".save_pretrained(\"%s\")",
                    dir, others[i], dir, dir);
        }
    }
    return QL_OK;
}

/* A use of the tree; source is what was cut out of it. */
typedef ql_status tree_fn(void *ctx, const source *s, json_t *root);

static ql_status with_tree(const char *dir, tree_fn *use, void *ctx)
{
    char *path = ql_path_join(dir, "tokenizer.json");
    json_t *root = NULL;
    char *text = NULL;
    source s = {0};
    size_t len = 0;
    ql_status st;

    ql_buf_init(&s.rest, QL_TAG_TEXT, SIZE_MAX / 4);
    QL_TRY_DONE(path ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(refuse_other(dir, path));
    QL_TRY_DONE(ql_file_read(path, FILE_BYTES, &text, &len));
    s.text = (ql_json_scan){text, text, text + len, path};
    s.done = text;
    QL_TRY_DONE(parse(&s, &root));
    st = use(ctx, &s, root);
done:
    json_decref(root);
    ql_buf_free(&s.rest);
    ql_free(text);
    ql_free(path);
    return st;
}

static ql_status read_tree(void *ctx, const source *s, json_t *root)
{
    return read_parts(ctx, s, root);
}

ql_status ql_tokenizer_read(ql_tokenizer *t, const char *dir)
{
    return with_tree(dir, read_tree, t);
}

static ql_status keep_tree(void *ctx, const source *s, json_t *root)
{
    json_t **out = ctx;

    (void)s;
    *out = json_incref(root);
    return QL_OK;
}

ql_status ql_tokenizer_tree(json_t **root, const char *dir)
{
    *root = NULL;
    return with_tree(dir, keep_tree, root);
}
