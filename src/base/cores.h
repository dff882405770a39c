/* The cores that this process may use. */
#ifndef QL_BASE_CORES_H
#define QL_BASE_CORES_H

/* Physical cores among the processors that the affinity mask allows, but no
 * more than the processor time that the control group grants, rounded up. Two
 * threads of one core share its arithmetic units, so a second one gains
 * nothing here. At least 1. */
int ql_cores(void);

/* Binds the calling thread, one of so many, to a core of its own if there are
 * as many threads as cores, else to no one. Threads that sleep and wake many
 * times a second may otherwise both be put on one core for seconds. With fewer
 * threads than cores the system places them, since another process may have
 * the same idea. */
void ql_cores_bind(int thread, int threads);

#endif
