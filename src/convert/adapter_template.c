/* The chat template that an adapter was trained with, wherever its folder has
 * it. */
#include <string.h>

#include "qlora/model.h"
#include "src/base/fail.h"
#include "src/text/chat_file.h"

ql_status ql_adapter_chat_template(char **text, const char *adapter_dir,
                                   const char *model_dir)
{
    ql_chat_source own = {0};
    ql_chat_source other = {0};
    ql_status st = ql_chat_source_find(&own, adapter_dir, NULL, false);
    bool same = false;

    *text = NULL;
    if (st == QL_OK) {
        st = ql_chat_source_find(&other, model_dir, NULL, false);
        same = st == QL_OK && strcmp(own.text, other.text) == 0;
        st = st == QL_ENOMEM ? st : QL_OK;
    }
    if (st == QL_OK && own.text && !same) {
        *text = own.text;
        own.text = NULL;
    }
    ql_chat_source_free(&own);
    ql_chat_source_free(&other);
    return st == QL_ENOTFOUND ? QL_OK : st;
}
