/*
 * local.h - sockets between processes of one user on one machine: a path in the
 * file system that only this user may open, and peers whose user is checked.
 * Threads: any; plain file descriptors, blocking unless said.
 */
#ifndef KERF_NET_LOCAL_H
#define KERF_NET_LOCAL_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>

#define KERF_LOCAL_PATH 108 /* sockaddr_un's room, with the end */

/* The folder for sockets of this user: $XDG_RUNTIME_DIR, /run/user/UID or
 * /tmp, and how the names of clouds' sockets begin there. */
typedef struct kerf_local_place {
    char dir[KERF_LOCAL_PATH];
    char prefix[32]; /* "kerf-cloud-"; in /tmp with the user's number */
} kerf_local_place;

void kerf_local_place_of(kerf_local_place *place);
/* The socket of a cloud on this port of host, which stands in its name unless
 * it is KERF_LOCAL_HOST, or NULL. Errors: KERF_ETOOBIG. */
#define KERF_LOCAL_HOST "127.0.0.1"
KERF_NODISCARD kerf_err kerf_local_path(char out[KERF_LOCAL_PATH],
                                        const char *host, int port,
                                        kerf_detail *why);

/* Listens on path, mode 0600, not blocking. A socket there that nobody listens
 * on any more is replaced. Errors: KERF_EADDRINUSE (somebody does),
 * KERF_EINVAL (no socket), KERF_ETOOBIG (the path), KERF_EIO. */
KERF_NODISCARD kerf_err kerf_local_listen(int *fd, const char *path,
                                          kerf_detail *why);
/* Removes this user's socket there if nobody listens on it, nor was about to
 * in the last seconds. */
void kerf_local_clear(const char *path);
/* Waits a second at most. Errors: KERF_ENOENT (nobody listens there),
 * KERF_EDEADLINE (whoever does, does not take it), KERF_EIO, KERF_ETOOBIG,
 * KERF_EINVAL (another user's: neither ours nor root's; root may ask all that
 * are not in a folder that anybody may write to). */
KERF_NODISCARD kerf_err kerf_local_connect(int *fd, const char *path,
                                           kerf_detail *why);
/* Is the other side of this user, or root's? */
bool kerf_local_is_trusted(int fd);

#endif
