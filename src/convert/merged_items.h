/* Which tensors a merged model has, and what of an adapter changes each. */
#ifndef QL_CONVERT_MERGED_ITEMS_H
#define QL_CONVERT_MERGED_ITEMS_H

#include "src/convert/merged.h"

/* Lists the tensors of the opened shards of dir. Errors: as ql_merged_init. */
ql_status ql_merged_list(ql_merged *m, const char *dir,
                         ql_adapter_folder *adapter);

#endif
