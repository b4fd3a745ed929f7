/*
 * One file coming in. Which units are there is asked of the bytes themselves,
 * when it is opened: nothing that is written beside them could be believed
 * after a crash. From then on it is what was there, and all before `at`.
 */
#include "model/store_behind.h"
#include "model/store_own.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* Smaller ones are hashed at once, which takes less than a thread does. */
#define BEHIND_LEAST ((uint64_t)4 << 20)

enum { PARTIAL_NAMES = 10 }; /* HEX, HEX.1 ...: other processes have some */

struct kerf_incoming {
    kerf_store *store;   /* borrowed */
    kerf_file file;      /* units: owned */
    uint64_t *end;       /* of each unit, in the file */
    bool *had;           /* of each unit: it was there from the first */
    _Atomic uint64_t at; /* the first byte that is missing */
    kerf_sha256 *hash;   /* of the bytes before hashed */
    uint64_t hashed;
    kerf_behind *behind; /* or NULL: has hash and hashed while it runs */
    kerf_incoming_counts count;
    int fd;
    kerf_store_dir dir; /* of name; the root: a plain file */
    char name[KERF_STORE_NAME];
    bool is_bad; /* to be removed */
};

/* The unit that has byte `at`; unit_count: behind the end. */
static size_t
unit_at(const kerf_incoming *in, uint64_t at)
{
    size_t low = 0;
    size_t high = in->file.unit_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (in->end[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void
kerf_incoming_missing(const kerf_incoming *in, uint64_t from, uint64_t *offset,
                      uint64_t *len)
{
    uint64_t at = in->at;
    uint64_t begin = from > at ? from : at;
    size_t i = unit_at(in, begin);
    uint64_t end;

    while (i < in->file.unit_count && in->had[i])
        begin = in->end[i++];
    for (end = begin; i < in->file.unit_count && !in->had[i]; i++)
        end = in->end[i];
    *offset = begin;
    *len = end - begin;
}

static void
skip_had(kerf_incoming *in)
{
    uint64_t first, len;

    kerf_incoming_missing(in, in->at, &first, &len);
    in->at = first;
}

/* Takes the room now, so that a full disk shows before the transfer. 0, or an
 * errno; file systems that cannot do it are fine. */
static int
reserve(kerf_incoming *in, uint64_t had)
{
    int code;

    if (in->file.size == 0 ||
        fallocate(in->fd, 0, 0, (off_t)in->file.size) == 0)
        return 0;
    code = errno;
    if (kerf_err_from_errno(code) != KERF_ENOSPC)
        return 0;
    (void)ftruncate(in->fd, (off_t)had); /* what it did get */
    return code;
}

/* Opens name, or makes it; -1 and 0 in *code: another process has it. */
static int
open_partial(const kerf_store *store, const char *name, int *code)
{
    int dir = store->dir[KERF_STORE_PARTIAL];

    for (int i = 0; i < 3; i++) {
        struct stat st, there;
        int fd;

        *code = kerf_store_clear(store, KERF_STORE_PARTIAL, name);
        if (*code != 0)
            return -1;
        fd = openat(dir, name,
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
                        O_CLOEXEC,
                    0644);
        if (fd < 0) {
            *code = errno;
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            (void)close(fd);
            return -1;
        }
        /* Whoever had it may just have moved it to where it is whole. */
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
            fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_dev == there.st_dev && st.st_ino == there.st_ino)
            return fd;
        (void)close(fd);
        *code = EAGAIN;
    }
    return -1;
}

static int
find_partial(kerf_incoming *in)
{
    char hex[KERF_STORE_NAME - 8];
    int code = 0;

    kerf_hex(hex, in->file.sha256, KERF_SHA256_LEN);
    for (int i = 0; i < PARTIAL_NAMES && in->fd < 0 && code == 0; i++) {
        (void)snprintf(in->name, sizeof in->name, i == 0 ? "%s" : "%s.%d", hex,
                       i);
        in->fd = open_partial(in->store, in->name, &code);
    }
    return in->fd >= 0 ? 0 : code != 0 ? code : EBUSY;
}

/* Without units, it is one. */
static kerf_err
take_file(kerf_incoming *in, const kerf_file *file)
{
    size_t count = file->unit_count > 0 ? file->unit_count : file->size > 0;
    uint64_t end = 0;

    in->file = *file;
    in->file.unit_count = count;
    in->file.unit = calloc(count + 1, sizeof *in->file.unit);
    in->end = calloc(count + 1, sizeof *in->end);
    in->had = calloc(count + 1, sizeof *in->had);
    if (in->file.unit == NULL || in->end == NULL || in->had == NULL)
        return KERF_ENOMEM;
    if (file->unit_count > 0) {
        memcpy(in->file.unit, file->unit, count * sizeof *file->unit);
    } else if (count > 0) {
        in->file.unit[0].len = (uint32_t)file->size;
        memcpy(in->file.unit[0].sha256, file->sha256, KERF_SHA256_LEN);
    }
    for (size_t i = 0; i < count; i++)
        in->end[i] = end += in->file.unit[i].len;
    return end == file->size ? kerf_sha256_new(&in->hash) : KERF_EINVAL;
}

static uint64_t
begin_of(const kerf_incoming *in, size_t i)
{
    return in->end[i] - in->file.unit[i].len;
}

/* The same bytes, from another file or where they are. */
static bool
is_unit(const kerf_incoming *in, size_t i, int from, uint8_t *step)
{
    uint8_t sum[KERF_SHA256_LEN];
    uint64_t begin = begin_of(in, i);
    bool ok = kerf_store_hash(in->hash, from, begin, in->file.unit[i].len,
                              from == in->fd ? -1 : in->fd, begin, step);

    kerf_sha256_end(in->hash, sum);
    return ok && memcmp(sum, in->file.unit[i].sha256, sizeof sum) == 0;
}

/* What came earlier. Where nothing was written there is nothing to read. */
static void
resume(kerf_incoming *in, uint64_t size, uint8_t *step)
{
    for (size_t i = 0; i < in->file.unit_count; i++) {
        off_t data = lseek(in->fd, (off_t)begin_of(in, i), SEEK_DATA);

        if (data < 0 && errno == ENXIO)
            return;
        if (in->end[i] > size || (data >= 0 && (uint64_t)data >= in->end[i]))
            continue;
        in->had[i] = is_unit(in, i, in->fd, step);
        in->count.resumed += in->had[i] ? in->file.unit[i].len : 0;
    }
}

/* What is right of a whole file of that name that is damaged. */
static void
reuse_damaged(kerf_incoming *in, uint8_t *step)
{
    char name[KERF_STORE_NAME];
    uint64_t size = 0;
    int fd;

    kerf_store_part_name(name, &in->file);
    fd = kerf_store_open_file(in->store, KERF_STORE_PARTS, name, &size);
    if (fd < 0)
        return;
    for (size_t i = 0; i < in->file.unit_count; i++) {
        if (in->had[i] || in->end[i] > size)
            continue;
        in->had[i] = is_unit(in, i, fd, step);
        in->count.reused += in->had[i] ? in->file.unit[i].len : 0;
    }
    (void)close(fd);
}

static void
reuse(kerf_incoming *in, uint8_t *step)
{
    kerf_seeds seeds = {0};

    kerf_seeds_open(&seeds, in->store, &in->file);
    for (size_t i = 0; i < in->file.unit_count; i++) {
        const kerf_unit *u = &in->file.unit[i];

        if (in->had[i])
            continue;
        in->had[i] =
            kerf_seeds_copy(&seeds, u, in->fd, begin_of(in, i), in->hash, step);
        in->count.reused += in->had[i] ? u->len : 0;
    }
    kerf_seeds_close(&seeds);
}

static kerf_err
fill(kerf_incoming *in, uint64_t size)
{
    uint8_t *step = malloc(KERF_STORE_STEP);

    if (step == NULL)
        return KERF_ENOMEM;
    if (size > 0)
        resume(in, size, step);
    skip_had(in);
    if (in->at < in->file.size)
        reuse_damaged(in, step);
    skip_had(in);
    if (in->at < in->file.size)
        reuse(in, step);
    free(step);
    in->at = 0;
    skip_had(in);
    return KERF_OK;
}

static kerf_err
open_file(kerf_incoming *in, kerf_detail *why)
{
    struct stat st;
    int code = find_partial(in);
    uint64_t had = 0;

    if (code == 0) {
        had = fstat(in->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
        if (had > in->file.size && ftruncate(in->fd, (off_t)in->file.size) != 0)
            code = errno;
    }
    if (code == 0)
        code = reserve(in, had);
    if (code != 0)
        return kerf_store_fail(in->store, in->file.name, code, why);
    return fill(in, had);
}

static kerf_err
new_incoming(kerf_incoming **out, kerf_store *store, const kerf_file *file,
             kerf_detail *why)
{
    kerf_incoming *in;
    kerf_err err;

    if (!kerf_text_is_name(file->name) || file->size > KERF_MODEL_BYTES_MAX)
        return kerf_fail(why, KERF_EINVAL, "not a part's name or size");
    in = calloc(1, sizeof *in);
    if (in == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", file->name);
    in->fd = -1;
    in->store = store;
    err = take_file(in, file);
    if (err != KERF_OK) {
        kerf_incoming_abort(in);
        return kerf_fail(why, err,
                         err == KERF_ENOMEM ? "%s: no memory"
                                            : "%s: units of another file",
                         file->name);
    }
    *out = in;
    return KERF_OK;
}

kerf_err
kerf_incoming_open(kerf_incoming **out, kerf_store *store,
                   const kerf_file *file, kerf_detail *why)
{
    kerf_incoming *in = NULL;
    kerf_err err = new_incoming(&in, store, file, why);

    if (err != KERF_OK)
        return err;
    in->dir = KERF_STORE_PARTIAL;
    err = open_file(in, why);
    if (err != KERF_OK) {
        kerf_incoming_abort(in);
        return err;
    }
    *out = in;
    return KERF_OK;
}

kerf_err
kerf_incoming_open_plain(kerf_incoming **out, kerf_store *store,
                         const kerf_file *file, kerf_detail *why)
{
    kerf_incoming *in = NULL;
    kerf_file plain = *file;
    kerf_err err;
    int code;

    plain.unit = NULL;
    plain.unit_count = 0;
    err = new_incoming(&in, store, &plain, why);
    if (err != KERF_OK)
        return err;
    in->dir = KERF_STORE_ROOT;
    in->fd = kerf_store_temp(store, KERF_STORE_ROOT, in->name);
    code = in->fd < 0 ? errno : reserve(in, 0);
    if (code != 0) {
        kerf_incoming_abort(in);
        return kerf_store_fail(store, file->name, code, why);
    }
    *out = in;
    return KERF_OK;
}

/* As written: after an error both still agree. What was there already is
 * hashed too, where it runs behind; else at the end. */
static void
hash_written(kerf_incoming *in, uint64_t offset, const void *data, size_t len)
{
    if (in->behind == NULL && in->file.size - in->hashed >= BEHIND_LEAST)
        in->behind = kerf_behind_start(in->hash, in->fd, in->hashed);
    if (in->behind != NULL) {
        kerf_behind_tell(in->behind, in->at);
    } else if (in->hashed == offset) {
        kerf_sha256_add(in->hash, data, len);
        in->hashed += len;
    }
}

kerf_err
kerf_incoming_write_at(kerf_incoming *in, uint64_t offset, const void *data,
                       size_t len, kerf_detail *why)
{
    uint64_t first, run;
    size_t done = 0;
    int code;

    kerf_incoming_missing(in, in->at, &first, &run);
    if (offset != first || len > run) {
        bool beyond = offset <= in->file.size && len > in->file.size - offset;

        return kerf_fail(why, beyond ? KERF_ETOOBIG : KERF_EPROTO,
                         beyond ? "%s: more than the %llu bytes of the manifest"
                                : "%s: bytes that are not missing, byte %llu",
                         in->file.name,
                         (unsigned long long)(beyond ? in->file.size : offset));
    }
    code = kerf_store_write_at(in->fd, offset, data, len, &done);
    in->count.received += done;
    in->at += done;
    skip_had(in);
    hash_written(in, offset, data, done);
    return code == 0 ? KERF_OK
                     : kerf_store_fail(in->store, in->file.name, code, why);
}

bool
kerf_incoming_recall(void *incoming, uint64_t offset, uint8_t *to, size_t len)
{
    const kerf_incoming *in = incoming;

    if (offset > in->at || len > in->at - offset)
        return false;
    return kerf_fs_read_at(in->fd, offset, to, len);
}

kerf_incoming_counts
kerf_incoming_count(const kerf_incoming *in)
{
    return in->count;
}

uint64_t
kerf_incoming_got(const kerf_incoming *in)
{
    return in->count.reused + in->count.resumed + in->count.received;
}

static void
stop_behind(kerf_incoming *in, bool all)
{
    if (in->behind != NULL)
        in->hashed = kerf_behind_stop(in->behind, all);
    in->behind = NULL;
}

void
kerf_incoming_abort(kerf_incoming *in)
{
    if (in == NULL)
        return;
    stop_behind(in, false);
    if (in->fd >= 0 && in->name[0] != '\0' &&
        (in->is_bad || in->dir == KERF_STORE_ROOT ||
         kerf_incoming_got(in) == 0))
        (void)unlinkat(in->store->dir[in->dir], in->name, 0);
    if (in->fd >= 0)
        (void)close(in->fd); /* last: the lock keeps others away till then */
    kerf_sha256_free(in->hash);
    free(in->file.unit);
    free(in->end);
    free(in->had);
    free(in);
}

static kerf_err
check_size(const kerf_incoming *in, kerf_detail *why)
{
    if (kerf_incoming_got(in) == in->file.size)
        return KERF_OK;
    return kerf_fail(why, KERF_ECORRUPT,
                     "%s: %llu bytes came, the manifest says %llu",
                     in->file.name, (unsigned long long)kerf_incoming_got(in),
                     (unsigned long long)in->file.size);
}

static kerf_err
hash_rest(kerf_incoming *in, uint8_t *step, kerf_detail *why)
{
    return kerf_store_hash(in->hash, in->fd, in->hashed,
                           in->file.size - in->hashed, -1, 0, step)
               ? KERF_OK
               : kerf_store_fail(in->store, in->file.name, errno, why);
}

/* Whether some unit is not what it should be: then the others stay. */
static bool
has_bad_unit(kerf_incoming *in, uint8_t *step)
{
    for (size_t i = 0; i < in->file.unit_count; i++) {
        if (!is_unit(in, i, in->fd, step))
            return in->file.unit_count > 1;
    }
    return false;
}

static kerf_err
check_whole(kerf_incoming *in, kerf_detail *why)
{
    uint8_t sum[KERF_SHA256_LEN];
    uint8_t *step = malloc(KERF_STORE_STEP);
    kerf_err err = check_size(in, why);

    stop_behind(in, err == KERF_OK);
    if (step == NULL)
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", in->file.name);
    if (err == KERF_OK)
        err = hash_rest(in, step, why);
    kerf_sha256_end(in->hash, sum);
    if (err == KERF_OK && memcmp(sum, in->file.sha256, sizeof sum) != 0) {
        in->is_bad = !has_bad_unit(in, step);
        err = kerf_fail(why, KERF_ECORRUPT,
                        "%s: its bytes are not those of the manifest "
                        "(SHA-256 differs)",
                        in->file.name);
    }
    free(step);
    return err;
}

static kerf_err
publish(kerf_incoming *in, kerf_store_dir to, const char *name,
        kerf_detail *why)
{
    int code =
        kerf_store_publish(in->store, in->fd, in->dir, in->name, to, name);

    if (code != 0)
        return kerf_store_fail(in->store, in->file.name, code, why);
    in->name[0] = '\0'; /* that name may be another's from here */
    return KERF_OK;
}

kerf_err
kerf_incoming_commit(kerf_incoming *in, kerf_detail *why)
{
    char name[KERF_STORE_NAME];
    kerf_err err;

    assert(in->dir == KERF_STORE_PARTIAL);
    err = check_whole(in, why);
    kerf_store_part_name(name, &in->file);
    if (err == KERF_OK)
        err = publish(in, KERF_STORE_PARTS, name, why);
    kerf_incoming_abort(in);
    return err;
}

kerf_err
kerf_incoming_accept(kerf_incoming *in, uint8_t sha256[KERF_SHA256_LEN],
                     kerf_detail *why)
{
    uint8_t *step = malloc(KERF_STORE_STEP);
    kerf_err err = check_size(in, why);

    assert(in->dir == KERF_STORE_ROOT);
    stop_behind(in, err == KERF_OK);
    if (step == NULL)
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", in->file.name);
    if (err == KERF_OK)
        err = hash_rest(in, step, why);
    free(step);
    if (err == KERF_OK) {
        kerf_sha256_end(in->hash, sha256);
        err = publish(in, KERF_STORE_ROOT, in->file.name, why);
    }
    kerf_incoming_abort(in);
    return err;
}
