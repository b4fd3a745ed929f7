/*
 * Who uses which bundle. A lock says it: it goes with the process, however that
 * ends. It is on one byte of the folder bundles/, at an offset that the id
 * gives, so that it is there before a manifest is and while one is replaced,
 * and cannot be removed with a file. Two bundles of one offset would keep each
 * other, no more.
 */
#include "model/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

enum { LOCK_TRIES = 1000, LOCK_WAIT_MS = 20 };

struct kerf_hold {
    int fd; /* of its own: that is whose the lock is */
};

static struct flock
byte_of(const uint8_t id[KERF_BUNDLE_ID_LEN], short type)
{
    kerf_rd r = {.at = id, .left = KERF_BUNDLE_ID_LEN};

    return (struct flock){.l_type = type,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(kerf_rd_u64(&r) >> 2),
                          .l_len = 1};
}

static int
open_again(const kerf_store *store, kerf_store_dir dir)
{
    return openat(store->dir[dir], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

kerf_err
kerf_hold_take(kerf_hold **out, const kerf_store *store,
               const uint8_t id[KERF_BUNDLE_ID_LEN], kerf_detail *why)
{
    struct flock byte = byte_of(id, F_RDLCK);
    kerf_hold *hold = malloc(sizeof *hold);
    int code = 0;

    if (hold == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", store->path);
    hold->fd = open_again(store, KERF_STORE_BUNDLES);
    /* Nobody locks it for writing. Where locks do not work at all, nobody can
     * tell what is held, and nothing goes. */
    if (hold->fd < 0 || (fcntl(hold->fd, F_OFD_SETLK, &byte) != 0 &&
                         (errno == ENOMEM || errno == ENOLCK)))
        code = errno;
    if (code != 0) {
        kerf_hold_free(hold);
        return kerf_store_fail(store, "bundles", code, why);
    }
    *out = hold;
    return KERF_OK;
}

kerf_err
kerf_store_hold(kerf_hold **out, kerf_store *store,
                const uint8_t id[KERF_BUNDLE_ID_LEN], kerf_detail *why)
{
    int lock = -1;
    kerf_err err = kerf_store_lock(&lock, store, why);

    if (err == KERF_OK)
        err = kerf_hold_take(out, store, id, why);
    kerf_store_unlock(lock);
    return err;
}

void
kerf_hold_free(kerf_hold *hold)
{
    if (hold != NULL && hold->fd >= 0)
        (void)close(hold->fd);
    free(hold);
}

bool
kerf_store_is_held(const kerf_store *store,
                   const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    struct flock byte = byte_of(id, F_WRLCK);

    return fcntl(store->dir[KERF_STORE_BUNDLES], F_OFD_GETLK, &byte) != 0 ||
           byte.l_type != F_UNLCK;
}

kerf_err
kerf_store_lock(int *lock, const kerf_store *store, kerf_detail *why)
{
    const struct timespec wait = {.tv_nsec = LOCK_WAIT_MS * 1000000L};
    int fd;

    /* The folder itself: no file, and no more of it than that. */
    fd = open_again(store, KERF_STORE_PARTIAL);
    if (fd < 0)
        return kerf_store_fail(store, "partial", errno, why);
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
            *lock = fd;
            return KERF_OK;
        }
        (void)nanosleep(&wait, NULL);
    }
    (void)close(fd);
    return kerf_fail(why, KERF_EBUSY,
                     "%s: another process is at it, try again later",
                     store->path);
}

void
kerf_store_unlock(int lock)
{
    if (lock >= 0)
        (void)close(lock);
}

int
kerf_store_try(const kerf_store *store, kerf_store_dir dir, const char *name)
{
    uint64_t size;
    int fd = kerf_store_open_file(store, dir, name, &size);

    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}
