/* Real files of records, tokenized with a real tokenizer: their packs are at
 * least 97 % full, or as few as there can be. */
#include <stdio.h>

#include "src/data/batches.h"
#include "tests/check/check.h"

enum {
    ROOM = 1024
};

static const char *const files[] = {
    "chat/sharegpt_glaive_toolcall_300.json",
    "chat/sharegpt_vicuna_identity.json",
    "chat/soda_messages.jsonl",
    "classification/sst2_dev_872.jsonl",
    "classification/sst2_train_5000.jsonl",
    "instruct/alpaca_1k.json",
    "instruct/llamafactory_alpaca_en_demo.json",
    "instruct/wikisql_text_1000.jsonl",
    "math/gsm8k_test_300.jsonl",
    "math/gsm8k_train_1500.jsonl",
    "preference/dpo_en_150.json",
    "pretrain/c4_demo_300.jsonl",
    "pretrain/tinyshakespeare.txt",
    "pretrain/tinystories_valid.jsonl",
};

static void check_file(const ql_tokenizer *tok, const char *file)
{
    char relative[256];
    const char *path;
    ql_dataset_options opt;
    ql_dataset *ds = NULL;
    size_t fewest;
    ql_batches b;

    snprintf(relative, sizeof(relative), "data/%s", file);
    path = check_shared(relative);
    ql_dataset_options_init(&opt);
    opt.max_length = ROOM;
    check_ok(ql_dataset_open(&ds, &path, 1, tok, &opt));
    check_ok(ql_batches_init(
        &b, ds,
        &(ql_batches_options){.size = 1, .packing = true, .shuffle = true}));
    fewest = (ql_dataset_report_of(ds)->tokens + ROOM - 1) / ROOM;
    printf("%-40s %5zu samples, %4zu packs, fewest %4zu, %.1f %% full\n", file,
           ql_dataset_size(ds), b.packs, fewest, 100 * b.fill);
    assert_true(b.fill >= 0.97 || b.packs == fewest);
    assert_true(b.max_tokens <= ROOM);
    ql_batches_free(&b);
    ql_dataset_close(&ds);
}

static void packs__of_real_files_are_full(void **state)
{
    ql_tokenizer *tok = NULL;

    (void)state;
    check_ok(ql_tokenizer_open(&tok, check_shared("tokenizers/llama2")));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        check_file(tok, files[i]);
    }
    ql_tokenizer_close(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs__of_real_files_are_full),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
