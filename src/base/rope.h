/*
 * rope.h - a file that is being put together from pieces: small ones that are
 * copied, big ones that stay where they are (a mapped file) until they are
 * written.
 * Threads: one owner.
 */
#ifndef KERF_BASE_ROPE_H
#define KERF_BASE_ROPE_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kerf_rope_piece {
    const uint8_t *at;
    size_t len;
    bool owned;
} kerf_rope_piece;

/* Zeroed: empty. */
typedef struct kerf_rope {
    kerf_rope_piece *piece;
    size_t count, room;
    size_t len;     /* bytes of all pieces */
    bool bad;       /* sticky: out of memory; what was put since is lost */
    uint8_t *spare; /* where the next small copy goes, in some piece's memory */
    size_t spare_len;
} kerf_rope;

void kerf_rope_fini(kerf_rope *rope); /* accepts a zeroed one; zeroes it */

/* These return nothing: look at rope->bad, or at what the last step says. */
/* A view: data stays where it is, and must outlive the rope. Neighbours in
 * memory become one piece. */
void kerf_rope_view(kerf_rope *rope, const void *data, size_t len);
void kerf_rope_copy(kerf_rope *rope, const void *data, size_t len);
/* Takes what malloc() gave, in every case. */
void kerf_rope_take(kerf_rope *rope, uint8_t *data, size_t len);
/* Moves all pieces of more to the end of rope; more is empty then. */
void kerf_rope_move(kerf_rope *rope, kerf_rope *more);

/* All bytes in new memory -> free(); a 0 byte follows them.
 * Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_rope_flatten(const kerf_rope *rope, uint8_t **out);
/* All bytes in one place, as *data: where they are already when the rope is one
 * piece, else as kerf_rope_flatten() with *own = *data -> free(). An empty rope
 * gives NULL. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_rope_gather(const kerf_rope *rope,
                                         const uint8_t **data, uint8_t **own);
/* Writes all bytes to fd. Errors: KERF_ENOMEM (rope->bad), KERF_ENOSPC,
 * KERF_EIO; errno has the reason of the last two. */
KERF_NODISCARD kerf_err kerf_rope_write(const kerf_rope *rope, int fd);

#endif
