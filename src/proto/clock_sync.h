/*
 * clock_sync.h - one-way times from four timestamps, never from comparing two
 * clocks directly.
 *
 *     edge  t1 --------------------> t2  cloud
 *     edge  t4 <-------------------- t3  cloud
 *
 * rtt = (t4 - t1) - (t3 - t2); offset = ((t2 - t1) + (t3 - t4)) / 2 (RFC 5905,
 * section 8). The offset of the exchange with the least RTT among the last
 * KERF_SYNC_KEEP is used: it has the least queueing, so the least asymmetry.
 * Its error is at most half that RTT.
 * Threads: one owner.
 */
#ifndef KERF_PROTO_CLOCK_SYNC_H
#define KERF_PROTO_CLOCK_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#define KERF_SYNC_KEEP 64

typedef struct kerf_sync {
    int64_t rtt_ns[KERF_SYNC_KEEP];
    int64_t offset_ns[KERF_SYNC_KEEP]; /* cloud clock minus edge clock */
    unsigned count;                    /* exchanges seen */
} kerf_sync;

/* False, and nothing kept, when the stamps contradict (negative rtt). */
bool kerf_sync_add(kerf_sync *s, uint64_t t1, uint64_t t2, uint64_t t3,
                   uint64_t t4);
int64_t kerf_sync_offset(const kerf_sync *s); /* 0 before the first */
int64_t kerf_sync_rtt(const kerf_sync *s);    /* least; 0 before the first */

/* Splits the wire time of one exchange: up + down == its rtt, each >= 0. */
void kerf_sync_split(const kerf_sync *s, uint64_t t1, uint64_t t2, uint64_t t3,
                     uint64_t t4, uint64_t *up_ns, uint64_t *down_ns);

#endif
