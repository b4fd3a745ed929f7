/*
 * One file coming in, from its first byte to its place in the store. What comes
 * is hashed on its way, and is believed when all of it has the right hash.
 */
#include "model/store_incoming_own.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of what was there before: at once no more, so that nobody waits for it long
 * who wants to stop. Who hashes looks in between: edge/fetch_writer.c. */
#define CATCH_UP ((uint64_t)16 << 20)

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
    kerf_incoming_skip(in);
    return code == 0 ? KERF_OK
                     : kerf_store_fail(in->store, in->file.name, code, why);
}

/* Reads them from the file, which has them. False: it cannot, see errno. */
static bool
hash_up_to(kerf_incoming *in, uint64_t at)
{
    while (in->hashed < at) {
        uint64_t left = at - in->hashed;
        uint64_t some = left < KERF_STORE_STEP ? left : KERF_STORE_STEP;

        if (in->step == NULL)
            in->step = malloc(KERF_STORE_STEP);
        if (in->step == NULL || !kerf_store_hash(in->hash, in->fd, in->hashed,
                                                 some, -1, 0, in->step))
            return false;
        in->hashed += some;
    }
    return true;
}

/* What cannot be read is left to the commit, which says why. */
void
kerf_incoming_hash(kerf_incoming *in, uint64_t offset, const void *data,
                   size_t len)
{
    uint64_t soon = in->hashed + CATCH_UP;
    uint64_t to = data != NULL ? offset : offset + len;

    if (in->at < offset + len)
        return;
    (void)hash_up_to(in, to < soon ? to : soon);
    if (data == NULL || in->hashed != offset)
        return;
    kerf_sha256_add(in->hash, data, len);
    in->hashed += len;
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

void
kerf_incoming_abort(kerf_incoming *in)
{
    if (in == NULL)
        return;
    if (in->fd >= 0 && in->name[0] != '\0' &&
        (in->is_bad || in->dir == KERF_STORE_ROOT ||
         kerf_incoming_got(in) == 0))
        (void)unlinkat(in->store->dir[in->dir], in->name, 0);
    if (in->fd >= 0)
        (void)close(in->fd); /* last: the lock keeps others away till then */
    kerf_sha256_free(in->hash);
    free(in->step);
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
hash_rest(kerf_incoming *in, kerf_detail *why)
{
    return hash_up_to(in, in->file.size)
               ? KERF_OK
               : kerf_store_fail(in->store, in->file.name, errno, why);
}

/* Whether some unit is not what it should be: then the others stay. */
static bool
has_bad_unit(kerf_incoming *in)
{
    if (in->step == NULL)
        in->step = malloc(KERF_STORE_STEP);
    if (in->step == NULL)
        return true; /* maybe: they are looked at when it comes in again */
    for (size_t i = 0; i < in->file.unit_count; i++) {
        if (!kerf_incoming_is_unit(in, i, in->fd, in->step))
            return in->file.unit_count > 1;
    }
    return false;
}

static kerf_err
check_whole(kerf_incoming *in, kerf_detail *why)
{
    uint8_t sum[KERF_SHA256_LEN];
    kerf_err err = check_size(in, why);

    if (err == KERF_OK)
        err = hash_rest(in, why);
    kerf_sha256_end(in->hash, sum);
    if (err == KERF_OK && memcmp(sum, in->file.sha256, sizeof sum) != 0) {
        in->is_bad = !has_bad_unit(in);
        err = kerf_fail(why, KERF_ECORRUPT,
                        "%s: its bytes are not those of the manifest "
                        "(SHA-256 differs)",
                        in->file.name);
    }
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
    kerf_err err = check_size(in, why);

    assert(in->dir == KERF_STORE_ROOT);
    if (err == KERF_OK)
        err = hash_rest(in, why);
    if (err == KERF_OK) {
        kerf_sha256_end(in->hash, sha256);
        err = publish(in, KERF_STORE_ROOT, in->file.name, why);
    }
    kerf_incoming_abort(in);
    return err;
}
