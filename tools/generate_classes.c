#include "tools/generate_classes.h"

#include <stdio.h>

#include "tools/cli/results.h"

/* The likeliest class so far, and how classes are shown. */
typedef struct classes {
    char name[256];
    double share;
    size_t n;
    bool json;
} classes;

static void show_class(const char *name, double share, void *user)
{
    classes *c = user;

    if (c->n == 0 || share > c->share) {
        snprintf(c->name, sizeof(c->name), "%s", name);
        c->share = share;
    }
    if (c->json) {
        fputs(c->n > 0 ? ", " : "{\"scores\": {", stdout);
        cli_json_string(stdout, name);
        printf(": %.6g", share);
    } else {
        printf("%8.6f  %s\n", share, name);
    }
    c->n++;
}

ql_status generate_classes(ql_model *m, const ql_tokenizer *tok,
                           const generate_options *o, bool json)
{
    classes c = {.json = json};
    const ql_status st = ql_classify(m, tok, o->prompt ? o->prompt : "",
                                     o->pair, show_class, &c);

    if (st == QL_OK && json) {
        fputs("}, \"label\": ", stdout);
        cli_json_string(stdout, c.name);
        puts("}");
    } else if (st == QL_OK) {
        printf("label: %s\n", c.name);
    }
    return st;
}
