/*
 * socket_own.h - what socket.c and dial.c share. Threads: the loop's.
 */
#ifndef KERF_NET_SOCKET_OWN_H
#define KERF_NET_SOCKET_OWN_H

#include <stdbool.h>
#include <uv.h>

/* Options of every connection. */
void kerf_socket_tune(int fd);
/* Both ends have the same address: what is sent never leaves this machine. */
bool kerf_socket_is_local(int fd);
/* For uv_close(): handle->data is its memory. */
void kerf_handle_free_data(uv_handle_t *handle);

#endif
