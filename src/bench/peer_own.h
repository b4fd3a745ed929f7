/*
 * peer_own.h - the peers of `kerf bench transport` that are part of Kerf, as
 * `kerf bench peer raw|kerf|kerf_tls ...`. Threads: one.
 */
#ifndef KERF_BENCH_PEER_OWN_H
#define KERF_BENCH_PEER_OWN_H

#include "bench/peer.h"

/* Exit statuses. */
int kerf_peer_raw(kerf_peer *peer);
/* The client only: the server is `kerf cloud`. Its store is in $TMPDIR. tls:
 * with the folder that KERF_PEER_TLS in the environment names. */
#define KERF_PEER_TLS "KERF_PEER_TLS"
int kerf_peer_edge(kerf_peer *peer, bool tls);

/* The pair that it is about, into a folder: a head that gives `bytes` of f32
 * and a tail that gives 40 bytes, of the fake engine, both at no cost. */
KERF_NODISCARD kerf_err kerf_peer_write_pair(const char *dir, size_t bytes,
                                             kerf_detail *why);

#endif
