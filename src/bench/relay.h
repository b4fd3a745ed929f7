/*
 * relay.h - a `kerf link` of ours in front of a port.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_RELAY_H
#define KERF_BENCH_RELAY_H

#include "bench/child.h"

typedef struct kerf_relay {
    kerf_child child;
    int port; /* where to dial */
} kerf_relay;

/* In front of 127.0.0.1:to_port; log: file for its stderr. Errors: those of
 * kerf_child_start() and kerf_child_event(). End: kerf_child_stop(&child). */
KERF_NODISCARD kerf_err kerf_relay_start(kerf_relay *relay, const char *spec,
                                         int to_port, const char *log,
                                         kerf_detail *why);

#endif
