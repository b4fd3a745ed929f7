/*
 * slowfile.c - for LD_PRELOAD: a disk that hangs. Who opens a crl.pem while
 * there is the file $SLOWFILE_WHILE waits until that is gone, and writes a byte
 * to $SLOWFILE_COUNT first.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int open_fn(const char *path, int flags, ...);

static int
open_slowly(const char *name, const char *path, int flags, mode_t mode)
{
    open_fn *real = (open_fn *)dlsym(RTLD_NEXT, name);
    const char *end = strrchr(path, '/');
    int fd;

    if (end == NULL || strcmp(end, "/crl.pem") != 0 ||
        access(getenv("SLOWFILE_WHILE"), F_OK) != 0)
        return real(path, flags, mode);
    fd = real(getenv("SLOWFILE_COUNT"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, ".", 1) != 1)
        abort();
    (void)close(fd);
    while (access(getenv("SLOWFILE_WHILE"), F_OK) == 0)
        (void)usleep(10000);
    return real(path, flags, mode);
}

static mode_t
mode_of(int flags, va_list args)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

int
open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return open_slowly("open", path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return open_slowly("open64", path, flags, mode);
}
