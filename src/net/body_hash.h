/*
 * body_hash.h - the hash of a frame's body, as its bytes come: while the caches
 * still have them, and while the peer sends on. proto/frame.h
 * says what it is of.
 * Threads: one at a time.
 */
#ifndef KERF_NET_BODY_HASH_H
#define KERF_NET_BODY_HASH_H

#include "base/hash.h"
#include "kerf/err.h"

#include <stdbool.h>

#define KERF_HASH_STEP ((size_t)256 << 10) /* bytes that caches keep */

typedef struct kerf_body_hasher {
    kerf_xxh3_state *state; /* owned; made for the first piece in parts */
    uint64_t hash;          /* of what was before the piece */
    uint64_t start;         /* where the piece is in the payload */
    size_t piece, done;     /* which, and how many bytes of it are added */
} kerf_body_hasher;

void kerf_body_begin(kerf_body_hasher *b, const uint8_t *meta, size_t len);
/* The payload is there up to this byte; what was added before is not looked at
 * again. */
void kerf_body_add(kerf_body_hasher *b, const void *const *piece,
                   const size_t *len, size_t count, uint64_t up_to);
/* The same for bytes that are not kept: data[0..n) is the payload from byte
 * `from` on. False: no memory. */
KERF_NODISCARD bool kerf_body_pass(kerf_body_hasher *b, const uint8_t *data,
                                   uint64_t from, size_t n, const size_t *len,
                                   size_t count);
/* After all of the payload was added. */
uint64_t kerf_body_end(const kerf_body_hasher *b);
void kerf_body_fini(kerf_body_hasher *b);

#endif
