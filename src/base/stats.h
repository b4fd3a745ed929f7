/*
 * stats.h - a bounded sample of values and its quantiles.
 *
 * Keeps every value up to `keep`, then a uniform sample (reservoir, Vitter's
 * algorithm R, fixed seed). count, min, max and mean are exact.
 * Threads: one owner.
 */
#ifndef KERF_BASE_STATS_H
#define KERF_BASE_STATS_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kerf_stats {
    double *kept; /* owned */
    size_t keep, used;
    uint64_t count, seed;
    double sum, min, max;
} kerf_stats;

KERF_NODISCARD kerf_err kerf_stats_init(kerf_stats *s, size_t keep);
void kerf_stats_fini(kerf_stats *s); /* accepts a zeroed one */
void kerf_stats_add(kerf_stats *s, double v);
/* q in [0, 1]; linear between neighbours; 0 when nothing was added. */
double kerf_stats_quantile(kerf_stats *s, double q);
double kerf_stats_mean(const kerf_stats *s);

#endif
