/*
 * socket_own.h - what socket.c and dial.c share. Threads: the loop's.
 */
#ifndef KERF_NET_SOCKET_OWN_H
#define KERF_NET_SOCKET_OWN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <uv.h>

/* Options of every connection. unpaced: it was begun with kerf_socket_unpace(),
 * and may leave this machine. */
void kerf_socket_tune(int fd, bool unpaced);
/*
 * Where the system's congestion control is one that paces (BBR), it does so
 * within a machine too, for nothing: 4 MB then take twice as long, at half as
 * much CPU again (docs/BENCHMARKS.md). CUBIC instead, or Reno, for a socket
 * that is not connected yet: one that has begun to pace goes on with it. (So
 * does who dials an own address that is not loopback.) Over networks the choice
 * is the system's.
 */
void kerf_socket_unpace(int fd);
bool kerf_address_is_loopback(const struct sockaddr *any);
/* Both ends have the same address: what is sent never leaves this machine. */
bool kerf_socket_is_local(int fd);
/* For uv_close(): handle->data is its memory. */
void kerf_handle_free_data(uv_handle_t *handle);

#endif
