/* Time for progress and reports. */
#ifndef QL_BASE_CLOCK_H
#define QL_BASE_CLOCK_H

/* Seconds of the monotonic clock. */
double ql_now_s(void);

/* Seconds since 1970, as people count time. */
double ql_wall_s(void);

#endif
