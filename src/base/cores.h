/* How many cores this process may use. */
#ifndef QL_BASE_CORES_H
#define QL_BASE_CORES_H

/* Physical cores among the processors that the affinity mask allows, but no
 * more than the processor time that the control group grants, rounded up. Two
 * threads of one core share its arithmetic units, so a second one gains
 * nothing here. At least 1. */
int ql_cores(void);

#endif
