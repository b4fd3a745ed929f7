/*
 * live.h - a cloud's table of edges below the lines that it prints: lines
 * scroll up above it, and never through it.
 * Threads: any; it draws on one of its own, once a second.
 */
#ifndef KERF_CLI_LIVE_H
#define KERF_CLI_LIVE_H

#include "kerf/cloud.h"

#include <pthread.h>

/* Zeroed: none; begin and end do nothing. */
typedef struct kerf_live {
    kerf_cloud *cloud;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool runs, is_over;
    size_t lines, rows; /* drawn; of the terminal then */
    int width;
    kerf_cloud_view view; /* as it is drawn */
} kerf_live;

/* Draws on stdout, a terminal, from now on; log lines go above it too, when
 * stderr is one. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_live_start(kerf_live *live, kerf_cloud *cloud);
/* Takes the table away. Before the cloud is closed. */
void kerf_live_stop(kerf_live *live);

/* Around lines on stdout, whole ones. */
void kerf_live_begin(kerf_live *live);
void kerf_live_end(kerf_live *live);

#endif
