/*
 * split.h - what splitting a network costs: the engine alone, raw TCP, and the
 * whole split with a cloud and an edge process of our own executable, taken in
 * turns so that a slow moment of the machine hits all of them.
 * Threads: one at a time; children die with the calling thread.
 */
#ifndef KERF_BENCH_SPLIT_H
#define KERF_BENCH_SPLIT_H

#include "bench/work.h"
#include "kerf/limits.h"

#include <stdbool.h>

#define KERF_SPLIT_ROUNDS_MAX 100
#define KERF_SPLIT_MODELS_MAX 16
#define KERF_SPLIT_CORES_MAX 16

typedef struct kerf_split_opts {
    const char *models;      /* folder of pairs; NULL: digits and a ResNet18 */
    const char *const *only; /* names; all when there are none */
    size_t only_count;
    int rounds;
    int runs;         /* of each thing in a round */
    double seconds;   /* of each throughput measurement */
    int window;       /* requests in flight for throughput */
    const char *link; /* SPEC of one between edge and cloud; NULL: none */
    int idle_edges;   /* 0: nothing about idling */
    double idle_seconds;
    kerf_progress progress;
} kerf_split_opts;

typedef struct kerf_times { /* in us */
    kerf_spread p50;
    double p99; /* median over the rounds */
} kerf_times;

typedef struct kerf_split_result {
    char model[KERF_NAME_MAX];
    size_t crossing_bytes, answer_bytes;
    kerf_times head, tail, raw_tcp, split; /* a window of 1, all cores */
    kerf_spread
        ratio_p50; /* split / (head + tail + raw_tcp), p50s of a round */
    /* One core for the edge, the cloud and the limit; requests per second. */
    kerf_spread throughput_hz, limit_hz, ratio_throughput;
    /* All cores; the limit is one thread per core. */
    int cores;
    kerf_spread all_throughput_hz, all_limit_hz;
} kerf_split_result;

typedef struct kerf_split_idle { /* percent of one core */
    double cloud_cpu_percent;    /* with idle_edges connected */
    double edge_cpu_percent;     /* of a real edge without inputs */
    double cloud_kib_per_edge;   /* growth of the cloud's memory */
} kerf_split_idle;

/* result holds KERF_SPLIT_MODELS_MAX. idle is zeroed when idle_edges is 0.
 * Errors: KERF_ENOENT (no such model), KERF_EINTR, those of the engine, of
 * files, and of children that fail. */
KERF_NODISCARD kerf_err kerf_bench_split(const kerf_split_opts *opts,
                                         kerf_split_result *result,
                                         size_t *count, kerf_split_idle *idle,
                                         kerf_detail *why);

/* models/digits here, or in a folder above the executable; false: not there. */
bool kerf_bench_digits(char out[KERF_PATH_MAX]);

#endif
