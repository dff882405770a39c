/* A tokenizer may write a token differently at the start of a text than within
 * it, so a stretch is what the text up to its end has more than the text up to
 * its start. */
#include "qlora/dataset.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"

/* The end of the stretch that begins with token i. */
static size_t stretch_end(ql_sample s, size_t i)
{
    const uint8_t mark = s.train[i];

    while (i < s.n && (s.label > 0 || s.train[i] == mark)) {
        i++;
    }
    return i;
}

ql_status ql_sample_show(const ql_tokenizer *tok, ql_sample s,
                         ql_sample_part_fn *fn, void *user)
{
    size_t shown = 0;

    for (size_t i = 0; i < s.n;) {
        const size_t end = stretch_end(s, i);
        char *text;
        size_t len;

        QL_TRY(ql_tokenizer_decode(tok, s.ids, end, false, &text, &len));
        if (len > shown) {
            fn(text + shown, len - shown, s.label == 0 && s.train[i], user);
            shown = len;
        }
        ql_free(text);
        i = end;
    }
    return QL_OK;
}
