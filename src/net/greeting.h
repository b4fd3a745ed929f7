/*
 * greeting.h - what a peer may send before TLS knows who it is. OpenSSL makes
 * room for a message as soon as that has said how long it is, 128 KiB for the
 * first one; here the bytes are looked at before it sees them. Buffers only.
 * Threads: any, one at a time.
 */
#ifndef KERF_NET_GREETING_H
#define KERF_NET_GREETING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One message: for so much OpenSSL has room anyway. */
#define KERF_GREETING_MESSAGE ((size_t)16384)
/* All of a handshake, and what a peer sends at once with its end. */
#define KERF_GREETING_MOST ((size_t)65536)

typedef struct kerf_greeting {
    size_t total;      /* bytes */
    uint8_t record[5]; /* the head of a record */
    uint8_t message[4];
    unsigned record_got, message_got;
    size_t record_left, message_left;
    bool sealed; /* encrypted from here on: nothing is to be seen */
} kerf_greeting;

/* The next bytes of the peer. False: more than it may send. All zero at the
 * start. */
bool kerf_greeting_add(kerf_greeting *g, const uint8_t *data, size_t len);

#endif
