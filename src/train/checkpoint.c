#include "src/train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/crc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/trained_folder.h"

enum {
    FORMAT = 1, /* of checkpoint.json and of the files it names */
    MAX_JSON = 16 << 20,
    SUM_TEXT = 16,
    CHUNK = 1 << 16 /* bytes of the optimizer's state at a time */
};

static const char manifest_name[] = "checkpoint.json";
static const char prefix[] = "checkpoint-";

/* Files of a checkpoint, in the order in which they are verified. Those of an
 * adapter are there, or those of all weights. */
static const struct {
    const char *name;
    bool optional;
} files[] = {
    {"adapter_config.json", true},
    {"adapter_model.safetensors", true},
    {"config.json", true},
    {"model.safetensors", true},
    {"optimizer.bin", false},
    {"trainer_state.json", false},
    {"best/adapter_config.json", true},
    {"best/adapter_model.safetensors", true},
    {"best/config.json", true},
    {"best/model.safetensors", true},
};

enum {
    FILES = sizeof(files) / sizeof(files[0])
};

/* The counters by name. A number that is not finite has no key. */
typedef enum kind {
    COUNT,
    TRUTH,
    REAL
} kind;

#define FIELD(member) offsetof(ql_progress, member)

static const struct {
    const char *name;
    kind kind;
    size_t offset;
} fields[] = {
    {"step", COUNT, FIELD(step)},
    {"evaluated", COUNT, FIELD(evaluated)},
    {"finished", TRUTH, FIELD(finished)},
    {"best_step", COUNT, FIELD(best_step)},
    {"next_learning_rate", REAL, FIELD(next_rate)},
    {"replaces", REAL, FIELD(replaces)},
    {"tokens", COUNT, FIELD(result.tokens)},
    {"trained_tokens", COUNT, FIELD(result.trained_tokens)},
    {"seconds", REAL, FIELD(result.seconds)},
    {"first_loss", REAL, FIELD(result.first_loss)},
    {"last_loss", REAL, FIELD(result.last_loss)},
    {"first_eval_loss", REAL, FIELD(result.first_eval_loss)},
    {"last_eval_loss", REAL, FIELD(result.last_eval_loss)},
    {"best_eval_loss", REAL, FIELD(result.best_eval_loss)},
};

enum {
    FIELDS = sizeof(fields) / sizeof(fields[0])
};

static json_t *field_value(const void *at, kind k)
{
    if (k == COUNT) {
        const size_t *count = at;

        return json_integer((json_int_t)*count);
    }
    return k == TRUTH ? json_boolean(*(const bool *)at)
                      : json_real(*(const double *)at);
}

static json_t *put_progress(const ql_progress *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < FIELDS; i++) {
        const void *at = (const char *)s + fields[i].offset;

        if (fields[i].kind == REAL && !isfinite(*(const double *)at)) {
            continue;
        }
        json_object_set_new(o, fields[i].name, field_value(at, fields[i].kind));
    }
    return o;
}

static ql_status get_progress(ql_progress *s, const json_t *o,
                              const char *where)
{
    *s = (ql_progress){0};
    for (size_t i = 0; i < FIELDS; i++) {
        void *at = (char *)s + fields[i].offset;

        if (fields[i].kind == COUNT) {
            QL_TRY(ql_json_size(o, fields[i].name, where, at));
        } else if (fields[i].kind == TRUTH) {
            QL_TRY(ql_json_bool(o, fields[i].name, where, at));
        } else {
            *(double *)at = (double)NAN;
            QL_TRY(ql_json_real(o, fields[i].name, where, at));
        }
    }
    s->result.steps = s->step;
    s->result.best_step = s->best_step;
    return QL_OK;
}

/* CRC-32 of a value as text, as eight digits. */
static ql_status sum_of(const json_t *v, char text[SUM_TEXT])
{
    ql_status st;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, MAX_JSON);
    st = ql_json_put(&b, v);
    if (st == QL_OK) {
        snprintf(text, SUM_TEXT, "%08x", ql_crc32(0, b.data, b.len));
    }
    ql_buf_free(&b);
    return st;
}

/* {"bytes", "crc32"} of a file; NULL in *out where one is missing that need not
 * be there. Owned: json_decref. */
static ql_status measure(const char *dir, size_t i, bool need, json_t **out)
{
    char *path = ql_path_join(dir, files[i].name);
    char text[SUM_TEXT];
    uint64_t bytes;
    uint32_t crc;
    ql_status st = path ? QL_OK : QL_ENOMEM;

    *out = NULL;
    if (st == QL_OK && (need || ql_path_exists(path))) {
        st = ql_file_crc32(path, &crc, &bytes);
        if (st == QL_OK) {
            snprintf(text, sizeof(text), "%08x", crc);
            *out =
                json_pack("{sI ss}", "bytes", (json_int_t)bytes, "crc32", text);
            st = *out ? QL_OK : ql_fail(QL_ENOMEM, "out of memory");
        }
    }
    ql_free(path);
    return st;
}

static ql_status put_sums(json_t *run, const char *dir)
{
    json_t *sums = json_object();

    json_object_set_new(run, "files", sums);
    for (size_t i = 0; i < FILES; i++) {
        json_t *sum;

        QL_TRY(measure(dir, i, !files[i].optional, &sum));
        if (sum && json_object_set_new(sums, files[i].name, sum) != 0) {
            QL_FAIL(QL_ENOMEM, "out of memory");
        }
    }
    return QL_OK;
}

static ql_status write_manifest(const ql_checkpoint_content *c, const char *dir)
{
    char *path = ql_path_join(dir, manifest_name);
    json_t *run = json_pack("{si so sI sO}", "format", FORMAT, "progress",
                            put_progress(c->progress), "optimizer_updates",
                            (json_int_t)ql_optimizer_updates(c->optimizer),
                            "identity", c->identity);
    json_t *root = json_pack("{so}", "run", run);
    char sum[SUM_TEXT];
    ql_status st = QL_ENOMEM;

    if (!root) {
        ql_fail(QL_ENOMEM, "out of memory");
    } else if (path) {
        QL_TRY_DONE(put_sums(run, dir));
        QL_TRY_DONE(sum_of(run, sum));
        json_object_set_new(root, "crc32", json_string(sum));
        st = ql_json_save(root, false, path);
    }
done:
    json_decref(root);
    ql_free(path);
    return st;
}

/* Moves the optimizer's state to a file, or from one. */
static ql_status stream(ql_optimizer *o, ql_outfile *to, ql_infile *from)
{
    const uint64_t bytes = ql_optimizer_state_bytes(o);
    unsigned char data[CHUNK];

    for (uint64_t at = 0; at < bytes; at += CHUNK) {
        const size_t n = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;

        if (to) {
            QL_TRY(ql_optimizer_export(o, at, data, n));
            QL_TRY(ql_outfile_write(to, data, n));
        } else {
            QL_TRY(ql_infile_read(from, data, n));
            QL_TRY(ql_optimizer_import(o, at, data, n));
        }
    }
    return QL_OK;
}

static ql_status write_optimizer(const ql_checkpoint_content *c,
                                 const char *dir)
{
    char *path = ql_path_join(dir, "optimizer.bin");
    ql_outfile f = {.fd = -1};
    ql_status st = QL_ENOMEM;

    if (path) {
        QL_TRY_DONE(ql_outfile_init(&f, path));
        QL_TRY_DONE(stream(c->optimizer, &f, NULL));
        st = ql_outfile_commit(&f);
    }
done:
    ql_outfile_free(&f);
    ql_free(path);
    return st;
}

static ql_status write_log(const ql_checkpoint_content *c, const char *dir)
{
    char *path = ql_path_join(dir, "trainer_state.json");
    const ql_status st =
        path ? ql_trainer_state_save(c->state, c->history, path) : QL_ENOMEM;

    ql_free(path);
    return st;
}

static ql_status write_best(const ql_checkpoint_content *c, const char *dir)
{
    char *path = ql_path_join(dir, "best");
    ql_status st = path ? QL_OK : QL_ENOMEM;

    if (st == QL_OK && c->best) {
        st = ql_trained_copy(c->adapter->opt.full, c->best, path);
    }
    ql_free(path);
    return st;
}

ql_status ql_checkpoint_write(const ql_checkpoint_content *c, const char *path)
{
    ql_status st;
    ql_outdir d;

    QL_TRY(ql_outdir_init(&d, path, true));
    QL_TRY_DONE(ql_trained_save(c->adapter, c->model, true, d.work));
    QL_TRY_DONE(write_optimizer(c, d.work));
    QL_TRY_DONE(write_log(c, d.work));
    QL_TRY_DONE(write_best(c, d.work));
    QL_TRY_DONE(write_manifest(c, d.work));
    st = ql_outdir_commit(&d);
done:
    ql_outdir_free(&d);
    return st;
}

/* Compares all files with their sums. */
static ql_status verify_files(const char *dir, const json_t *sums)
{
    for (size_t i = 0; i < FILES; i++) {
        const json_t *want = json_object_get(sums, files[i].name);
        json_t *got;
        bool same;

        if (!want && files[i].optional) {
            continue;
        }
        QL_TRY(measure(dir, i, true, &got));
        same = json_equal(got, want);
        json_decref(got);
        if (!same) {
            QL_FAIL(QL_EFORMAT, "%s/%s is damaged: its CRC-32 is another", dir,
                    files[i].name);
        }
    }
    return QL_OK;
}

static ql_status verify_manifest(const json_t *root, const char *path)
{
    const json_t *run = json_object_get(root, "run");
    const char *want = json_string_value(json_object_get(root, "crc32"));
    size_t format = 0;
    char sum[SUM_TEXT];

    if (!json_is_object(run)) {
        QL_FAIL(QL_EFORMAT, "%s is no checkpoint of this program", path);
    }
    QL_TRY(ql_json_size(run, "format", path, &format));
    if (format > FORMAT) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: format %zu is that of a newer version of this program",
                path, format);
    }
    QL_TRY(sum_of(run, sum));
    if (!want || strcmp(want, sum) != 0) {
        QL_FAIL(QL_EFORMAT, "%s is damaged: its CRC-32 is another", path);
    }
    return QL_OK;
}

static ql_status read_manifest(ql_checkpoint *c)
{
    char *path = ql_path_join(c->path, manifest_name);
    ql_status st = QL_ENOMEM;
    const json_t *run;

    if (path) {
        QL_TRY_DONE(ql_json_load(&c->root, path, MAX_JSON));
        QL_TRY_DONE(verify_manifest(c->root, path));
        run = json_object_get(c->root, "run");
        c->identity = json_object_get(run, "identity");
        QL_TRY_DONE(ql_json_size(run, "optimizer_updates", path, &c->updates));
        st = get_progress(&c->progress, json_object_get(run, "progress"), path);
    }
done:
    ql_free(path);
    return st;
}

/* True if the best is in a folder of its own. */
static bool has_best(const json_t *sums)
{
    bool has = false;

    for (size_t i = 0; i < FILES; i++) {
        has |= strncmp(files[i].name, "best/", 5) == 0 &&
               json_object_get(sums, files[i].name);
    }
    return has;
}

ql_status ql_checkpoint_peek(ql_checkpoint *c, const char *path)
{
    ql_status st;

    *c = (ql_checkpoint){.path = ql_strdup(QL_TAG_TEXT, path)};
    if (!c->path) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_dir_need(path, "give a checkpoint's folder"));
    st = read_manifest(c);
done:
    if (st != QL_OK) {
        ql_checkpoint_free(c);
    }
    return st;
}

ql_status ql_checkpoint_init(ql_checkpoint *c, const char *path)
{
    const json_t *sums;
    ql_status st;

    QL_TRY(ql_checkpoint_peek(c, path));
    sums = json_object_get(json_object_get(c->root, "run"), "files");
    QL_TRY_DONE(verify_files(path, sums));
    if (c->progress.best_step > 0) {
        c->best = has_best(sums) ? ql_path_join(path, "best")
                                 : ql_strdup(QL_TAG_TEXT, path);
        st = c->best ? QL_OK : QL_ENOMEM;
    }
done:
    if (st != QL_OK) {
        ql_checkpoint_free(c);
    }
    return st;
}

void ql_checkpoint_free(ql_checkpoint *c)
{
    json_decref(c->root);
    ql_free(c->path);
    ql_free(c->best);
    *c = (ql_checkpoint){0};
}

/* The state must be as long as the file: its kind or the trained tensors are
 * others if it is not. */
static ql_status check_bytes(const ql_checkpoint *c, const ql_optimizer *o)
{
    const json_t *run = json_object_get(c->root, "run");
    const json_t *file =
        json_object_get(json_object_get(run, "files"), "optimizer.bin");
    size_t bytes = 0;

    QL_TRY(ql_json_size(file, "bytes", c->path, &bytes));
    if (bytes != ql_optimizer_state_bytes(o)) {
        QL_FAIL(QL_EMISMATCH,
                "%s: the optimizer's state has %zu bytes, but this optimizer "
                "needs %llu",
                c->path, bytes,
                (unsigned long long)ql_optimizer_state_bytes(o));
    }
    return QL_OK;
}

static ql_status load_optimizer(const ql_checkpoint *c, ql_optimizer *o)
{
    char *path = ql_path_join(c->path, "optimizer.bin");
    ql_infile f = {.fd = -1};
    ql_status st = QL_ENOMEM;

    if (path) {
        QL_TRY_DONE(check_bytes(c, o));
        QL_TRY_DONE(ql_infile_init(&f, path));
        QL_TRY_DONE(stream(o, NULL, &f));
        ql_optimizer_set_updates(o, c->updates);
    }
done:
    ql_infile_free(&f);
    ql_free(path);
    return st;
}

ql_status ql_checkpoint_load(const ql_checkpoint *c, ql_optimizer *o,
                             ql_history *history)
{
    char *path = ql_path_join(c->path, "trainer_state.json");
    ql_status st = path ? load_optimizer(c, o) : QL_ENOMEM;

    if (st == QL_OK) {
        st = ql_trainer_state_load(history, path);
    }
    ql_free(path);
    return st;
}

char *ql_checkpoint_path(const char *dir, size_t step)
{
    char name[48];

    snprintf(name, sizeof(name), "%s%zu", prefix, step);
    return ql_path_join(dir, name);
}

/* The step that a folder's name says, 0 for other names. */
static size_t step_of(const char *name)
{
    const size_t skip = sizeof(prefix) - 1;
    size_t step = 0;

    if (strncmp(name, prefix, skip) != 0 || strlen(name + skip) > 15) {
        return 0;
    }
    for (const char *p = name + skip; *p; p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }
        step = 10 * step + (size_t)(*p - '0');
    }
    return step;
}

static int falling(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;

    return (x < y) - (x > y);
}

ql_status ql_checkpoint_list(const char *dir, size_t **steps, size_t *n)
{
    ql_status st = QL_OK;
    char **names;
    size_t count;

    *steps = NULL;
    *n = 0;
    if (!ql_path_exists(dir)) {
        return QL_OK;
    }
    QL_TRY(ql_dir_list(dir, &names, &count));
    *steps = ql_alloc(QL_TAG_MISC, count, sizeof(**steps));
    if (*steps) {
        for (size_t i = 0; i < count; i++) {
            (*steps)[*n] = step_of(names[i]);
            *n += (*steps)[*n] > 0;
        }
        qsort(*steps, *n, sizeof(**steps), falling);
    } else {
        st = QL_ENOMEM;
    }
    ql_dir_list_free(names, count);
    return st;
}

ql_status ql_checkpoint_prune(const char *dir, size_t step, size_t limit)
{
    size_t ahead = 0;
    size_t *steps;
    size_t n;
    ql_status st;

    QL_TRY(ql_checkpoint_list(dir, &steps, &n));
    st = QL_OK;
    while (ahead < n && steps[ahead] > step) {
        ahead++;
    }
    /* The oldest first: the last one of a run that is finished says so of all
     * before it, and no run may go on from these. */
    for (size_t i = n; st == QL_OK && i-- > 0;) {
        if (i < ahead || (limit > 0 && i - ahead >= limit)) {
            char *path = ql_checkpoint_path(dir, steps[i]);

            st = path ? ql_dir_discard(path) : QL_ENOMEM;
            ql_free(path);
        }
    }
    ql_free(steps);
    return st;
}
