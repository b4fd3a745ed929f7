/*
 * Files in the store's folders. A temporary file is locked (flock) as long as
 * its writer lives. So a file that can be locked belongs to nobody, whatever
 * the process number in its name says: numbers come again, in containers at
 * every start. Only where locks do not work does the number decide.
 */
#include "model/store_own.h"

#include "base/large.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE "aside" /* folder for folders that stood in a file's place */

enum { TEMP_TRIES = 100 };

const char *
kerf_store_dir_name(kerf_store_dir dir)
{
    static const char *const names[KERF_STORE_DIRS] = {".", "parts", "partial",
                                                       "bundles"};

    return names[dir];
}

kerf_err
kerf_store_fail(const kerf_store *store, const char *what, int code,
                kerf_detail *why)
{
    kerf_err err = kerf_err_from_errno(code);

    if (err == KERF_ENOSPC) {
        return kerf_fail(why, err,
                         "%s: no room for %s (%s): free some space or use "
                         "another folder",
                         store->path, what, strerror(code));
    }
    return kerf_fail(why, err == KERF_ENOMEM ? err : KERF_EIO, "%s/%s: %s",
                     store->path, what, strerror(code));
}

int
kerf_store_open_file(const kerf_store *store, kerf_store_dir dir,
                     const char *name, uint64_t *size)
{
    struct stat st;
    int fd = openat(store->dir[dir], name,
                    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        errno = ENOENT;
        return -1;
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

/* Bytes read, fewer than len only at the end of the file; -1, errno. */
static ssize_t
read_some(int fd, uint8_t *data, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = read(fd, data + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

kerf_err
kerf_store_read(const kerf_store *store, kerf_store_dir dir, const char *name,
                uint64_t most, uint8_t **data, size_t *len, kerf_detail *why)
{
    uint64_t size = 0;
    uint8_t *bytes = NULL;
    int fd = kerf_store_open_file(store, dir, name, &size);
    kerf_err err = KERF_OK;
    ssize_t n;

    if (fd < 0) {
        return kerf_fail(
            why, errno == ENOENT || errno == ELOOP ? KERF_ENOENT : KERF_EIO,
            "%s/%s/%s: %s", store->path, kerf_store_dir_name(dir), name,
            strerror(errno));
    }
    if (size > most) {
        err =
            kerf_fail(why, KERF_ETOOBIG, "%s/%s/%s: %llu bytes", store->path,
                      kerf_store_dir_name(dir), name, (unsigned long long)size);
        goto out;
    }
    bytes = kerf_large_alloc((size_t)size + 1);
    if (bytes == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s/%s: no memory for %llu bytes",
                        store->path, name, (unsigned long long)size);
        goto out;
    }
    n = read_some(fd, bytes, (size_t)size);
    if (n < 0) {
        err = kerf_store_fail(store, name, errno, why);
        goto out;
    }
    bytes[n] = 0;
    *data = bytes;
    *len = (size_t)n;
    bytes = NULL;
out:
    free(bytes);
    (void)close(fd);
    return err;
}

/* ".kerf-PID-N.tmp" */
static bool
parse_temp(const char *name, long *pid)
{
    unsigned long n;
    int end = 0;

    return sscanf(name, ".kerf-%ld-%lu.tmp%n", pid, &n, &end) == 2 && end > 0 &&
           name[end] == '\0' && *pid > 0;
}

static bool
is_stale(int fd, long pid)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return false;
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void
remove_if_stale(const kerf_store *store, kerf_store_dir dir, const char *name)
{
    uint64_t size;
    long pid = 0;
    int fd;

    if (!parse_temp(name, &pid))
        return;
    fd = kerf_store_open_file(store, dir, name, &size);
    if (fd < 0)
        return;
    if (is_stale(fd, pid))
        (void)unlinkat(store->dir[dir], name, 0);
    (void)close(fd);
}

void
kerf_store_clean(const kerf_store *store, kerf_store_dir dir)
{
    int fd = openat(store->dir[dir], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    DIR *d;

    if (fd < 0)
        return;
    d = fdopendir(fd);
    if (d == NULL) {
        (void)close(fd);
        return;
    }
    while ((entry = readdir(d)) != NULL)
        remove_if_stale(store, dir, entry->d_name);
    (void)closedir(d);
}

int
kerf_store_temp(const kerf_store *store, kerf_store_dir dir,
                char name[KERF_STORE_NAME])
{
    static atomic_ulong serial;

    for (int i = 0; i < TEMP_TRIES; i++) {
        struct stat st;
        int fd;

        (void)snprintf(name, KERF_STORE_NAME, ".kerf-%ld-%lu.tmp",
                       (long)getpid(), atomic_fetch_add(&serial, 1));
        fd = openat(store->dir[dir], name,
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return -1;
        (void)flock(fd, LOCK_EX);
        /* Another process that opened the store before the lock was there
         * has taken the file for a stale one. */
        if (fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        (void)close(fd);
    }
    errno = EEXIST;
    return -1;
}

/* A folder that is not empty: nobody's to remove. */
static int
put_aside(const kerf_store *store, kerf_store_dir dir, const char *name)
{
    int root = store->dir[KERF_STORE_ROOT];

    if (mkdirat(root, ASIDE, 0755) != 0 && errno != EEXIST)
        return errno;
    for (int i = 0; i < TEMP_TRIES; i++) {
        char to[KERF_PART_NAME + 32];

        (void)snprintf(to, sizeof to, ASIDE "/%s.%d", name, i);
        if (renameat2(store->dir[dir], name, root, to, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST && errno != ENOTEMPTY)
            return errno;
    }
    return EEXIST;
}

int
kerf_store_clear(const kerf_store *store, kerf_store_dir dir, const char *name)
{
    struct stat st;

    if (fstatat(store->dir[dir], name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (S_ISREG(st.st_mode) && st.st_nlink == 1)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(store->dir[dir], name, 0) == 0 ? 0 : errno;
    if (unlinkat(store->dir[dir], name, AT_REMOVEDIR) == 0)
        return 0;
    return put_aside(store, dir, name);
}

int
kerf_store_publish(const kerf_store *store, int fd, kerf_store_dir from,
                   const char *temp, kerf_store_dir to, const char *name)
{
    int code = 0;

    if (fsync(fd) != 0)
        return errno;
    if (renameat(store->dir[from], temp, store->dir[to], name) != 0) {
        code = errno;
        if (code == EISDIR || code == ENOTEMPTY || code == EEXIST)
            code = kerf_store_clear(store, to, name);
        if (code == 0 &&
            renameat(store->dir[from], temp, store->dir[to], name) != 0)
            code = errno;
    }
    return code != 0 ? code : kerf_fs_sync_dir(store->dir[to]);
}

int
kerf_store_write_at(int fd, uint64_t offset, const void *data, size_t len,
                    size_t *done)
{
    const uint8_t *bytes = data;

    *done = 0;
    while (*done < len) {
        ssize_t n =
            pwrite(fd, bytes + *done, len - *done, (off_t)(offset + *done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        *done += (size_t)n;
    }
    return 0;
}

int
kerf_store_write(const kerf_store *store, kerf_store_dir dir, const char *name,
                 const void *data, size_t len)
{
    char temp[KERF_STORE_NAME];
    size_t done;
    int fd = kerf_store_temp(store, dir, temp);
    int code = fd < 0 ? errno : kerf_store_write_at(fd, 0, data, len, &done);

    if (fd < 0)
        return code;
    if (code == 0)
        code = kerf_store_publish(store, fd, dir, temp, dir, name);
    if (code != 0)
        (void)unlinkat(store->dir[dir], temp, 0);
    (void)close(fd); /* last: the lock keeps others away till then */
    return code;
}

bool
kerf_store_hash(kerf_sha256 *hash, int fd, uint64_t offset, uint64_t len,
                int to, uint64_t to_offset, uint8_t *step)
{
    while (len > 0) {
        size_t some = len < KERF_STORE_STEP ? (size_t)len : KERF_STORE_STEP;
        size_t done;

        if (!kerf_fs_read_at(fd, offset, step, some))
            return false;
        kerf_sha256_add(hash, step, some);
        if (to >= 0 &&
            kerf_store_write_at(to, to_offset, step, some, &done) != 0)
            return false;
        offset += some;
        to_offset += some;
        len -= some;
    }
    return true;
}
