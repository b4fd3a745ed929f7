/*
 * work.h - what benchmarks share: a temporary folder, and numbers over rounds.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_WORK_H
#define KERF_BENCH_WORK_H

#include "base/fs.h"

/* What is being done now, for a person who waits; tell may be NULL. */
typedef struct kerf_progress {
    void (*tell)(void *ctx, const char *text);
    void *ctx;
} kerf_progress;

void KERF_PRINTF(2, 3)
    kerf_progress_say(const kerf_progress *p, const char *fmt, ...);

/* One number per round. */
typedef struct kerf_spread {
    double median, least, most;
} kerf_spread;

/* Of v[0..count), which is sorted; count > 0. */
kerf_spread kerf_spread_of(double *v, size_t count);

/* Makes a folder in `in`; NULL: in $TMPDIR, or /tmp. path is "" on error.
 * Errors: KERF_EIO, KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_work_make(char path[KERF_PATH_MAX], const char *in,
                                       kerf_detail *why);
/* Removes a folder and all that is in it; "" and what is not there: nothing. */
void kerf_work_remove(const char *path);

#endif
