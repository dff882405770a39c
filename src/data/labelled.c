#include "src/data/labelled.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/text/tokenizer_handle.h"

enum {
    NAMED_BYTES = 200 /* of the classes, in an error sentence */
};

/* How records call their texts; the second is NULL for one text alone. */
static const struct {
    const char *a, *b;
} texts[] = {
    {"text", "text_pair"},
    {"sentence1", "sentence2"},
    {"premise", "hypothesis"},
    {"question1", "question2"},
    {"text1", "text2"},
    {"text_a", "text_b"},
    {"question", "sentence"},
    {"question", "passage"},
    {"text", NULL},
    {"sentence", NULL},
    {"content", NULL},
    {"review", NULL},
};

static const char *const labels[] = {"label", "labels"};

/* The row of texts that a record has. */
static size_t row_of(const json_t *r)
{
    size_t i = 0;

    while (i < sizeof(texts) / sizeof(texts[0]) &&
           !(json_is_string(json_object_get(r, texts[i].a)) &&
             (!texts[i].b || json_is_string(json_object_get(r, texts[i].b))))) {
        i++;
    }
    return i;
}

static const char *label_key(const json_t *r)
{
    return json_object_get(r, labels[0]) ? labels[0] : labels[1];
}

ql_status ql_labelled_keys(const json_t *record, ql_buf *out)
{
    const size_t i = row_of(record);

    if (i == sizeof(texts) / sizeof(texts[0])) {
        return QL_OK;
    }
    QL_TRY(ql_buf_puts(out, texts[i].a));
    if (texts[i].b) {
        QL_TRY(ql_buf_printf(out, ", %s", texts[i].b));
    }
    return ql_buf_printf(out, ", %s", label_key(record));
}

static ql_status unknown(const ql_labelled *l, const char *what)
{
    char names[NAMED_BYTES] = "";
    size_t used = 0;

    for (size_t i = 0; i < l->labels->n && used < sizeof(names); i++) {
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                 i ? ", " : "", l->labels->name[i]);
    }
    QL_FAIL(
        QL_EFORMAT,
        "the label %.100s is none of the model's classes: they are %s, or 0 "
        "to %zu; \"id2label\" of config.json names them",
        what, names, l->labels->n - 1);
}

/* A class by its name, or by its number, which may be written as a string. */
static ql_status class_by_text(const ql_labelled *l, const char *text,
                               size_t *out)
{
    char *end = NULL;

    *out = ql_labels_find(l->labels, text);
    if (*out == l->labels->n && *text >= '0' && *text <= '9') {
        *out = strtoull(text, &end, 10);
        *out = *end ? l->labels->n : *out;
    }
    return *out < l->labels->n ? QL_OK : unknown(l, text);
}

static ql_status class_of(const ql_labelled *l, const json_t *r, size_t *out)
{
    const json_t *v = json_object_get(r, label_key(r));
    char text[32];

    *out = 0;
    if (json_is_string(v)) {
        return class_by_text(l, json_string_value(v), out);
    }
    if (json_is_boolean(v)) {
        *out = json_is_true(v);
        return QL_OK;
    }
    if (!json_is_integer(v)) {
        QL_FAIL(QL_EFORMAT, "\"label\" must be the number or the name of a "
                            "class");
    }
    *out = (size_t)json_integer_value(v);
    if (json_integer_value(v) < 0 || *out >= l->labels->n) {
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
        return unknown(l, text);
    }
    return QL_OK;
}

/* Takes from the longer of two texts, the second of equals, until both fit into
 * room tokens. */
static void cut(ql_encoding e[2], size_t room)
{
    size_t n[2] = {ql_encoding_size(&e[0]), ql_encoding_size(&e[1])};

    while (n[0] + n[1] > room) {
        n[n[1] >= n[0] && n[1] > 0]--;
    }
    ql_encoding_cut(&e[0], n[0]);
    ql_encoding_cut(&e[1], n[1]);
}

static size_t specials_of(const ql_post_row *row)
{
    size_t n = 0;

    for (size_t i = 0; i < row->n; i++) {
        n += row->items[i].id >= 0;
    }
    return n;
}

/* Puts the texts together as the post-processor has them. */
static ql_status join(const ql_post_row *row, const ql_encoding e[2],
                      ql_sample_draft *out)
{
    for (size_t i = 0; i < row->n; i++) {
        const ql_post_item item = row->items[i];
        const ql_encoding *text = &e[item.id == QL_POST_B];

        QL_TRY(item.id >= 0
                   ? ql_sample_draft_push(out, &item.id, 1, item.type)
                   : ql_sample_draft_push(out, ql_encoding_ids(text),
                                          ql_encoding_size(text), item.type));
    }
    return QL_OK;
}

ql_status ql_labelled_encode(const ql_tokenizer *tok, const char *a,
                             const char *b, size_t most, ql_sample_draft *out)
{
    const ql_post_row *row =
        b ? &tok->postprocessor.pair : &tok->postprocessor.single;
    const size_t extra = specials_of(row);
    ql_encoding e[2];
    ql_status st;

    ql_encoding_init(&e[0], QL_TAG_DATA, false);
    ql_encoding_init(&e[1], QL_TAG_DATA, false);
    QL_TRY_DONE(ql_tokenizer_append(tok, a, strlen(a), true, &e[0]));
    if (b) {
        QL_TRY_DONE(ql_tokenizer_append(tok, b, strlen(b), true, &e[1]));
    }
    out->whole = ql_encoding_size(&e[0]) + ql_encoding_size(&e[1]) + extra;
    if (most > 0 && out->whole > most) {
        cut(e, most > extra ? most - extra : 0);
    }
    st = join(row, e, out);
done:
    ql_encoding_free(&e[0]);
    ql_encoding_free(&e[1]);
    return st;
}

ql_status ql_labelled_push(const ql_labelled *l, const json_t *record,
                           ql_sample_draft *out)
{
    const size_t i = row_of(record);
    size_t label;

    if (i == sizeof(texts) / sizeof(texts[0])) {
        QL_FAIL(QL_EFORMAT,
                "the model is a classifier, and the record has no text for it; "
                "known are (text, label), (text, text_pair, label), "
                "(sentence1, sentence2, label), (premise, hypothesis, label)");
    }
    QL_TRY(class_of(l, record, &label));
    QL_TRY(ql_labelled_encode(
        l->tok, json_string_value(json_object_get(record, texts[i].a)),
        texts[i].b ? json_string_value(json_object_get(record, texts[i].b))
                   : NULL,
        l->most, out));
    out->label = (int32_t)label + 1;
    return ql_sample_draft_end(out);
}
