/* Roles that are none of those that conversations have everywhere. */
#ifndef QL_TEXT_ROLE_H
#define QL_TEXT_ROLE_H

#include "src/text/style.h"

/* Finds messages that the template leaves out for their role, in a conversation
 * that fits it otherwise. What it refuses is left to whoever writes the text.
 * Errors: QL_EUNSUPPORTED for a message that would vanish, QL_ENOMEM. */
ql_status ql_roles_check(const ql_style *s, const ql_talk *t);

#endif
