#include "base/thread.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

int
kerf_thread_cores(void)
{
    cpu_set_t set;
    int count =
        sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return count > 0 ? count : 1;
}

static void
set_class(int policy)
{
    const struct sched_param none = {0};

    (void)pthread_setschedparam(pthread_self(), policy, &none);
}

void
kerf_thread_begin(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
    set_class(SCHED_BATCH);
}

void
kerf_thread_block_pipe(void)
{
    sigset_t broken;

    (void)sigemptyset(&broken);
    (void)sigaddset(&broken, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &broken, NULL);
}

void
kerf_thread_interrupt(bool *now, bool want)
{
    if (*now != want)
        set_class(want ? SCHED_OTHER : SCHED_BATCH);
    *now = want;
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
