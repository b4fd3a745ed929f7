/*
 * fetch_writer.h (internal) - a thread that unpacks what comes of a model and
 * writes it, and one behind it that hashes what was written, where it lies in
 * memory, and in the end checks and publishes each file. So the loop, which has
 * tensors to look after, only hands over what it has read.
 *
 * What was given is done in order: a packed block may refer to any byte before
 * it. It is bounded by what the loop asks the cloud for, and by a number of
 * chunks, beyond which the loop stops reading.
 * Threads: all functions are for the loop's (and after it has ended, for
 * whoever closes the edge).
 */
#ifndef KERF_EDGE_FETCH_WRITER_H
#define KERF_EDGE_FETCH_WRITER_H

#include "model/store.h"
#include "net/loop.h"

typedef struct kerf_writer kerf_writer;

/* Something to be done, and what came of it. */
typedef struct kerf_chunk {
    kerf_incoming *in;
    size_t part;  /* index of its file */
    bool commit;  /* not bytes: all have come; in is gone when it is done */
    kerf_range m; /* of the bytes */
    /* The answer. */
    bool written; /* all of them just now, as they are in data */
    bool damaged; /* it did not unpack: zeros stand for it; why says so */
    uint64_t got; /* bytes of the file that are there */
    kerf_err err;
    kerf_detail why;
    uint8_t data[];
} kerf_chunk;

/* done: a callback on the loop, after one chunk or several. */
KERF_NODISCARD kerf_err kerf_writer_new(kerf_writer **out, kerf_loop *loop,
                                        kerf_loop_fn *done, void *ctx);
bool kerf_writer_start(kerf_writer *w);
/* Does what it was given, but hashes nothing that no commit asks for; then its
 * threads have ended. False: they have not within this time, and are to be left
 * as they are. Accepts NULL. */
bool kerf_writer_stop(kerf_writer *w, uint64_t within_ms);
void kerf_writer_free(kerf_writer *w); /* stopped; accepts NULL */

/* One with room for len bytes -> kerf_writer_give() or _recycle(). NULL: no
 * memory. */
kerf_chunk *kerf_writer_chunk(kerf_writer *w, size_t len);
void kerf_writer_recycle(kerf_writer *w, kerf_chunk *chunk); /* accepts NULL */
/* No more than commits may be given before some come back. */
bool kerf_writer_is_full(const kerf_writer *w);
/* False: it has stopped, and the chunk is still the caller's. */
bool kerf_writer_give(kerf_writer *w, kerf_chunk *chunk);
/* One that is done -> kerf_writer_recycle(); NULL: none just now. */
kerf_chunk *kerf_writer_take(kerf_writer *w);
/* Given and not taken back. */
size_t kerf_writer_count(const kerf_writer *w);
uint64_t kerf_writer_bytes(const kerf_writer *w); /* likewise; as in the file */
/* What waits is of no use: it is not written, until it is turned off again. */
void kerf_writer_skip(kerf_writer *w, bool on);
/* Somebody waits for it to be done: what is written is not hashed, until it is
 * turned off again. A commit hashes all that is left. */
void kerf_writer_no_hash(kerf_writer *w, bool on);
/* Frees memory that is kept for what comes next, as soon as all of it is back.
 */
void kerf_writer_trim(kerf_writer *w);

#endif
