/*
 * One file that is to come in, opened. Which units are there is asked of the
 * bytes themselves, when it is opened: nothing that is written beside them
 * could be believed after a crash. From then on it is what was there, and all
 * before `at`.
 */
#include "model/store_incoming_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { PARTIAL_NAMES = 10 }; /* HEX, HEX.1 ...: other processes have some */

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

void
kerf_incoming_skip(kerf_incoming *in)
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

bool
kerf_incoming_is_unit(const kerf_incoming *in, size_t i, int from,
                      uint8_t *step)
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
        in->had[i] = kerf_incoming_is_unit(in, i, in->fd, step);
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
        in->had[i] = kerf_incoming_is_unit(in, i, fd, step);
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
    kerf_incoming_skip(in);
    if (in->at < in->file.size)
        reuse_damaged(in, step);
    kerf_incoming_skip(in);
    if (in->at < in->file.size)
        reuse(in, step);
    free(step);
    in->at = 0;
    kerf_incoming_skip(in);
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
