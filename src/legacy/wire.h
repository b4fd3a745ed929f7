/*
 * wire.h - messages of the legacy wire through a non-blocking socket, and
 * keeping a connection to a peer that comes and goes.
 * Threads: the loop's.
 */
#ifndef KERF_LEGACY_WIRE_H
#define KERF_LEGACY_WIRE_H

#include "net/fd_watch.h"
#include "proto/legacy.h"

#define KERF_LEGACY_RETRY_MS 2000 /* the reference's pace */
#define KERF_LEGACY_STALL_MS 30000

/* KERF_OK: 1 to cap bytes came. KERF_EAGAIN: none now. KERF_ECLOSED: the end,
 * or a broken connection. */
KERF_NODISCARD kerf_err kerf_legacy_recv(int fd, void *data, size_t cap,
                                         size_t *got, kerf_detail *why);
/* Reads and drops what came, at most a few KB. Errors: as recv. */
KERF_NODISCARD kerf_err kerf_legacy_drop(int fd, kerf_detail *why);
/* Reads until the header is whole (KERF_OK), never into the payload. Errors: as
 * recv, and those of kerf_legacy_feed(). */
KERF_NODISCARD kerf_err kerf_legacy_read_head(int fd, kerf_legacy_reader *r,
                                              kerf_legacy_message *m,
                                              kerf_detail *why);

/* A message on its way out; head and data are borrowed. */
typedef struct kerf_legacy_send {
    uint8_t head[KERF_LEGACY_PUT_MAX];
    size_t head_len;
    const void *data;
    size_t len; /* of data */
    size_t at;  /* bytes that the kernel has taken, of both */
} kerf_legacy_send;

/* KERF_OK: all of it is in the kernel. KERF_EAGAIN, KERF_ECLOSED. */
KERF_NODISCARD kerf_err kerf_legacy_send_some(int fd, kerf_legacy_send *s,
                                              kerf_detail *why);

/* Dials until it succeeds, then again when told so; waits in between. */
typedef struct kerf_legacy_dialler {
    kerf_loop *loop;
    const char *host;
    int port;
    uint64_t retry_ms;
    void (*up)(void *ctx, int fd);            /* fd is the callee's */
    void (*down)(void *ctx, const char *why); /* an attempt failed */
    void *ctx;
    kerf_timer *retry; /* private */
    kerf_dial *dial;   /* private */
} kerf_legacy_dialler;

/* The fields above retry are set. Dials as soon as the loop runs. */
KERF_NODISCARD kerf_err kerf_legacy_dialler_start(kerf_legacy_dialler *d);
/* The connection is gone: dials after retry_ms. */
void kerf_legacy_dialler_again(kerf_legacy_dialler *d);
void
kerf_legacy_dialler_stop(kerf_legacy_dialler *d); /* accepts a zeroed one */

#endif
