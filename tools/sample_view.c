#include "tools/sample_view.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct view {
    FILE *out;
    bool coloured;
    bool classes; /* what is marked is not trained: it is the second text */
} view;

bool sample_view_coloured(FILE *out)
{
    const char *term = getenv("TERM");
    const char *no = getenv("NO_COLOR");

    return isatty(fileno(out)) && !(no && *no) && term && *term &&
           strcmp(term, "dumb") != 0;
}

const char *sample_view_mark(bool coloured, ql_sample s)
{
    return s.label > 0 ? "the class" : coloured ? "green" : "between [[ and ]]";
}

static void put_text(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];

        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
            fprintf(out, "\\x%02x", c);
        } else {
            putc(c, out);
        }
    }
}

static void put_part(const char *text, size_t len, bool trained, void *user)
{
    const view *v = user;

    trained = trained && !v->classes;
    if (trained) {
        fputs(v->coloured ? "\033[32m" : "[[", v->out);
    }
    put_text(v->out, text, len);
    if (trained) {
        fputs(v->coloured ? "\033[0m" : "]]", v->out);
    }
}

ql_status sample_view_print(FILE *out, bool coloured, const ql_tokenizer *tok,
                            const ql_dataset *ds, ql_sample s)
{
    view v = {.out = out, .coloured = coloured, .classes = s.label > 0};
    const ql_status st = ql_sample_show(tok, s, put_part, &v);
    const char *name = ql_dataset_class(ds, s);

    if (name) {
        fputs(" -> ", out);
        put_text(out, name, strlen(name));
    }
    putc('\n', out);
    return st;
}
