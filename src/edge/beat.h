/*
 * beat.h - is the cloud still there? Pings on both connections, and the end of
 * the session when one is silent for too long. On the loop's thread.
 */
#ifndef KERF_EDGE_BEAT_H
#define KERF_EDGE_BEAT_H

#include "kerf/err.h"

#include <stdint.h>

struct kerf_edge;

#define KERF_DEAD_MS 5000 /* until the cloud or the user says another time */

/* The loop's own. */
typedef struct kerf_beat {
    uint64_t dead_ns, ping_ns; /* silence that is the end; between two pings */
    uint64_t due_ns;           /* when the timer should fire */
    uint64_t since_ns;         /* silence before this does not count */
    uint64_t next_ping_ns;
    uint64_t pinged_ns; /* on the tensor connection, not answered; or 0 */
} kerf_beat;

/* Silence of the peer that is the end, before there is a WELCOME; and how long
 * there is no cloud until that counts. */
uint64_t kerf_beat_dead_ms(const struct kerf_edge *edge);
/* Silence that is the end after a WELCOME: what the edge was told (0: nothing),
 * else three times the cloud's heartbeat, KERF_DEAD_MOST_MS at most. */
#define KERF_DEAD_MOST_MS 60000
uint64_t kerf_beat_silence_ms(int told_ms, uint32_t heartbeat_ms);
/* The first connection is there: HELLO has to be answered in time. */
void kerf_beat_hello(struct kerf_edge *edge);
/* WELCOME came. */
void kerf_beat_start(struct kerf_edge *edge);
void kerf_beat_fire(void *edge); /* the timer's */

#endif
