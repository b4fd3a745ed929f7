/*
 * crew.h - blocks of a file through several threads, in order at both ends.
 * Threads: kerf_crew_run() is called by one, which works, too; it makes and
 * joins the others.
 */
#ifndef KERF_PACK_CREW_H
#define KERF_PACK_CREW_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>

/* take is called by any of the threads, one at a time, and so is give; but one
 * may take while another gives. */
typedef struct kerf_crew {
    void *ctx;
    /* The next job into the slot; *more is false when there is none (the slot
     * is not used then). */
    kerf_err (*take)(void *ctx, size_t slot, bool *more, kerf_detail *why);
    /* By worker `worker` of the crew, at the same time as others. */
    kerf_err (*work)(void *ctx, size_t slot, size_t worker, kerf_detail *why);
    /* The job is done: in the order of take. */
    kerf_err (*give)(void *ctx, size_t slot, kerf_detail *why);
} kerf_crew;

#define KERF_CREW_MOST 64
/* Slots that a crew of so many threads, the caller's with them, uses: several
 * each, since one block may take as long as some others, which have to wait for
 * it to be given. */
#define KERF_CREW_SLOTS(threads) ((threads) > 1 ? 4 * (size_t)(threads) : 1)

/* How many of `most` threads pay for a file of so many bytes: packing and
 * unpacking 4 MiB take 1 to 2 ms, starting a thread and waking a core some
 * tenths of it. */
static inline int
kerf_crew_threads(int most, size_t bytes)
{
    size_t pay = bytes >> 22;

    return pay < 1 ? 1 : pay < (size_t)most ? (int)pay : most;
}

/* Runs until take has no more and all is given. 1 thread: the caller's alone.
 * The first error of any of them ends it. Errors: theirs. */
KERF_NODISCARD kerf_err kerf_crew_run(const kerf_crew *crew, int threads,
                                      kerf_detail *why);

#endif
