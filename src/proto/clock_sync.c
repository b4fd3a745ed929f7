#include "proto/clock_sync.h"

#include <stddef.h>

/* Differences of u64 clocks wrap: right as long as the true one fits. */
static int64_t
since(uint64_t later, uint64_t earlier)
{
    return (int64_t)(later - earlier);
}

/* a / 2 + b / 2 without overflow, rounded towards zero for equal signs. */
static int64_t
mean_of(int64_t a, int64_t b)
{
    return a / 2 + b / 2 + (a % 2 + b % 2) / 2;
}

/* Time on the wire, or -1 when the stamps contradict. */
static int64_t
wire_time(uint64_t t1, uint64_t t2, uint64_t t3, uint64_t t4)
{
    int64_t all = since(t4, t1);
    int64_t there = since(t3, t2);

    return all < 0 || there < 0 || there > all ? -1 : all - there;
}

bool
kerf_sync_add(kerf_sync *s, uint64_t t1, uint64_t t2, uint64_t t3, uint64_t t4)
{
    int64_t rtt = wire_time(t1, t2, t3, t4);
    unsigned slot = s->count % KERF_SYNC_KEEP;

    if (rtt < 0)
        return false;
    s->rtt_ns[slot] = rtt;
    s->offset_ns[slot] = mean_of(since(t2, t1), since(t3, t4));
    s->count++;
    if (s->count == 0) /* wrapped: all slots are in use */
        s->count = KERF_SYNC_KEEP;
    return true;
}

/* Slot of the least RTT, the youngest of equals; -1 when there is none. */
static int
best_slot(const kerf_sync *s)
{
    unsigned kept = s->count < KERF_SYNC_KEEP ? s->count : KERF_SYNC_KEEP;
    int best = -1;

    for (unsigned i = 0; i < kept; i++) {
        unsigned slot = (s->count - 1 - i) % KERF_SYNC_KEEP;

        if (best < 0 || s->rtt_ns[slot] < s->rtt_ns[best])
            best = (int)slot;
    }
    return best;
}

int64_t
kerf_sync_offset(const kerf_sync *s)
{
    int slot = best_slot(s);

    return slot < 0 ? 0 : s->offset_ns[slot];
}

int64_t
kerf_sync_rtt(const kerf_sync *s)
{
    int slot = best_slot(s);

    return slot < 0 ? 0 : s->rtt_ns[slot];
}

void
kerf_sync_split(const kerf_sync *s, uint64_t t1, uint64_t t2, uint64_t t3,
                uint64_t t4, uint64_t *up_ns, uint64_t *down_ns)
{
    int64_t rtt = wire_time(t1, t2, t3, t4);
    int64_t up;

    if (rtt < 0)
        rtt = 0;
    /* t2 in the edge's clock, minus t1; wraps as t2 - t1 does. */
    up = since(t2 - (uint64_t)kerf_sync_offset(s), t1);
    if (s->count == 0)
        up = rtt / 2;
    if (up < 0)
        up = 0;
    if (up > rtt)
        up = rtt;
    *up_ns = (uint64_t)up;
    *down_ns = (uint64_t)(rtt - up);
}
