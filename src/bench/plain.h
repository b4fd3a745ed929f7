/*
 * plain.h - blocking sockets and the bytes, nothing else: the floor that others
 * are measured against. Threads: any, each socket one.
 */
#ifndef KERF_BENCH_PLAIN_H
#define KERF_BENCH_PLAIN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it; false: the connection is over. */
bool kerf_plain_send(int fd, const uint8_t *data, size_t len);
bool kerf_plain_recv(int fd, uint8_t *data, size_t len);
/* On a port of loopback that is free, told in *at; false: errno. */
bool kerf_plain_listen(int listener, struct sockaddr_in *at);
/* No delay, and CUBIC, as net/socket.c has within a machine: a floor has what
 * helps. Before it listens or connects; those that it accepts have the same. */
void kerf_plain_tune(int fd);

#endif
