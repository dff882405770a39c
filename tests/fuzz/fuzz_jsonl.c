/* Any bytes as training data, plain or compressed: refused with a sentence, or
 * samples that are as long as promised, with something to train in each. Some
 * inputs are read as plain text, and some by a chat template that splits
 * conversations, going on after records that are refused. */
#include <string.h>

#include "qlora/dataset.h"
#include "src/base/alloc.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

static const char tokenizer[] =
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"</s>\", \"special\": true, "
    "\"normalized\": false}], \"model\": {\"type\": \"BPE\", \"unk_token\": "
    "\"u\", \"merges\": [], \"vocab\": {\"u\": 0, \"</s>\": 1, \"a\": 2, "
    "\"b\": 3, \"e\": 4}}}";

static ql_tokenizer *open_tokenizer(void)
{
    static ql_tokenizer *tok;

    if (!tok) {
        const char *dir = fuzz_folder_write("tokenizer.json", tokenizer,
                                            sizeof(tokenizer) - 1);

        FUZZ_CHECK(ql_tokenizer_open(&tok, dir) == QL_OK);
    }
    return tok;
}

static const char template[] =
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no') }}{% endif %}{{ m.role[0] }}"
    "{{ 'x' if loop.last }}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}</s>"
    "{% endfor %}{% if add_generation_prompt %}a{% endif %}";

static void visit(const ql_dataset *d, size_t longest)
{
    for (size_t i = 0; i < ql_dataset_size(d); i++) {
        const ql_sample s = ql_dataset_sample(d, i);
        size_t trained = 0;

        FUZZ_CHECK(s.n > 0 && s.n <= longest && !s.train[0]);
        FUZZ_CHECK(ql_dataset_origin(d, i).line > 0);
        for (size_t t = 0; t < s.n; t++) {
            FUZZ_CHECK(s.ids[t] >= 0 && s.ids[t] < 5 && s.train[t] < 2);
            trained += s.train[t];
        }
        FUZZ_CHECK(trained > 0);
    }
    for (size_t i = 0; i < ql_dataset_issues(d); i++) {
        FUZZ_CHECK(ql_dataset_issue(d, i).origin.line > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_tokenizer *tok = open_tokenizer();
    const char *name = size % 8 == 0 ? "data.txt" : "data.jsonl";
    char path[300];
    const char *file = path;
    ql_dataset *d = NULL;
    ql_dataset_options o;

    snprintf(path, sizeof(path), "%s/%s", fuzz_folder_write(name, data, size),
             name);
    ql_dataset_options_init(&o);
    o.max_length = 16;
    if (size % 2 == 1) {
        o.chat_template = template;
        o.keep_going = true;
        o.train_on = (ql_train_on)(size % 3);
    }
    if (ql_dataset_open(&d, &file, 1, tok, &o) == QL_OK) {
        visit(d, o.max_length);
    } else {
        FUZZ_CHECK(!d && *ql_last_error());
    }
    ql_dataset_close(&d);
    return 0;
}
