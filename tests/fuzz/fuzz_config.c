/* Any bytes as config.json: a config whose sizes can be multiplied without
 * fear, or a refusal that names the file. */
#include <string.h>

#include "src/model/config.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

enum {
    MOST = 1 << 28 /* elements along either side of a module */
};

static void visit(const ql_config *c)
{
    FUZZ_CHECK(c->arch && c->layers > 0 && c->V > 0);
    FUZZ_CHECK(c->D > 0 && c->D % 2 == 0 && c->H % c->KV == 0);
    FUZZ_CHECK(c->eps >= 0 && c->max_position > 0);
    FUZZ_CHECK(c->score_scale > 0 && c->score_cap >= 0 && c->logit_cap >= 0);
    for (size_t i = 0; i < c->layers; i++) {
        const int rope = c->layer[i].rope;

        FUZZ_CHECK(rope < QL_ROPES);
        FUZZ_CHECK(rope < 0 ||
                   (c->rope[rope].theta > 1 && c->rope[rope].dim > 0 &&
                    c->rope[rope].dim <= c->D));
    }
    for (int m = 0; m < QL_MODULES; m++) {
        size_t out;
        size_t in;

        if (ql_config_module(c, (ql_module)m, &out, &in)) {
            FUZZ_CHECK(out > 0 && out <= MOST && in > 0 && in <= MOST);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *dir = fuzz_folder_write("config.json", data, size);
    ql_config c;

    if (ql_config_init(&c, dir) == QL_OK) {
        visit(&c);
    } else {
        FUZZ_CHECK(strstr(ql_last_error(), "config.json"));
        FUZZ_CHECK(!c.rope_factors && !c.layer);
    }
    ql_config_free(&c);
    return 0;
}
