/*
 * peer.h - one side of `kerf bench transport`: what each way of carrying
 * tensors has in common, so that all are asked the same and count the same.
 *
 *     PEER server BYTES
 *         prints {"event":"ready","port":N}, serves until it is killed
 *     PEER client PORT BYTES RUNS LOADED SERVER_PID
 *         sends BYTES of floats and takes an answer of 40 bytes, RUNS times one
 *         by one, then LOADED times with 8 in flight; prints one
 *         {"event":"result", ...} and ends
 *
 * Before each of the two it does the same some times more, which do not count.
 * For C and C++; peers of other licences and runtimes are in bench/peers, which
 * compile peer.c too.
 * Threads: one.
 */
#ifndef KERF_BENCH_PEER_H
#define KERF_BENCH_PEER_H

#include "base/stats.h"

#include <stdbool.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERF_PEER_ANSWER 40 /* bytes */
#define KERF_PEER_WINDOW 8
#define KERF_PEER_ALIGN 64 /* where a tensor has to be for an engine */

typedef struct kerf_peer_phase {
    double p50_us, p99_us, hz;           /* latencies of the loaded one: 0 */
    double client_cpu_us, server_cpu_us; /* of a request; user and system */
} kerf_peer_phase;

typedef struct kerf_peer {
    bool is_server;
    int port;
    size_t bytes;
    int runs[2]; /* one by one; loaded */
    pid_t server;
    kerf_peer_phase phase[2];
    kerf_stats ns; /* of the phase under way */
    uint64_t start_ns, client_cpu_ns, server_cpu_ns; /* when it began */
} kerf_peer;

/* False: said on stderr what is wrong. */
bool kerf_peer_parse(kerf_peer *peer, int argc, char **argv);
void kerf_peer_fini(kerf_peer *peer);
void kerf_peer_ready(int port);
/* Floats that differ from slot to slot, at a whole page, touched; exits when
 * there is no memory. Free with free(). */
uint8_t *kerf_peer_memory(size_t bytes, unsigned slot);
/* What the server answers: the end of what it received, in bytes[0..40). */
void kerf_peer_answer(uint8_t answer[KERF_PEER_ANSWER], const uint8_t *data,
                      size_t len);

/* How many runs do not count before a phase (0, 1). */
int kerf_peer_warm(const kerf_peer *peer, int phase);
/* A phase: begin, once for each request add (when latencies are wanted), end.
 */
void kerf_peer_begin(kerf_peer *peer);
void kerf_peer_add(kerf_peer *peer, uint64_t ns);
void kerf_peer_end(kerf_peer *peer, int phase);
void kerf_peer_print(const kerf_peer *peer);

/* False ends the run. */
typedef struct kerf_peer_ops {
    /* Makes the message that send() will take. Not part of a latency, but of
     * CPU time and throughput; NULL where a tensor is sent from where it is. */
    bool (*prepare)(void *ctx, unsigned slot);
    bool (*send)(void *ctx, unsigned slot); /* slot < 8: its memory is free */
    bool (*answer)(void *ctx); /* waits for the next, in the order of sending */
} kerf_peer_ops;

/* Both phases, and the line; returns the exit status. */
int kerf_peer_drive(kerf_peer *peer, const kerf_peer_ops *ops, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
