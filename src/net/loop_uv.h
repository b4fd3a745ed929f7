/*
 * loop_uv.h - the uv_loop_t behind a kerf_loop, and turns of what it has found;
 * for files of net/ only.
 */
#ifndef KERF_NET_LOOP_UV_H
#define KERF_NET_LOOP_UV_H

#include "net/loop.h"

#include <uv.h>

uv_loop_t *kerf_loop_uv(kerf_loop *loop);

/* What a poll has found something for. Its turn comes when all is known that
 * this poll has found, or enough of it: so each can ask for its memory while
 * another one has its turn. Valid until the close callback of its handle, also
 * when that is closed meanwhile. */
typedef struct kerf_found {
    kerf_loop_fn *warm, *serve;
    void *ctx;
    bool waits;              /* private */
    struct kerf_found *next; /* private */
} kerf_found;

/* From the callback of a poll. One that waits already has one turn. */
void kerf_loop_found(kerf_loop *loop, kerf_found *found);
/* Those that wait have their turn now: before what shall not overtake them.
 * From the callback of a poll, which they may close. */
void kerf_loop_serve_found(kerf_loop *loop);

#endif
