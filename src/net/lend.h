/*
 * lend.h - sends memory to a socket without copying it: the kernel is given the
 * pages (vmsplice(2)), which go through a pipe to the socket (splice(2)) and
 * are read where they are by the network card, or by the receiver within a
 * machine. Linux 2.6.17; where the system does not let us, the caller copies.
 *
 * Who lends may not write to the memory before the peer has read it, which
 * nothing tells but an answer: not the end of the connection either, after
 * which the kernel goes on sending, and a receiver on this machine reading. If
 * no answer came it is taken back before it is written to, or freed.
 *
 * Threads: one at a time; kerf_lend_take_back() any.
 */
#ifndef KERF_NET_LEND_H
#define KERF_NET_LEND_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define KERF_LEND_LEAST ((size_t)64 << 10) /* bytes: less is copied sooner */

typedef struct kerf_lend kerf_lend;

/* NULL: it cannot be done here. */
kerf_lend *kerf_lend_new(void);
void kerf_lend_free(kerf_lend *lend); /* accepts NULL */
/*
 * Sends what iov has, fd a socket that does not block. *put: bytes that the
 * socket took; go on behind these. What it has not taken may be on its way in
 * the pipe: nothing else may be sent before it. more: the frame goes on behind
 * iov. Errors: KERF_EAGAIN the socket is full, KERF_ECLOSED, KERF_ENOTSUP from
 * now on: copy.
 */
KERF_NODISCARD kerf_err kerf_lend_send(kerf_lend *lend, int fd,
                                       const struct iovec *iov, size_t count,
                                       bool more, size_t *put);
/*
 * Gives memory other pages, with the same content: what was lent stays as it
 * was, and belongs to the kernel alone. data begins a page, and the rest of the
 * last page is nobody else's (kerf_large_alloc()): it is zero then. Errors:
 * KERF_ENOMEM, KERF_EINVAL (it does not begin one).
 */
KERF_NODISCARD kerf_err kerf_lend_take_back(void *data, size_t bytes);

#endif
