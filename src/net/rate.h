/*
 * rate.h - how fast TCP brings bytes to the peer, and may. A file of its own
 * because <linux/tcp.h>, which alone says it, does not go together with the
 * <netinet/tcp.h> of libuv.
 * Threads: pure.
 */
#ifndef KERF_NET_RATE_H
#define KERF_NET_RATE_H

#include <stddef.h>
#include <stdint.h>

uint64_t kerf_rate_of(int fd); /* bytes per second; 0: not known */

/* Bytes that the peer has acknowledged. */
uint64_t kerf_delivered_of(int fd);
/* Limits what goes out, 0: not at all. Returns how much to send at a time so
 * that it does go out evenly; 0: any. */
size_t kerf_socket_pace(int fd, uint64_t bytes_per_s);

#endif
