/* A scratch folder for targets that read a file by its name. */
#ifndef QL_TESTS_FUZZ_FOLDER_H
#define QL_TESTS_FUZZ_FOLDER_H

#include <stddef.h>

/* Writes a file into a folder that is removed at exit. Borrowed: the
 * folder. */
const char *fuzz_folder_write(const char *name, const void *data, size_t size);

#endif
