/* Version of the library. */
#ifndef QLORA_VERSION_H
#define QLORA_VERSION_H

#include "qlora/types.h"

/* The version as "major.minor.patch". Borrowed, constant. */
QL_API const char *ql_version(void);

#endif
