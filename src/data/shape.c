#include "src/data/shape.h"

#include "src/base/fail.h"
#include "src/data/marked.h"
#include "src/data/turns.h"

static ql_status shape_talk(const ql_shaper *s, ql_talk *t,
                            ql_sample_draft *out, ql_shape_notes *notes)
{
    const ql_style *style = ql_styles_of(&s->styles, t);

    if (!s->styles.plain.chat) {
        QL_FAIL(QL_EUNSUPPORTED,
                "a conversation, but the model's chat template cannot be "
                "used");
    }
    QL_TRY(ql_style_fit(style, t, &notes->lacks));
    return ql_turns_push(out, style, s->tok, t, s->train_on);
}

/* A text, or a prompt and what follows it. They are tokenized as one text, for
 * tokens may melt into one another where the two meet. */
static ql_status shape_text(const ql_shaper *s, const ql_content *c,
                            ql_sample_draft *out)
{
    const bool all = s->train_on == QL_TRAIN_ON_ALL;
    const ql_chat_span span = {all ? 0 : c->prompt_len, c->prompt_len + c->len};
    ql_marked m = {.spans = &span, .n = 1};
    ql_status st = QL_OK;
    ql_buf text;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    if (span.to > 0) {
        QL_TRY_DONE(ql_buf_append(&text, c->prompt, c->prompt_len));
        QL_TRY_DONE(ql_buf_append(&text, c->text, c->len));
        m.text = text.data;
        m.len = text.len;
        QL_TRY_DONE(ql_marked_push(out, s->tok, m, true));
    }
    st = ql_sample_draft_end(out);
done:
    ql_buf_free(&text);
    return st;
}

ql_status ql_shape(const ql_shaper *s, const ql_form *form,
                   const json_t *record, ql_sample_draft *out,
                   ql_shape_notes *notes)
{
    ql_content c;
    ql_status st;

    *notes = (ql_shape_notes){0};
    QL_TRY_DONE(ql_form_read(form, record, &c));
    notes->talks = c.talks;
    st = c.talks ? shape_talk(s, &c.talk, out, notes) : shape_text(s, &c, out);
done:
    ql_content_free(&c);
    return st;
}
