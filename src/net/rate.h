/*
 * rate.h - how fast TCP has lately brought bytes to the peer. A file of its
 * own because <linux/tcp.h>, which alone says it, does not go together with the
 * <netinet/tcp.h> of libuv.
 * Threads: pure.
 */
#ifndef KERF_NET_RATE_H
#define KERF_NET_RATE_H

#include <stdint.h>

uint64_t kerf_rate_of(int fd); /* bytes per second; 0: not known */

#endif
