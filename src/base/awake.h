/*
 * awake.h - keep a core from halting while an answer is about to come.
 *
 * A core without work halts, and waking it costs some 10 to 40 us on virtual
 * machines: more than sending a tensor does. A thread that was busy just now
 * and whose last waits were short therefore yields in a loop before it sleeps.
 * Others that can run take the core at once; waits that are long (a slow link,
 * a camera's frame rate, no edge at all) are not spun on at all. Nor for long
 * where there is work meanwhile, other requests or large tensors on their way:
 * no core halts then, and who stays awake is in the way of those that work
 * (docs/BENCHMARKS.md).
 * Threads: one owner.
 */
#ifndef KERF_BASE_AWAKE_H
#define KERF_BASE_AWAKE_H

#include <stdbool.h>
#include <stdint.h>

#define KERF_AWAKE_MOST_NS 1000000u          /* waits longer than this sleep */
#define KERF_AWAKE_BUSY_NS 150000u           /* the same, with work meanwhile */
#define KERF_AWAKE_LARGE ((size_t)128 << 10) /* bytes of a large tensor */

typedef struct kerf_awake {
    bool is_busy;     /* the owner's: there is work meanwhile */
    bool gives_way;   /* the owner's: sleeps once others have worked on its
                       * core for a while, which then does not halt */
    uint64_t mean_ns; /* of the last waits; starts at 0 */
    uint64_t since_ns, until_ns;
} kerf_awake;

/* The wait begins. */
void kerf_awake_begin(kerf_awake *a);
/* Gives others the core; false: it is time to sleep. */
bool kerf_awake_yield(kerf_awake *a);
/* One look later, for waits that have a bound of their own. */
void kerf_awake_pause(void);
/* What was waited for is there. */
void kerf_awake_end(kerf_awake *a);

#endif
