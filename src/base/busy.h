/*
 * busy.h - since when a thread has been at one piece of work: somebody else may
 * see that it hangs.
 * Threads: begin and end on the one that works, the rest on any.
 */
#ifndef KERF_BASE_BUSY_H
#define KERF_BASE_BUSY_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stddef.h>

typedef struct kerf_busy {
    _Atomic uint64_t since_ns; /* 0: it is not */
} kerf_busy;

static inline void
kerf_busy_begin(kerf_busy *b)
{
    atomic_store_explicit(&b->since_ns, kerf_now_ns(), memory_order_relaxed);
}

static inline void
kerf_busy_end(kerf_busy *b)
{
    atomic_store_explicit(&b->since_ns, 0, memory_order_relaxed);
}

/* For how long the one that is at it the longest has been. */
static inline uint64_t
kerf_busy_ms(kerf_busy *b, size_t count)
{
    uint64_t now_ns = kerf_now_ns();
    uint64_t most_ns = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t since_ns =
            atomic_load_explicit(&b[i].since_ns, memory_order_relaxed);

        if (since_ns != 0 && now_ns > since_ns && now_ns - since_ns > most_ns)
            most_ns = now_ns - since_ns;
    }
    return most_ns / 1000000;
}

#endif
