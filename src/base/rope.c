#include "base/rope.h"

#include "base/bytes.h"
#include "base/fs.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* Of one writev(): IOV_MAX is 1024; and a signal waits until it returns, which
 * takes its time when the disk is slow. */
#define WRITE_PIECES 256
#define WRITE_BYTES ((size_t)8 << 20)
/* Small copies share memory: more of it the longer the rope is. */
#define CHUNK_MIN ((size_t)256)
#define CHUNK_MAX ((size_t)65536)

void
kerf_rope_fini(kerf_rope *rope)
{
    for (size_t i = 0; i < rope->count; i++) {
        union { /* owned: it was ours before it was const */
            const uint8_t *in;
            uint8_t *out;
        } at = {.in = rope->piece[i].at};

        if (rope->piece[i].owned)
            free(at.out);
    }
    free(rope->piece);
    *rope = (kerf_rope){0};
}

/* Whether the rope could take it. */
static bool
add_piece(kerf_rope *rope, const uint8_t *at, size_t len, bool owned)
{
    if (rope->count == rope->room) {
        size_t room = rope->room == 0 ? 16 : 2 * rope->room;
        kerf_rope_piece *bigger =
            room > SIZE_MAX / sizeof *bigger
                ? NULL
                : realloc(rope->piece, room * sizeof *bigger);

        if (bigger == NULL) {
            rope->bad = true;
            return false;
        }
        rope->piece = bigger;
        rope->room = room;
    }
    if (!kerf_size_add(rope->len, len, &rope->len)) {
        rope->bad = true;
        return false;
    }
    rope->piece[rope->count++] =
        (kerf_rope_piece){.at = at, .len = len, .owned = owned};
    return true;
}

void
kerf_rope_view(kerf_rope *rope, const void *data, size_t len)
{
    kerf_rope_piece *last =
        rope->count == 0 ? NULL : &rope->piece[rope->count - 1];

    if (len == 0 || rope->bad)
        return;
    if (last != NULL && last->at + last->len == data &&
        kerf_size_add(rope->len, len, &rope->len)) {
        last->len += len;
        return;
    }
    (void)add_piece(rope, data, len, false);
}

void
kerf_rope_copy(kerf_rope *rope, const void *data, size_t len)
{
    size_t room = rope->len < CHUNK_MIN   ? CHUNK_MIN
                  : rope->len > CHUNK_MAX ? CHUNK_MAX
                                          : rope->len;
    uint8_t *chunk;

    if (len == 0 || rope->bad)
        return;
    if (len <= rope->spare_len) {
        memcpy(rope->spare, data, len);
        rope->spare += len;
        rope->spare_len -= len;
        kerf_rope_view(rope, rope->spare - len, len);
        return;
    }
    if (room < len)
        room = len;
    chunk = malloc(room);
    if (chunk == NULL) {
        rope->bad = true;
        return;
    }
    memcpy(chunk, data, len);
    if (!add_piece(rope, chunk, len, true)) {
        free(chunk);
        return;
    }
    if (room - len > rope->spare_len) {
        rope->spare = chunk + len;
        rope->spare_len = room - len;
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the piece owns it */
}

void
kerf_rope_take(kerf_rope *rope, uint8_t *data, size_t len)
{
    if (rope->bad || len == 0 || !add_piece(rope, data, len, true))
        free(data);
}

void
kerf_rope_move(kerf_rope *rope, kerf_rope *more)
{
    bool bad = rope->bad || more->bad;

    for (size_t i = 0; i < more->count && !bad; i++) {
        kerf_rope_piece *p = &more->piece[i];

        if (!p->owned) {
            kerf_rope_view(rope, p->at, p->len);
            bad = rope->bad;
        } else {
            bad = !add_piece(rope, p->at, p->len, true);
            p->owned = bad; /* who frees it */
        }
    }
    rope->bad = bad;
    kerf_rope_fini(more);
}

kerf_err
kerf_rope_flatten(const kerf_rope *rope, uint8_t **out)
{
    uint8_t *all =
        rope->bad || rope->len == SIZE_MAX ? NULL : malloc(rope->len + 1);
    size_t at = 0;

    if (all == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < rope->count; i++) {
        memcpy(all + at, rope->piece[i].at, rope->piece[i].len);
        at += rope->piece[i].len;
    }
    all[at] = 0;
    *out = all;
    return KERF_OK;
}

kerf_err
kerf_rope_gather(const kerf_rope *rope, const uint8_t **data, uint8_t **own)
{
    kerf_err err = KERF_OK;

    *own = NULL;
    if (rope->bad)
        return KERF_ENOMEM;
    if (rope->count > 1)
        err = kerf_rope_flatten(rope, own);
    *data = rope->count == 1 ? rope->piece[0].at : *own;
    return err;
}

kerf_err
kerf_rope_write(const kerf_rope *rope, int fd)
{
    size_t piece = 0;
    size_t done = 0; /* bytes of that piece */

    if (rope->bad)
        return KERF_ENOMEM;
    while (piece < rope->count) {
        struct iovec iov[WRITE_PIECES];
        int count = 0;
        size_t skip = done;
        size_t room = WRITE_BYTES;
        ssize_t n;

        for (size_t i = piece;
             i < rope->count && count < WRITE_PIECES && room > 0; i++) {
            size_t len = rope->piece[i].len - skip;
            union { /* writev() only reads */
                const uint8_t *in;
                void *out;
            } at = {.in = rope->piece[i].at + skip};

            len = len < room ? len : room;
            iov[count++] = (struct iovec){.iov_base = at.out, .iov_len = len};
            room -= len;
            skip = 0;
        }
        n = writev(fd, iov, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kerf_err_from_errno(errno);
        done += (size_t)n;
        while (piece < rope->count && done >= rope->piece[piece].len)
            done -= rope->piece[piece++].len;
    }
    return KERF_OK;
}
