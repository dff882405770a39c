#include "tests/check/toy_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/note.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    PATH_BYTES = 4200,
    MAX_FILE = 1 << 24
};

static char notes[1 << 14];

static void keep_note(ql_note_kind kind, const char *text, void *user)
{
    const size_t n = strlen(notes);

    (void)kind;
    (void)user;
    snprintf(notes + n, sizeof(notes) - n, "%s\n", text);
}

void toy_run_open(toy_run *r)
{
    *r = (toy_run){0};
    check_ok(ql_model_open(&r->m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&r->tok, toy_model()));
    r->data = toy_data(r->tok, 12);
    check_ok(ql_dataset_split(r->data, 3, &r->eval));
    ql_note_set(keep_note, NULL);
    toy_run_notes();
}

void toy_run_close(toy_run *r)
{
    ql_note_set(NULL, NULL);
    ql_dataset_close(&r->data);
    ql_dataset_close(&r->eval);
    ql_tokenizer_close(&r->tok);
    ql_model_close(&r->m);
}

toy_run toy;

int toy_run_setup(void **state)
{
    (void)state;
    toy_run_open(&toy);
    return 0;
}

int toy_run_teardown(void **state)
{
    (void)state;
    toy_run_close(&toy);
    return 0;
}

void toy_run_options(ql_train_options *o)
{
    ql_train_options_init(o);
    o->lora_r = 2;
    o->learning_rate = 3e-2;
    o->lora_dropout = 0.1;
    o->packing = false;
    o->per_device_train_batch_size = 2;
    o->gradient_accumulation_steps = 2;
    o->num_train_epochs = 3;
    o->logging_steps = 2;
    o->eval_steps = 2;
    o->save_steps = 1;
    o->save_total_limit = 3;
}

const char *toy_run_notes(void)
{
    static char last[sizeof(notes)];

    memcpy(last, notes, sizeof(last));
    notes[0] = '\0';
    return last;
}

void toy_run_copy(const char *from, const char *to)
{
    char command[2 * PATH_BYTES];

    assert_false(ql_path_exists(to));
    snprintf(command, sizeof(command), "cp -R '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static char *read_file(const char *dir, const char *name, size_t *n)
{
    char path[PATH_BYTES];
    char *text = NULL;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    check_ok(ql_file_read(path, MAX_FILE, &text, n));
    return text;
}

void toy_run_same_file(const char *a, const char *b, const char *name)
{
    size_t n;
    size_t m;
    char *x = read_file(a, name, &n);
    char *y = read_file(b, name, &m);

    if (n != m || memcmp(x, y, n) != 0) {
        fail_msg("%s/%s is not %s/%s", a, name, b, name);
    }
    ql_free(x);
    ql_free(y);
}

/* metrics.csv without what depends on the clock: the last two columns. */
static void check_same_log(const char *a, const char *b)
{
    size_t n;
    char *x = read_file(a, "metrics.csv", &n);
    char *y = read_file(b, "metrics.csv", &n);
    char *rest_x = x;
    char *rest_y = y;

    for (;;) {
        char *line = strtok_r(rest_x, "\n", &rest_x);
        char *other = strtok_r(rest_y, "\n", &rest_y);

        assert_true((line == NULL) == (other == NULL));
        if (!line) {
            break;
        }
        for (int i = 0; i < 2; i++) {
            *strrchr(line, ',') = '\0';
            *strrchr(other, ',') = '\0';
        }
        assert_string_equal(line, other);
    }
    ql_free(x);
    ql_free(y);
}

static void check_same_names(const char *a, const char *b)
{
    char **x;
    char **y;
    size_t n;
    size_t m;

    check_ok(ql_dir_list(a, &x, &n));
    check_ok(ql_dir_list(b, &y, &m));
    for (size_t i = 0; i < n && i < m; i++) {
        assert_string_equal(x[i], y[i]);
    }
    assert_int_equal(n, m);
    ql_dir_list_free(x, n);
    ql_dir_list_free(y, m);
}

void toy_run_same(const char *a, const char *b)
{
    check_same_names(a, b);
    toy_run_same_file(a, b, "adapter_model.safetensors");
    toy_run_same_file(a, b, "adapter_config.json");
    check_same_log(a, b);
}
