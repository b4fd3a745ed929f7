/*
 * slowwrite.c - for LD_PRELOAD: a disk that hangs. pwrite() waits for as long
 * as there is a file $SLOWWRITE_WHILE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
    __typeof__(&pwrite) real = (__typeof__(&pwrite))dlsym(RTLD_NEXT, "pwrite");

    while (access(getenv("SLOWWRITE_WHILE"), F_OK) == 0)
        (void)usleep(10000);
    return real(fd, data, len, offset);
}
