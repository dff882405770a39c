#include "src/text/jinja_value.h"

#include <string.h>

#include "src/text/jinja_state.h"

ql_jval ql_jval_text(const char *s)
{
    return ql_jval_str(s, strlen(s));
}

int64_t ql_jval_whole(ql_jval v)
{
    return v.kind == QL_J_BOOL ? v.b : v.i;
}

double ql_jval_real(ql_jval v)
{
    return v.kind == QL_J_FLOAT ? v.f : (double)ql_jval_whole(v);
}

bool ql_jval_says(ql_jval v, const char *s)
{
    return ql_jval_is_str(v) && ql_jval_same_text(v, ql_jval_text(s));
}

bool ql_jval_same_text(ql_jval a, ql_jval b)
{
    return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}

int64_t ql_jval_len(ql_jval v)
{
    size_t chars = 0;

    switch (v.kind) {
    case QL_J_UNDEFINED:
        return 0;
    case QL_J_STR:
        for (size_t i = 0; i < v.n; i++) {
            chars += ((unsigned char)v.s[i] & 0xc0) != 0x80;
        }
        return (int64_t)chars;
    case QL_J_LIST:
    case QL_J_TUPLE:
        return (int64_t)v.list->n;
    case QL_J_DICT:
        return (int64_t)v.dict->n;
    case QL_J_RANGE:
        return (int64_t)v.range->n;
    case QL_J_VIEW:
        return (int64_t)v.view->dict->n;
    default:
        return -1;
    }
}

bool ql_jval_truth(ql_jval v)
{
    switch (v.kind) {
    case QL_J_NONE:
        return false;
    case QL_J_BOOL:
    case QL_J_INT:
        return ql_jval_whole(v) != 0;
    case QL_J_FLOAT:
        return v.f != 0;
    case QL_J_STR:
        return v.n > 0;
    default:
        return ql_jval_len(v) != 0;
    }
}

static const char *const view_types[] = {"dict_keys", "dict_values",
                                         "dict_items"};

static const char *const types[QL_J_KINDS] = {
    [QL_J_ABSENT] = "absent",     [QL_J_UNDEFINED] = "Undefined",
    [QL_J_NONE] = "NoneType",     [QL_J_BOOL] = "bool",
    [QL_J_INT] = "int",           [QL_J_FLOAT] = "float",
    [QL_J_STR] = "str",           [QL_J_LIST] = "list",
    [QL_J_TUPLE] = "tuple",       [QL_J_DICT] = "dict",
    [QL_J_RANGE] = "range",       [QL_J_NAMESPACE] = "Namespace",
    [QL_J_FUNCTION] = "function", [QL_J_METHOD] = "builtin_function_or_method",
    [QL_J_MACRO] = "Macro",       [QL_J_LOOP] = "LoopContext",
    [QL_J_CYCLER] = "Cycler",     [QL_J_JOINER] = "Joiner",
};

const char *ql_jval_type(ql_jval v)
{
    switch (v.kind) {
    case QL_J_STR:
        return v.markup ? "Markup" : "str";
    case QL_J_VIEW:
        return view_types[v.view->part];
    case QL_J_LAZY:
        return v.lazy->type;
    default:
        return types[v.kind];
    }
}
