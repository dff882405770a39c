#define _XOPEN_SOURCE 700 /* mkdtemp */

#include "tests/fuzz/folder.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/file.h"
#include "tests/fuzz/fuzz.h"

static char dir[] = "/tmp/qlora-fuzz-XXXXXX";

static void remove_folder(void)
{
    ql_dir_remove(dir);
}

const char *fuzz_folder_write(const char *name, const void *data, size_t size)
{
    static bool made;
    char path[256];
    FILE *f;

    if (!made) {
        made = true;
        FUZZ_CHECK(mkdtemp(dir));
        atexit(remove_folder);
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "wb");
    FUZZ_CHECK(f);
    FUZZ_CHECK(fwrite(data, 1, size, f) == size);
    FUZZ_CHECK(fclose(f) == 0);
    return dir;
}
