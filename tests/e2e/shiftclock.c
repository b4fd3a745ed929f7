/*
 * shiftclock.c - for LD_PRELOAD: the wall clock is off by the seconds that the
 * file $SHIFTCLOCK says, as it says them now.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    static __typeof__(&clock_gettime) real;
    FILE *file;
    long shift = 0;
    int code;

    if (real == NULL)
        real = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
    code = real(clock, out);
    if (clock != CLOCK_REALTIME || code != 0)
        return code;
    file = fopen(getenv("SHIFTCLOCK"), "r");
    if (file != NULL) {
        if (fscanf(file, "%ld", &shift) == 1)
            out->tv_sec += shift;
        (void)fclose(file);
    }
    return code;
}
