#include "edge/spool.h"

#include "base/bytes.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define NAME_LEN 20        /* 16 digits and ".req" */
#define FILES_MOST 4000000 /* looked at in the folder */
#define MAGIC UINT64_C(0x3151455246524b21)

struct entry {
    uint64_t seq, len;
    bool taken;
};

struct kerf_spool {
    char dir[KERF_PATH_MAX];
    int fd; /* of the folder; locked */
    uint64_t most, first_new;
    pthread_mutex_t lock;
    struct entry *entry; /* in order, from `first` on; under lock, all below */
    size_t first, end, room;
    uint64_t bytes, next_seq;
};

static kerf_err
path_of(const kerf_spool *s, uint64_t seq, char out[KERF_PATH_MAX])
{
    char name[NAME_LEN + 1];

    (void)snprintf(name, sizeof name, "%016" PRIx64 ".req", seq);
    return kerf_path_join(out, s->dir, name);
}

/* Under the lock. */
static kerf_err
append(kerf_spool *s, uint64_t seq, uint64_t len)
{
    if (s->first > 0 && s->end == s->room) {
        memmove(s->entry, s->entry + s->first,
                (s->end - s->first) * sizeof *s->entry);
        s->end -= s->first;
        s->first = 0;
    }
    if (s->end == s->room) {
        size_t room = s->room == 0 ? 64 : s->room * 2;
        struct entry *bigger = realloc(s->entry, room * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        s->entry = bigger;
        s->room = room;
    }
    s->entry[s->end++] = (struct entry){.seq = seq, .len = len};
    s->bytes += len;
    return KERF_OK;
}

/* What a crash left half-written goes; what is whole is listed. */
static kerf_err
look_at(kerf_spool *s, const char *name)
{
    char path[KERF_PATH_MAX];
    char *end = NULL;
    uint64_t seq;
    size_t len = 0;
    int fd = -1;
    kerf_err err = kerf_path_join(path, s->dir, name);

    if (err != KERF_OK)
        return err;
    if (kerf_path_ends(name, ".tmp")) {
        (void)unlink(path);
        return KERF_OK;
    }
    seq = strtoull(name, &end, 16);
    if (strlen(name) != NAME_LEN || end != name + 16 ||
        strcmp(end, ".req") != 0 ||
        kerf_fs_open(&fd, path, SIZE_MAX / 2, &len, NULL) != KERF_OK)
        return KERF_OK; /* not ours */
    (void)close(fd);
    if (seq >= s->next_seq)
        s->next_seq = seq + 1;
    return append(s, seq, len);
}

static kerf_err
list(kerf_spool *s, kerf_detail *why)
{
    kerf_names names = {0};
    kerf_err err = kerf_fs_list(s->dir, FILES_MOST, &names, why);

    for (size_t i = 0; err == KERF_OK && i < names.count; i++)
        err = look_at(s, names.name[i]);
    kerf_names_free(&names);
    s->first_new = s->next_seq;
    return err;
}

kerf_err
kerf_spool_open(kerf_spool **out, const char *dir, uint64_t most,
                kerf_detail *why)
{
    kerf_spool *s = NULL;
    kerf_err err = kerf_fs_mkdirs(dir, why);

    if (err != KERF_OK)
        return err;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return KERF_ENOMEM;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)snprintf(s->dir, sizeof s->dir, "%s", dir);
    s->most = most;
    s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->fd < 0) {
        err = kerf_fail(why, KERF_EIO, "%s: %s", dir, strerror(errno));
    } else if (flock(s->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        err = kerf_fail(why, KERF_EBUSY,
                        "%s: another edge queues its requests there: give this "
                        "one a --store of its own",
                        dir);
    }
    if (err == KERF_OK)
        err = list(s, why);
    if (err != KERF_OK) {
        kerf_spool_close(s);
        return err;
    }
    *out = s;
    return KERF_OK;
}

void
kerf_spool_close(kerf_spool *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->entry);
    free(s);
}

bool
kerf_spool_holds(const kerf_spool *s, size_t len)
{
    return len <= s->most && len <= KERF_SPOOL_RECORD_MAX;
}

static kerf_err
check_room(kerf_spool *s, size_t len, kerf_detail *why)
{
    char have[32], most[32];
    uint64_t bytes = kerf_spool_bytes(s);

    if (!kerf_spool_holds(s, len)) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "its %s are more than --queue-max %s",
                         kerf_text_bytes(have, sizeof have, len),
                         kerf_text_bytes(most, sizeof most, s->most));
    }
    if (bytes <= s->most - len)
        return KERF_OK;
    return kerf_fail(why, KERF_ETOOBIG,
                     "the queue on disk is full: %s of --queue-max %s",
                     kerf_text_bytes(have, sizeof have, bytes),
                     kerf_text_bytes(most, sizeof most, s->most));
}

kerf_err
kerf_spool_add(kerf_spool *s, uint8_t *data, size_t len, uint64_t *seq,
               kerf_detail *why)
{
    kerf_wr w = {.at = data, .left = KERF_SPOOL_HEAD};
    char path[KERF_PATH_MAX];
    kerf_err err = check_room(s, len, why);

    if (err != KERF_OK)
        return err;
    kerf_wr_u64(&w, MAGIC);
    kerf_wr_u64(&w, kerf_xxh3(data + KERF_SPOOL_HEAD, len - KERF_SPOOL_HEAD));
    (void)pthread_mutex_lock(&s->lock);
    *seq = s->next_seq++;
    (void)pthread_mutex_unlock(&s->lock);
    err = path_of(s, *seq, path);
    if (err == KERF_OK)
        err = kerf_fs_write(path, data, len, why);
    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&s->lock);
    if (err == KERF_OK)
        err = append(s, *seq, len);
    (void)pthread_mutex_unlock(&s->lock);
    if (err != KERF_OK)
        (void)unlink(path);
    return err;
}

bool
kerf_spool_take(kerf_spool *s, uint64_t *seq)
{
    bool found = false;

    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = s->first; i < s->end && !found; i++) {
        found = !s->entry[i].taken;
        if (found) {
            s->entry[i].taken = true;
            *seq = s->entry[i].seq;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}

kerf_err
kerf_spool_read(kerf_spool *s, uint64_t seq, uint8_t **data, size_t *len,
                kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    uint8_t *bytes = NULL;
    uint64_t magic, hash;
    kerf_rd r;
    kerf_err err = path_of(s, seq, path);

    if (err == KERF_OK)
        err = kerf_fs_read(path, KERF_SPOOL_RECORD_MAX, &bytes, len, why);
    if (err == KERF_ETOOBIG || err == KERF_EINVAL) /* nothing that we wrote */
        return kerf_fail(why, KERF_ECORRUPT, "%s is damaged", path);
    if (err != KERF_OK)
        return err;
    r = (kerf_rd){.at = bytes, .left = *len};
    magic = kerf_rd_u64(&r);
    hash = kerf_rd_u64(&r);
    if (r.bad || magic != MAGIC || hash != kerf_xxh3(r.at, r.left)) {
        free(bytes);
        return kerf_fail(why, KERF_ECORRUPT, "%s is damaged", path);
    }
    *data = bytes;
    return KERF_OK;
}

/* Its place; s->end: it is not there. Under the lock. */
static size_t
find(const kerf_spool *s, uint64_t seq)
{
    size_t i = s->first; /* what is taken is near the front */

    while (i < s->end && s->entry[i].seq != seq)
        i++;
    return i;
}

void
kerf_spool_give_back(kerf_spool *s, uint64_t seq)
{
    size_t i;

    (void)pthread_mutex_lock(&s->lock);
    i = find(s, seq);
    if (i < s->end)
        s->entry[i].taken = false;
    (void)pthread_mutex_unlock(&s->lock);
}

void
kerf_spool_remove(kerf_spool *s, uint64_t seq)
{
    char path[KERF_PATH_MAX];
    size_t i;

    (void)pthread_mutex_lock(&s->lock);
    i = find(s, seq);
    if (i < s->end) {
        s->bytes -= s->entry[i].len;
        memmove(s->entry + s->first + 1, s->entry + s->first,
                (i - s->first) * sizeof *s->entry);
        s->first++;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (path_of(s, seq, path) == KERF_OK)
        (void)unlink(path);
}

void
kerf_spool_release(kerf_spool *s, const uint64_t *but, size_t count)
{
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = s->first; i < s->end; i++) {
        bool keep = false;

        for (size_t k = 0; k < count; k++)
            keep |= but[k] == s->entry[i].seq;
        s->entry[i].taken = keep && s->entry[i].taken;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

size_t
kerf_spool_count(kerf_spool *s)
{
    size_t count;

    (void)pthread_mutex_lock(&s->lock);
    count = s->end - s->first;
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}

uint64_t
kerf_spool_bytes(kerf_spool *s)
{
    uint64_t bytes;

    (void)pthread_mutex_lock(&s->lock);
    bytes = s->bytes;
    (void)pthread_mutex_unlock(&s->lock);
    return bytes;
}

uint64_t
kerf_spool_first_new(const kerf_spool *s)
{
    return s->first_new;
}
