#include "net/body_hash.h"

#include "base/bytes.h"
#include "proto/frame.h"

void
kerf_body_begin(kerf_body_hasher *b, const uint8_t *meta, size_t len)
{
    b->hash = kerf_body_hash(0, meta, len);
    b->start = 0;
    b->piece = b->done = 0;
}

/* Adds the piece up to byte `there`; false: it is not whole yet. */
static bool
add_piece(kerf_body_hasher *b, const uint8_t *piece, size_t len, size_t there)
{
    if (b->done == 0 && there == len) { /* at once */
        b->hash = kerf_body_hash(b->hash, piece, len);
        return true;
    }
    if (b->state == NULL)
        b->state = kerf_xxh3_new();
    if (b->state == NULL) /* no memory: at once, when it is whole */
        return false;
    if (b->done == 0)
        kerf_xxh3_begin(b->state, b->hash);
    kerf_xxh3_add(b->state, piece + b->done, there - b->done);
    b->done = there;
    if (there < len)
        return false;
    b->hash = kerf_xxh3_end(b->state);
    return true;
}

void
kerf_body_add(kerf_body_hasher *b, const void *const *piece, const size_t *len,
              size_t count, uint64_t up_to)
{
    for (; b->piece < count; b->piece++) {
        size_t n = len[b->piece];
        uint64_t past = up_to > b->start ? up_to - b->start : 0;
        size_t there = past < n ? (size_t)past : n;

        if (n > 0 &&
            (there <= b->done || !add_piece(b, piece[b->piece], n, there)))
            return;
        b->start += kerf_align_up(n, KERF_PIECE_ALIGN);
        b->done = 0;
    }
}

bool
kerf_body_pass(kerf_body_hasher *b, const uint8_t *data, uint64_t from,
               size_t n, const size_t *len, size_t count)
{
    if (b->state == NULL)
        b->state = kerf_xxh3_new();
    if (b->state == NULL)
        return false;
    for (; b->piece < count; b->piece++) {
        uint64_t end = b->start + len[b->piece];
        uint64_t at = b->start + b->done;
        uint64_t to = end < from + n ? end : from + n;

        if (len[b->piece] > 0) {
            if (at >= to)
                return true;
            if (b->done == 0)
                kerf_xxh3_begin(b->state, b->hash);
            kerf_xxh3_add(b->state, data + (at - from), (size_t)(to - at));
            b->done = (size_t)(to - b->start);
            if (to < end)
                return true;
            b->hash = kerf_xxh3_end(b->state);
        }
        b->start += kerf_align_up(len[b->piece], KERF_PIECE_ALIGN);
        b->done = 0;
    }
    return true;
}

uint64_t
kerf_body_end(const kerf_body_hasher *b)
{
    return b->hash;
}

void
kerf_body_fini(kerf_body_hasher *b)
{
    kerf_xxh3_free(b->state);
    b->state = NULL;
}
