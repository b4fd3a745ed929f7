/*
 * serve.h - a `kerf cloud --json` of ours, until it serves.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_SERVE_H
#define KERF_BENCH_SERVE_H

#include "bench/child.h"

/* Waits until the cloud listens, and the one model in its folder is ready.
 * Errors: kerf_child_event()'s; KERF_EENGINE (it does not serve it: why). */
KERF_NODISCARD kerf_err kerf_serve_wait(kerf_child *cloud, int *port,
                                        kerf_detail *why);

#endif
