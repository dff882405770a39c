/* What templates call by name: filters, tests, methods of values, functions.
 * Each is a row of a table; calling sorts the arguments to parameters. */
#ifndef QL_TEXT_JINJA_TABLES_H
#define QL_TEXT_JINJA_TABLES_H

#include "src/text/jinja_state.h"

/* Rows by subject; each table ends with a row of zeros. */
extern const ql_jentry ql_jinja_sequence_filters[];
extern const ql_jentry ql_jinja_select_filters[];
extern const ql_jentry ql_jinja_sort_filters[];
extern const ql_jentry ql_jinja_text_filters[];
extern const ql_jentry ql_jinja_number_filters[];
extern const ql_jentry ql_jinja_tests[];
extern const ql_jentry ql_jinja_functions[];
extern const ql_jentry ql_jinja_str_methods[];
extern const ql_jentry ql_jinja_str_questions[];
extern const ql_jentry ql_jinja_list_methods[];
extern const ql_jentry ql_jinja_tuple_methods[];
extern const ql_jentry ql_jinja_dict_methods[];
extern const ql_jentry ql_jinja_cycler_methods[];
extern const ql_jentry ql_jinja_loop_methods[];

/* The row of a name, NULL if there is none. */
const ql_jentry *ql_jinja_filter(ql_jval name);
const ql_jentry *ql_jinja_test(ql_jval name);
const ql_jentry *ql_jinja_function(ql_jval name);
const ql_jentry *ql_jinja_method(ql_jkind kind, ql_jval name);

/* Calls a row with self and arguments. What makes an iterator is not called
 * before the iterator is read. Errors: QL_EFORMAT for arguments that do not
 * fit the parameters, and those of the row. */
ql_status ql_jinja_apply(ql_jinja *j, const ql_jentry *e, ql_jval self,
                         const ql_jargs *args, ql_jval *out);

/* Typed reads of argument i of a call; *out keeps its value when the argument
 * is absent. Errors: QL_EFORMAT. */
ql_status ql_jarg_int(ql_jinja *j, const ql_jcall *c, int i, int64_t *out);
ql_status ql_jarg_str(ql_jinja *j, const ql_jcall *c, int i, ql_jval *out);
bool ql_jarg_truth(const ql_jcall *c, int i, bool fallback);

/* True when argument i is absent or none. */
bool ql_jarg_none(const ql_jcall *c, int i);

#endif
