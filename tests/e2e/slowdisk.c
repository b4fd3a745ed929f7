/*
 * slowdisk.c - for LD_PRELOAD: a disk under $SLOWDISK_DIR that hangs as long as
 * there is a file $SLOWDISK_GATE: in the call that it names. Each call is a
 * line of $SLOWDISK_LOG: its name, and the file; "hangs" before one that does.
 * With $SLOWDISK_NO_FOLDERS it cannot sync folders, as some cannot.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name)                 \
    static __typeof__(&name) real; \
    if (real == NULL)              \
    real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void
path_of(char out[PATH_MAX], int fd)
{
    char link[64];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, out, PATH_MAX - 1);
    out[n < 0 ? 0 : n] = '\0';
}

static bool
hangs(const char *call)
{
    char name[16] = "";
    FILE *gate = fopen(getenv("SLOWDISK_GATE"), "re");

    if (gate == NULL)
        return false;
    if (fscanf(gate, "%15s", name) != 1)
        name[0] = '\0';
    (void)fclose(gate);
    return strcmp(name, call) == 0;
}

static void
note(const char *call, const char *path)
{
    int fd = open(getenv("SLOWDISK_LOG"),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || dprintf(fd, "%s %s\n", call, path) < 0)
        abort();
    (void)close(fd);
}

/* name: NULL: the file of fd; else a name in the folder of fd. */
static void
pass(const char *call, int fd, const char *name)
{
    const char *dir = getenv("SLOWDISK_DIR");
    char path[2 * PATH_MAX] = "";

    if (name == NULL || (name[0] != '/' && fd != AT_FDCWD))
        path_of(path, fd);
    if (name != NULL)
        (void)snprintf(path + strlen(path), PATH_MAX, "%s%s",
                       path[0] != '\0' ? "/" : "", name);
    if (strncmp(path, dir, strlen(dir)) != 0)
        return;
    if (hangs(call)) {
        note("hangs", path);
        while (hangs(call))
            (void)usleep(5000);
    }
    note(call, path);
}

static bool
is_folder(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int
fsync(int fd)
{
    REAL(fsync);
    pass("fsync", fd, NULL);
    if (getenv("SLOWDISK_NO_FOLDERS") != NULL && is_folder(fd)) {
        errno = EINVAL;
        return -1;
    }
    return real(fd);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
    REAL(pwrite);
    pass("pwrite", fd, NULL);
    return real(fd, data, len, offset);
}

/* Of the files of models: to load them. */
ssize_t
read(int fd, void *data, size_t len)
{
    char path[PATH_MAX];

    REAL(read);
    path_of(path, fd);
    if (strstr(path, "/parts/") != NULL)
        pass("read", fd, NULL);
    return real(fd, data, len);
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
    REAL(fallocate);
    pass("fallocate", fd, NULL);
    return real(fd, mode, offset, len);
}

int
ftruncate(int fd, off_t len)
{
    REAL(ftruncate);
    pass("ftruncate", fd, NULL);
    return real(fd, len);
}

int
renameat(int from, const char *old, int to, const char *new)
{
    REAL(renameat);
    pass("rename", to, new);
    return real(from, old, to, new);
}

int
rename(const char *old, const char *new)
{
    REAL(rename);
    pass("rename", AT_FDCWD, new);
    return real(old, new);
}

int
unlinkat(int dir, const char *name, int flags)
{
    REAL(unlinkat);
    pass("unlink", dir, name);
    return real(dir, name, flags);
}
