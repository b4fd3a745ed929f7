/*
 * fd_watch.h - be told when a socket can be read or written; for wires other
 * than frames (conn.h). Threads: the loop's.
 */
#ifndef KERF_NET_FD_WATCH_H
#define KERF_NET_FD_WATCH_H

#include "net/loop.h"

typedef struct kerf_fd_watch kerf_fd_watch;
/* A broken connection is readable: the read says how it broke. */
typedef void kerf_fd_fn(void *ctx, bool readable, bool writable);

/* Watches nothing yet. fd stays the caller's and outlives the watch. */
KERF_NODISCARD kerf_err kerf_fd_watch_new(kerf_fd_watch **out, kerf_loop *loop,
                                          int fd, kerf_fd_fn *fn, void *ctx);
/* As long as it holds, fn is called again and again. */
void kerf_fd_watch_set(kerf_fd_watch *watch, bool readable, bool writable);
/* Also from fn. Accepts NULL. */
void kerf_fd_watch_free(kerf_fd_watch *watch);

#endif
