#include "base/thread.h"

#include <pthread.h>
#include <sched.h>

void
kerf_thread_begin(const char *name)
{
    const struct sched_param none = {0};

    (void)pthread_setname_np(pthread_self(), name);
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}
