/*
 * clock.h - time. Threads: any.
 */
#ifndef KERF_BASE_CLOCK_H
#define KERF_BASE_CLOCK_H

#include <stdint.h>

uint64_t kerf_now_ns(void); /* monotonic */

#endif
