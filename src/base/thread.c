#include "base/thread.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

void
kerf_thread_begin(const char *name)
{
    const struct sched_param none = {0};

    (void)pthread_setname_np(pthread_self(), name);
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

/* Not pthread_clockjoin_np(): ThreadSanitizer does not know it, and takes what
 * the thread did for unordered. */
bool
kerf_thread_join(pthread_t thread, uint64_t within_ms)
{
    const struct timespec step = {.tv_nsec = 1000000};
    const uint64_t until_ns = kerf_now_ns() + within_ms * 1000000;

    while (pthread_tryjoin_np(thread, NULL) != 0) {
        if (kerf_now_ns() >= until_ns)
            return false;
        (void)nanosleep(&step, NULL);
    }
    return true;
}
