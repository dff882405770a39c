/* A text that goes to a file as it is made, so that not all of it is in
 * memory. Under its name the file is seen only when it is complete. */
#ifndef QL_BASE_TEXTFILE_H
#define QL_BASE_TEXTFILE_H

#include "src/base/buf.h"
#include "src/base/file.h"

typedef struct ql_textfile {
    ql_outfile file;
    ql_buf text; /* to append to; flush now and then */
} ql_textfile;

/* Errors: those of ql_outfile_init. */
ql_status ql_textfile_init(ql_textfile *t, const char *path);

/* Writes what was appended once there is enough of it. Errors: those of
 * ql_outfile_write. */
ql_status ql_textfile_flush(ql_textfile *t);

/* Writes the rest and gives the file its name. Errors: those of
 * ql_outfile_commit. */
ql_status ql_textfile_commit(ql_textfile *t);
void ql_textfile_free(ql_textfile *t);

#endif
