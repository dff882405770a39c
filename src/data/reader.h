/* Files of records: JSON lines, gzip-compressed or not. */
#ifndef QL_DATA_READER_H
#define QL_DATA_READER_H

#include "src/base/json.h"

/* Called for each record, which is an object. */
typedef ql_status ql_record_fn(void *ctx, json_t *record);

/* Hands each record of a file to fn, in order. Blank lines are skipped, as is
 * a byte order mark at the start. Errors: those of opening and of fn, and
 * QL_EFORMAT for a line that is no record; all name the file, and the line
 * where there is one. */
ql_status ql_records_read(const char *path, ql_record_fn *fn, void *ctx);

#endif
