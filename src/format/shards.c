/* The files that hold a model's weights, found as transformers finds them:
 * model.safetensors, else the files of the index, else the one safetensors
 * file of the folder. */
#include "src/format/shards.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/map.h"
#include "src/format/names.h"

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const char adapter_name[] = "adapter_model.safetensors";

enum {
    MAX_INDEX_BYTES = 64 * 1024 * 1024
};

typedef struct shard {
    char *name; /* within the folder */
    ql_safetensors *st;
} shard;

/* Tensors that others are made into, or parts of. */
typedef struct made {
    ql_tensor tensor;
    const ql_tensor *part[QL_SHARDS_PARTS]; /* its rows; NULL: it is a slice */
    char name[];
} made;

typedef struct member {
    const ql_tensor *tensor;
    const char *stored; /* its name in the file; NULL: it is in none */
    const shard *from;
    const made *made; /* NULL: it is as the file has it */
} member;

struct ql_shards {
    shard *shards; /* by name */
    size_t shard_count;
    member *members; /* by name of the tensor */
    size_t count;
    made **made;
    size_t made_count;
    ql_tensor *clean; /* [count] by other names, if any has one that is not its
                         own; NULL: none has */
    char *clean_names;
};

static int by_text(const void *a, const void *b)
{
    const char *const *l = a;
    const char *const *r = b;

    return strcmp(*l, *r);
}

static int by_tensor(const void *a, const void *b)
{
    const member *l = a;
    const member *r = b;

    return strcmp(l->tensor->name, r->tensor->name);
}

static int name_and_shard(const void *name, const void *element)
{
    const shard *f = element;

    return strcmp(name, f->name);
}

/* Takes over these names, sorted, each once. */
static ql_status set_names(ql_shards *s, const char *const *names, size_t n)
{
    s->shards = ql_calloc(QL_TAG_TEXT, n, sizeof(*s->shards));
    if (!s->shards) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        shard *next = &s->shards[s->shard_count];

        if (i > 0 && strcmp(names[i], names[i - 1]) == 0) {
            continue;
        }
        next->name = ql_strdup(QL_TAG_TEXT, names[i]);
        if (!next->name) {
            return QL_ENOMEM;
        }
        s->shard_count++;
    }
    return QL_OK;
}

/* The name of a file in the same folder, and nothing else. */
static bool plain_name(const json_t *value)
{
    const char *name = json_string_value(value);

    return name && strlen(name) == json_string_length(value) && *name &&
           !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static ql_status names_of_map(ql_shards *s, json_t *map)
{
    ql_status st = QL_OK;
    const char **names =
        ql_alloc(QL_TAG_TEXT, json_object_size(map), sizeof(*names));
    size_t n = 0;
    const char *key;
    json_t *value;

    if (!names) {
        return QL_ENOMEM;
    }
    json_object_foreach(map, key, value)
    {
        if (!plain_name(value)) {
            st = ql_fail(QL_EFORMAT,
                         "weight_map: tensor '%s' must name a file in the same "
                         "folder",
                         key);
            goto done;
        }
        names[n++] = json_string_value(value);
    }
    qsort(names, n, sizeof(*names), by_text);
    st = set_names(s, names, n);
done:
    ql_free(names);
    return st;
}

static ql_status names_of_index(ql_shards *s, const json_t *index)
{
    json_t *map = json_object_get(index, "weight_map");

    if (!json_is_object(map) || json_object_size(map) == 0) {
        QL_FAIL(QL_EFORMAT, "weight_map must be an object that gives each "
                            "tensor's file");
    }
    return names_of_map(s, map);
}

/* What to say of a folder in which no weights were found. */
static ql_status no_weights(const char *dir, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], "pytorch_model", 13) == 0) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: its weights are in %s, a format that can carry "
                    "programs and is not read; convert the model to "
                    "safetensors (in Python: save_pretrained)",
                    dir, names[i]);
        }
    }
    QL_FAIL(QL_ENOTFOUND,
            "%s: no weights; looked for %s, %s and any other .safetensors file",
            dir, single_name, index_name);
}

/* Without an index: the one file there is. */
static ql_status names_of_folder(ql_shards *s, const char *dir)
{
    ql_status st;
    char **names = NULL;
    const char *found = NULL;
    size_t n = 0;

    QL_TRY_DONE(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (!ql_name_ends(names[i], ".safetensors") ||
            strcmp(names[i], adapter_name) == 0) {
            continue;
        }
        if (found) {
            st = ql_fail(QL_EFORMAT,
                         "%s: holds %s and %s, but no %s that says which "
                         "files belong together; download it too",
                         dir, found, names[i], index_name);
            goto done;
        }
        found = names[i];
    }
    st = found ? set_names(s, &found, 1) : no_weights(dir, names, n);
done:
    ql_dir_list_free(names, n);
    return st;
}

static ql_status open_shard(shard *f, const char *dir, bool indexed)
{
    ql_status st;
    char *path = ql_path_join(dir, f->name);

    if (!path) {
        return QL_ENOMEM;
    }
    if (indexed && !ql_path_exists(path)) {
        st = ql_fail(QL_ENOTFOUND,
                     "%s: missing, but named in %s; download it again", path,
                     index_name);
    } else {
        st = ql_safetensors_open(&f->st, path);
    }
    ql_free(path);
    return st;
}

/* What wrappers put into names: torch.compile anywhere, and those that train
 * on several devices before all of them. */
static const char compiled[] = "_orig_mod.";
static const char parallel[] = "module.";

/* The first of that, at the beginning of a part of the name; NULL: none. */
static const char *find_compiled(const char *name)
{
    const char *at = strstr(name, compiled);

    while (at && at > name && at[-1] != '.') {
        at = strstr(at + 1, compiled);
    }
    return at;
}

/* Writes the name without that; returns its end. */
static char *put_clean(char *to, const char *name)
{
    const char *at;
    size_t n;

    while ((at = find_compiled(name))) {
        memcpy(to, name, (size_t)(at - name));
        to += at - name;
        name = at + strlen(compiled);
    }
    n = strlen(name) + 1;
    memcpy(to, name, n);
    return to + n;
}

/* Members that would have one name keep those of the file. */
static void keep_apart(ql_shards *s)
{
    size_t end;

    qsort(s->members, s->count, sizeof(*s->members), by_tensor);
    for (size_t i = 0; i < s->count; i = end) {
        const member *first = &s->members[i];

        end = i + 1;
        while (end < s->count && by_tensor(first, &s->members[end]) == 0) {
            end++;
        }
        for (size_t k = i; end - i > 1 && k < end; k++) {
            const member *m = &s->members[k];

            s->clean[m->tensor - s->clean].name = m->stored;
        }
    }
}

/* All names begin so. */
static bool all_parallel(const ql_shards *s)
{
    bool all = s->count > 0;

    for (size_t i = 0; all && i < s->count; i++) {
        all = strncmp(s->clean[i].name, parallel, strlen(parallel)) == 0;
    }
    return all;
}

/* Members get their own names. */
static ql_status clean_names(ql_shards *s)
{
    size_t bytes = 0;
    bool wrapped = false;
    char *at;

    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->members[i].tensor->name;

        bytes += strlen(name) + 1;
        wrapped |= strncmp(name, parallel, strlen(parallel)) == 0 ||
                   find_compiled(name);
    }
    if (!wrapped) {
        return QL_OK;
    }
    s->clean = ql_alloc(QL_TAG_TEXT, s->count, sizeof(*s->clean));
    s->clean_names = at = ql_alloc(QL_TAG_TEXT, bytes, 1);
    if (!s->clean || !at) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < s->count; i++) {
        s->clean[i] = *s->members[i].tensor;
        s->clean[i].name = at;
        at = put_clean(at, s->members[i].tensor->name);
        s->members[i].tensor = &s->clean[i];
    }
    keep_apart(s);
    while (all_parallel(s)) {
        for (size_t i = 0; i < s->count; i++) {
            s->clean[i].name += strlen(parallel);
        }
    }
    return QL_OK;
}

static ql_status merge(ql_shards *s)
{
    size_t total = 0;

    for (size_t i = 0; i < s->shard_count; i++) {
        total += ql_safetensors_count(s->shards[i].st);
    }
    s->members = ql_alloc(QL_TAG_TEXT, total, sizeof(*s->members));
    if (!s->members) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < s->shard_count; i++) {
        const shard *from = &s->shards[i];

        for (size_t j = 0; j < ql_safetensors_count(from->st); j++) {
            const ql_tensor *t = ql_safetensors_at(from->st, j);

            s->members[s->count++] =
                (member){.tensor = t, .stored = t->name, .from = from};
        }
    }
    QL_TRY(clean_names(s));
    qsort(s->members, s->count, sizeof(*s->members), by_tensor);
    for (size_t i = 1; i < s->count; i++) {
        if (by_tensor(&s->members[i - 1], &s->members[i]) == 0) {
            QL_FAIL(QL_EFORMAT, "tensor '%s' is both in %s and in %s",
                    s->members[i].tensor->name, s->members[i - 1].from->name,
                    s->members[i].from->name);
        }
    }
    return QL_OK;
}

/* Each tensor of the index must be in its file. A tensor that the index does
 * not know is taken all the same, as transformers takes it. */
static ql_status check_index(const ql_shards *s, const json_t *index)
{
    json_t *map = json_object_get(index, "weight_map");
    const char *name;
    json_t *file;

    json_object_foreach(map, name, file)
    {
        const shard *f = bsearch(json_string_value(file), s->shards,
                                 s->shard_count, sizeof(*f), name_and_shard);

        if (!ql_safetensors_find(f->st, name)) {
            QL_FAIL(QL_EFORMAT,
                    "weight_map: tensor '%s' is not in %s; download both again",
                    name, f->name);
        }
    }
    return QL_OK;
}

static ql_status open_files(ql_shards *s, const char *dir, bool indexed)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        QL_TRY(open_shard(&s->shards[i], dir, indexed));
    }
    return QL_OK;
}

static ql_status open_index(ql_shards *s, const char *dir, const char *path)
{
    ql_status st;
    json_t *index = NULL;

    QL_TRY(ql_json_load(&index, path, MAX_INDEX_BYTES));
    st = names_of_index(s, index);
    if (st == QL_OK) {
        QL_TRY_DONE(open_files(s, dir, true));
        st = check_index(s, index);
    }
    if (st != QL_OK) {
        ql_fail_prefix(st, "%s: ", path);
    }
done:
    json_decref(index);
    return st;
}

static ql_status open_all(ql_shards *s, const char *dir, const char *single,
                          const char *index)
{
    static const char *const only = single_name;

    if (!ql_path_exists(single) && ql_path_exists(index)) {
        QL_TRY(open_index(s, dir, index));
    } else {
        QL_TRY(ql_path_exists(single) ? set_names(s, &only, 1)
                                      : names_of_folder(s, dir));
        QL_TRY(open_files(s, dir, false));
    }
    return merge(s);
}

ql_status ql_shards_open(ql_shards **out, const char *dir)
{
    ql_status st = QL_ENOMEM;
    char *single = ql_path_join(dir, single_name);
    char *index = ql_path_join(dir, index_name);

    *out = ql_calloc(QL_TAG_TEXT, 1, sizeof(**out));
    if (*out && single && index) {
        st = open_all(*out, dir, single, index);
    }
    if (st != QL_OK) {
        ql_shards_close(out);
    }
    ql_free(single);
    ql_free(index);
    return st;
}

void ql_shards_close(ql_shards **s)
{
    if (!*s) {
        return;
    }
    for (size_t i = 0; i < (*s)->shard_count; i++) {
        ql_free((*s)->shards[i].name);
        ql_safetensors_close(&(*s)->shards[i].st);
    }
    for (size_t i = 0; i < (*s)->made_count; i++) {
        ql_free((*s)->made[i]);
    }
    ql_free((*s)->made);
    ql_free((*s)->clean);
    ql_free((*s)->clean_names);
    ql_free((*s)->shards);
    ql_free((*s)->members);
    ql_free(*s);
    *s = NULL;
}

size_t ql_shards_count(const ql_shards *s)
{
    return s->count;
}

const ql_tensor *ql_shards_at(const ql_shards *s, size_t i)
{
    return s->members[i].tensor;
}

static const member *find(const ql_shards *s, const char *name)
{
    const ql_tensor wanted = {.name = name};
    const member key = {.tensor = &wanted};

    return bsearch(&key, s->members, s->count, sizeof(key), by_tensor);
}

const ql_tensor *ql_shards_find(const ql_shards *s, const char *name)
{
    const member *found = find(s, name);

    return found ? found->tensor : NULL;
}

const char *ql_shards_stored_name(const ql_shards *s, const ql_tensor *t)
{
    const member *found = find(s, t->name);

    return found && found->stored ? found->stored : t->name;
}

void ql_shards_drop(const ql_shards *s, const ql_tensor *t)
{
    const member *found = find(s, t->name);

    if (found && found->tensor->data) {
        ql_safetensors_drop(found->from->st, t);
    }
    for (size_t i = 0; found && found->made && i < QL_SHARDS_PARTS; i++) {
        const ql_tensor *part = found->made->part[i];

        if (part) {
            ql_map_drop(part->data, part->bytes);
        }
    }
}

/* A copy of t of another name and so many rows, which has a place among the
 * members; the caller gives it data. */
static ql_status make(ql_shards *s, const char *name, const ql_tensor *t,
                      size_t rows, made **out)
{
    const size_t bytes = strlen(name) + 1;
    made *m = ql_calloc(QL_TAG_TEXT, 1, sizeof(*m) + bytes);
    made **grown =
        ql_realloc(QL_TAG_TEXT, s->made, s->made_count + 1, sizeof(*s->made));
    member *more =
        ql_realloc(QL_TAG_TEXT, s->members, s->count + 1, sizeof(*s->members));

    s->made = grown ? grown : s->made;
    s->members = more ? more : s->members;
    if (!m || !grown || !more) {
        ql_free(m);
        return QL_ENOMEM;
    }
    memcpy(m->name, name, bytes);
    m->tensor = *t;
    m->tensor.name = m->name;
    m->tensor.shape[0] = rows;
    m->tensor.data = NULL;
    s->made[s->made_count++] = *out = m;
    return ql_shape_bytes(t->dtype, m->tensor.shape, t->rank,
                          &m->tensor.elements, &m->tensor.bytes);
}

static void take_out(ql_shards *s, const ql_tensor *t)
{
    const size_t at = (size_t)(find(s, t->name) - s->members);

    memmove(s->members + at, s->members + at + 1,
            (--s->count - at) * sizeof(*s->members));
}

/* make has made room for it. */
static void put_in(ql_shards *s, const made *m, const shard *from)
{
    const member new = {.tensor = &m->tensor, .from = from, .made = m};
    size_t at = 0;

    while (at < s->count && by_tensor(&s->members[at], &new) < 0) {
        at++;
    }
    memmove(s->members + at + 1, s->members + at,
            (s->count++ - at) * sizeof(*s->members));
    s->members[at] = new;
}

ql_status ql_shards_join(ql_shards *s, const char *name,
                         const ql_tensor *const *parts, size_t n)
{
    size_t rows = 0;
    made *m;

    for (size_t i = 0; i < n; i++) {
        rows += parts[i]->shape[0];
    }
    QL_TRY(make(s, name, parts[0], rows, &m));
    for (size_t i = 0; i < n; i++) {
        m->part[i] = parts[i];
        take_out(s, parts[i]);
    }
    put_in(s, m, NULL);
    return QL_OK;
}

ql_status ql_shards_split(ql_shards *s, const ql_tensor *t,
                          const char *const *names, const size_t *rows,
                          size_t n)
{
    const shard *from = find(s, t->name)->from;
    const unsigned char *data = t->data;

    take_out(s, t);
    for (size_t i = 0; i < n; i++) {
        made *m;

        QL_TRY(make(s, names[i], t, rows[i], &m));
        m->tensor.data = data;
        data += m->tensor.bytes;
        put_in(s, m, from);
    }
    return QL_OK;
}

ql_status ql_shards_whole(ql_tensor *out, void **data, const ql_shards *s,
                          const ql_tensor *t)
{
    const member *found = t->data ? NULL : find(s, t->name);
    const made *m = found ? found->made : NULL;
    unsigned char *y;

    *out = *t;
    *data = NULL;
    if (!m) {
        return QL_OK;
    }
    *data = y = ql_alloc(QL_TAG_WEIGHTS, t->bytes, 1);
    if (!y) {
        return QL_ENOMEM;
    }
    out->data = y;
    for (size_t i = 0; i < QL_SHARDS_PARTS && m->part[i]; i++) {
        memcpy(y, m->part[i]->data, m->part[i]->bytes);
        y += m->part[i]->bytes;
    }
    return QL_OK;
}

bool ql_shards_maps(const ql_shards *s, const void *p)
{
    for (size_t i = 0; i < s->shard_count; i++) {
        if (ql_safetensors_maps(s->shards[i].st, p)) {
            return true;
        }
    }
    return false;
}
