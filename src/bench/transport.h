/*
 * transport.h - what carrying a tensor and its answer costs over loopback: raw
 * sockets, Kerf with TLS and without, and what a user would pick instead, each
 * as a client and a server process, in turns. Threads: one at a time; children
 * die with the calling thread.
 */
#ifndef KERF_BENCH_TRANSPORT_H
#define KERF_BENCH_TRANSPORT_H

#include "bench/work.h"

#include <stdbool.h>

#define KERF_TRANSPORT_ROUNDS_MAX 50
#define KERF_TRANSPORT_SIZES 4
#define KERF_TRANSPORT_PEERS 8
#define KERF_RAW_MORE_US 10.0 /* of the bar: so much more than raw is free */

typedef enum kerf_transport_way {
    KERF_WAY_RAW = 0,
    KERF_WAY_KERF,
    KERF_WAY_KERF_TLS,
    KERF_WAY_OPENSSL,
    KERF_WAY_ZEROMQ,
    KERF_WAY_NNG,
    KERF_WAY_GRPC,
    KERF_WAY_REFERENCE,
} kerf_transport_way;

const char *kerf_transport_name(kerf_transport_way way); /* "zeromq" */

/* Of one way and size, over the rounds. */
typedef struct kerf_transport_figures {
    bool there; /* else: not built, nothing else counts */
    kerf_spread p50_us, p99_us, throughput_hz;
    /* Per request, user and system; one by one, and with 8 in flight. */
    kerf_spread client_cpu_us, server_cpu_us;
    kerf_spread loaded_client_cpu_us, loaded_server_cpu_us;
    double client_rss_kib, server_rss_kib; /* the most, of all rounds */
} kerf_transport_figures;

typedef struct kerf_transport_result {
    size_t bytes;
    int runs;
    kerf_transport_figures way[KERF_TRANSPORT_PEERS];
    kerf_spread ratio_raw; /* (Kerf's p50 - 10 us) / raw's, of the rounds */
    /* Per second with 8 in flight: Kerf's with TLS / OpenSSL's alone, of the
     * rounds; 0: it is not there. */
    kerf_spread ratio_openssl;
} kerf_transport_result;

typedef struct kerf_transport_opts {
    const char *peers; /* folder with them; NULL: beside the executable */
    int rounds;
    bool
        quick; /* raw sockets and Kerf only, a few runs: to see that it works */
    kerf_progress progress;
} kerf_transport_opts;

/* result[0..*count). Errors: KERF_EINTR, KERF_EIO, those of the peers, named
 * in *why. */
KERF_NODISCARD kerf_err
kerf_bench_transport(const kerf_transport_opts *opts,
                     kerf_transport_result result[KERF_TRANSPORT_SIZES],
                     size_t *count, kerf_detail *why);

#endif
