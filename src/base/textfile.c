#include "src/base/textfile.h"

#include "src/base/fail.h"

enum {
    ENOUGH = 1 << 15,   /* bytes that are written at a time */
    MAX_BYTES = 1 << 24 /* between two calls of flush */
};

ql_status ql_textfile_init(ql_textfile *t, const char *path)
{
    ql_buf_init(&t->text, QL_TAG_MISC, MAX_BYTES);
    return ql_outfile_init(&t->file, path);
}

static ql_status write_out(ql_textfile *t)
{
    QL_TRY(ql_outfile_write(&t->file, t->text.data, t->text.len));
    ql_buf_clear(&t->text);
    return QL_OK;
}

ql_status ql_textfile_flush(ql_textfile *t)
{
    return t->text.len < ENOUGH ? QL_OK : write_out(t);
}

ql_status ql_textfile_commit(ql_textfile *t)
{
    QL_TRY(write_out(t));
    return ql_outfile_commit(&t->file);
}

void ql_textfile_free(ql_textfile *t)
{
    ql_outfile_free(&t->file);
    ql_buf_free(&t->text);
}
