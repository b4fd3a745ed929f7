#include "base/awake.h"

#include "base/clock.h"

#include <sched.h>

#define PAUSES 32                                  /* about 1 us */
#define TAKEN_NS 4000                              /* a yield: others work */
#define LONG_NS (8 * (uint64_t)KERF_AWAKE_MOST_NS) /* counts as this */

/* Lets the other thread of a core run faster, and spares the kernel most of
 * the yields. */
static void
pause_core(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

void
kerf_awake_begin(kerf_awake *a)
{
    uint64_t most_ns = a->is_busy ? KERF_AWAKE_BUSY_NS : KERF_AWAKE_MOST_NS;

    a->since_ns = kerf_now_ns();
    a->until_ns = a->mean_ns < most_ns ? a->since_ns + most_ns : 0;
}

bool
kerf_awake_yield(kerf_awake *a)
{
    uint64_t now_ns = kerf_now_ns();

    if (now_ns >= a->until_ns)
        return false;
    kerf_awake_pause();
    return !a->gives_way || kerf_now_ns() - now_ns < TAKEN_NS;
}

void
kerf_awake_pause(void)
{
    for (int i = 0; i < PAUSES; i++)
        pause_core();
    (void)sched_yield();
}

void
kerf_awake_end(kerf_awake *a)
{
    uint64_t waited_ns = kerf_now_ns() - a->since_ns;

    waited_ns = waited_ns < LONG_NS ? waited_ns : LONG_NS;
    a->mean_ns = a->mean_ns - a->mean_ns / 4 + waited_ns / 4;
}
