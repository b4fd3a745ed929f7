#include "base/thread.h"

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

bool
kerf_thread_join(pthread_t thread, uint64_t within_ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(within_ms / 1000);
    until.tv_nsec += (long)(within_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}
