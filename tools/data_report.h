/* What qlora-data tells of data: of each file and of all, lengths, and the
 * mistakes that were found. */
#ifndef QL_TOOLS_DATA_REPORT_H
#define QL_TOOLS_DATA_REPORT_H

#include "qlora/findings.h"

/* Counts of one file, or of all when its path is NULL. */
void data_report_file(const ql_dataset_report *r, bool json);

/* How long the samples are. Errors: QL_ENOMEM. */
ql_status data_report_lengths(const ql_dataset *ds, bool json);

/* The mistakes, or that there are none. */
void data_report_findings(const ql_finding *findings, size_t n, bool json);

#endif
