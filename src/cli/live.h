/*
 * live.h - a cloud's table of edges below the lines that it prints: lines
 * scroll up above it, and never through it.
 * Threads: start and stop from one; it draws on the printer's.
 */
#ifndef KERF_CLI_LIVE_H
#define KERF_CLI_LIVE_H

#include "cli/printer.h"
#include "kerf/cloud.h"

#include <pthread.h>

/* Zeroed: none. */
typedef struct kerf_live {
    kerf_cloud *cloud; /* under the lock; NULL: no table any more */
    pthread_mutex_t lock;
    /* Of the printer's thread. */
    size_t lines, rows; /* drawn; of the terminal then */
    int width;
    kerf_cloud_view view; /* as it is drawn */
} kerf_live;

/* Draws on the printer's stdout, a terminal, from now on. */
void kerf_live_start(kerf_live *live, kerf_cloud *cloud, kerf_printer *out);
/* The table goes with the next line, or at the printer's end. Before the cloud
 * is closed; the printer is stopped before *live goes. */
void kerf_live_stop(kerf_live *live);

#endif
