/* Names of tensors. */
#ifndef QL_FORMAT_NAMES_H
#define QL_FORMAT_NAMES_H

#include <stdbool.h>

/* Orders names with runs of digits taken as numbers, so that layer 2 comes
 * before layer 10: below, at or above 0. */
int ql_name_order(const char *a, const char *b);

/* What follows prefix in name; NULL where it does not begin so. Borrowed. */
const char *ql_name_after(const char *name, const char *prefix);

/* True when name ends in suffix. */
bool ql_name_ends(const char *name, const char *suffix);

/* True when a path is end, or ends in it behind a dot. */
bool ql_name_ends_path(const char *path, const char *end);

/* True when one path is the other, or its end: files may lack the first parts
 * of names. */
bool ql_name_same(const char *a, const char *b);

#endif
