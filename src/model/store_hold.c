/*
 * Who uses which bundle. A lock on the manifest says it: it goes with the
 * process, however that ends.
 */
#include "model/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 1000, LOCK_WAIT_MS = 20 };

/* The open file still has its name. */
static bool
is_there(const kerf_store *store, kerf_store_dir dir, const char *name, int fd)
{
    struct stat st, there;

    return fstat(fd, &st) == 0 &&
           fstatat(store->dir[dir], name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_dev == there.st_dev && st.st_ino == there.st_ino;
}

void
kerf_hold_drop(kerf_hold *hold)
{
    if (hold->fd >= 0)
        (void)close(hold->fd);
    hold->fd = -1;
}

bool
kerf_hold_take(kerf_hold *hold, const kerf_store *store, kerf_store_dir dir,
               const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    char name[KERF_STORE_NAME];
    uint64_t size;
    int fd;

    kerf_store_bundle_name(name, id);
    fd = kerf_store_open_file(store, dir, name, &size);
    if (fd >= 0 &&
        (flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) &&
        is_there(store, dir, name, fd)) {
        kerf_hold_drop(hold);
        hold->fd = fd;
        memcpy(hold->id, id, KERF_BUNDLE_ID_LEN);
        return true;
    }
    if (fd >= 0)
        (void)close(fd);
    return false;
}

void
kerf_store_use(kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    (void)pthread_mutex_lock(&store->lock);
    if (kerf_hold_take(&store->next, store, KERF_STORE_BUNDLES, id)) {
        char name[KERF_STORE_NAME];

        kerf_store_bundle_name(name, id);
        (void)utimensat(store->dir[KERF_STORE_BUNDLES], name, NULL,
                        AT_SYMLINK_NOFOLLOW);
    }
    (void)pthread_mutex_unlock(&store->lock);
}

void
kerf_store_run(kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    (void)pthread_mutex_lock(&store->lock);
    if (store->next.fd >= 0 &&
        memcmp(store->next.id, id, KERF_BUNDLE_ID_LEN) == 0) {
        kerf_hold_drop(&store->running);
        store->running = store->next;
        store->next.fd = -1;
    }
    (void)pthread_mutex_unlock(&store->lock);
}

int
kerf_store_lock(const kerf_store *store)
{
    const struct timespec wait = {.tv_nsec = LOCK_WAIT_MS * 1000000L};
    int fd;

    /* The folder itself: no file, and no more of it than that. */
    fd = openat(store->dir[KERF_STORE_PARTIAL], ".",
                O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            return fd;
        (void)nanosleep(&wait, NULL);
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
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
