#include "src/convert/model_code.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/fail.h"
#include "src/base/field.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/note.h"
#include "src/convert/model_files.h"

enum {
    MAX_TOKENIZER_BYTES = 1 << 26, /* as where it is read for its own sake */
    MAX_CODE_BYTES = 1 << 24,
    MAX_MODULE = 200
};

static size_t identifier(const char *s)
{
    size_t n = 0;

    while (isalnum((unsigned char)s[n]) || s[n] == '_') {
        n++;
    }
    return n;
}

/* Adds a module of the folder to the list, if it is not there yet. */
static ql_status add(json_t *modules, const char *name, size_t n)
{
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const char *known = json_string_value(json_array_get(modules, i));

        if (strlen(known) == n && memcmp(known, name, n) == 0) {
            return QL_OK;
        }
    }
    return n == 0 || n > MAX_MODULE
               ? QL_OK
               : ql_field_held(json_array_append_new(
                                   modules, json_stringn(name, n)) == 0);
}

/* "module.Class" is in the folder, "repository--module.Class" is not. */
static ql_status add_class(json_t *modules, const char *name)
{
    const size_t n = identifier(name);

    return name[n] == '.' ? add(modules, name, n) : QL_OK;
}

static ql_status add_map(json_t *modules, json_t *map)
{
    const char *key;
    json_t *v;

    json_object_foreach(map, key, v)
    {
        for (size_t i = 0; i < ql_json_count(v); i++) {
            const char *name = json_string_value(ql_json_item(v, i));

            QL_TRY(name ? add_class(modules, name) : QL_OK);
        }
    }
    return QL_OK;
}

/* A backslash at the end of a line has the next one go on with it. */
static const char *skip_blanks(const char *s)
{
    for (;;) {
        size_t n;

        s += strspn(s, " \t");
        n = *s == '\\' ? 1 + (s[1] == '\r') : 0;
        if (n == 0 || s[n] != '\n') {
            return s;
        }
        s += n + 1;
    }
}

/* Passes a word and the blanks around it; NULL: another is there. */
static const char *pass(const char *s, const char *word)
{
    const size_t n = strlen(word);

    s = skip_blanks(s);
    return strncmp(s, word, n) == 0 ? skip_blanks(s + n) : NULL;
}

/* "from . import a, b as c": in brackets over several lines, each of which may
 * end in a comment. */
static ql_status add_siblings(json_t *modules, const char *s)
{
    const bool inside = *s == '(';
    const char *ends = inside ? "()" : "#;\n";
    bool begins = true;

    for (s += inside; *s && !strchr(ends, *s);) {
        const size_t n = identifier(s);

        QL_TRY(begins ? add(modules, s, n) : QL_OK);
        begins = n == 0 && (begins || *s == ',');
        s += *s == '#' ? strcspn(s, "\n") : n + (n == 0);
        s = skip_blanks(s);
    }
    return QL_OK;
}

/* "from .a import b", or what else a statement imports of its folder. */
static ql_status add_import(json_t *modules, const char *statement)
{
    static const char word[] = "import";
    const char *s = pass(statement, "from");
    size_t n;

    if (!s || *s != '.') {
        return QL_OK;
    }
    s = skip_blanks(s + 1);
    n = identifier(s);
    if (n > 0 && (n != strlen(word) || memcmp(s, word, n) != 0)) {
        return add(modules, s, n);
    }
    s = pass(s, word);
    return s ? add_siblings(modules, s) : QL_OK;
}

static ql_status add_imports(json_t *modules, const char *path)
{
    static const char before[] = "\n;:"; /* statements */
    char *text;
    size_t len;
    ql_status st = ql_file_read(path, MAX_CODE_BYTES, &text, &len);

    if (st == QL_ENOMEM) {
        return st;
    }
    if (st != QL_OK) {
        ql_warn("copied without what it imports: %s", ql_last_error());
        return QL_OK;
    }
    for (const char *s = text; st == QL_OK && *s; s += strcspn(s, before)) {
        s += strchr(before, *s) != NULL;
        st = add_import(modules, s);
    }
    ql_free(text);
    return st;
}

/* True for a link that leads nowhere, too. */
static bool is_there(const char *path)
{
    struct stat sb;

    return lstat(path, &sb) == 0;
}

/* named: it should be there; else it may be none of the folder's. */
static ql_status carry(json_t *modules, const char *name, bool named,
                       const char *in_dir, const char *out_dir)
{
    char file[MAX_MODULE + 4];
    char *from;
    char *to;
    ql_status st = QL_ENOMEM;
    bool copied = false;

    snprintf(file, sizeof(file), "%s.py", name);
    from = ql_path_join(in_dir, file);
    to = ql_path_join(out_dir, file);
    if (from && to) {
        st = named || is_there(from)
                 ? ql_model_files_carry_file(from, to, &copied)
                 : QL_OK;
        st = st == QL_OK && copied ? add_imports(modules, to) : st;
    }
    ql_free(from);
    ql_free(to);
    return st;
}

ql_status ql_model_code_carry(const char *in_dir, const char *out_dir)
{
    json_t *modules = json_array();
    json_t *root = NULL;
    char *path = NULL;
    size_t named;
    ql_status st = ql_field_held(modules);

    QL_TRY_DONE(st);
    QL_TRY_DONE(ql_json_load_optional(
        &root, &path, in_dir, "tokenizer_config.json", MAX_TOKENIZER_BYTES));
    QL_TRY_DONE(add_map(modules, json_object_get(root, "auto_map")));
    named = json_array_size(modules);
    for (size_t i = 0; st == QL_OK && i < json_array_size(modules); i++) {
        st = carry(modules, json_string_value(json_array_get(modules, i)),
                   i < named, in_dir, out_dir);
    }
done:
    json_decref(modules);
    json_decref(root);
    ql_free(path);
    return st;
}
