#include "base/awake.h"

#include "base/clock.h"

#include <sched.h>

#define LONG_NS (8 * (uint64_t)KERF_AWAKE_MOST_NS) /* counts as this */

void
kerf_awake_begin(kerf_awake *a)
{
    a->since_ns = kerf_now_ns();
    a->until_ns =
        a->mean_ns < KERF_AWAKE_MOST_NS ? a->since_ns + KERF_AWAKE_MOST_NS : 0;
}

bool
kerf_awake_yield(kerf_awake *a)
{
    if (kerf_now_ns() >= a->until_ns)
        return false;
    (void)sched_yield();
    return true;
}

void
kerf_awake_end(kerf_awake *a)
{
    uint64_t waited_ns = kerf_now_ns() - a->since_ns;

    waited_ns = waited_ns < LONG_NS ? waited_ns : LONG_NS;
    a->mean_ns = a->mean_ns - a->mean_ns / 4 + waited_ns / 4;
}
