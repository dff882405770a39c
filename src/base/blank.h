/* White space as JSON knows it, which is also what is cut off around texts. */
#ifndef QL_BASE_BLANK_H
#define QL_BASE_BLANK_H

#include <stdbool.h>

static inline bool ql_is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif
