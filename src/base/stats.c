#include "base/stats.h"

#include "base/rng.h"

#include <stdlib.h>

kerf_err
kerf_stats_init(kerf_stats *s, size_t keep)
{
    *s = (kerf_stats){.keep = keep, .seed = 1};
    s->kept = calloc(keep, sizeof *s->kept);
    return s->kept == NULL ? KERF_ENOMEM : KERF_OK;
}

void
kerf_stats_fini(kerf_stats *s)
{
    free(s->kept);
    *s = (kerf_stats){0};
}

void
kerf_stats_add(kerf_stats *s, double v)
{
    s->min = s->count == 0 || v < s->min ? v : s->min;
    s->max = s->count == 0 || v > s->max ? v : s->max;
    s->sum += v;
    s->count++;
    if (s->used < s->keep) {
        s->kept[s->used++] = v;
    } else {
        uint64_t at = kerf_rng_next(&s->seed) % s->count;

        if (at < s->keep)
            s->kept[at] = v;
    }
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double
kerf_stats_quantile(kerf_stats *s, double q)
{
    double at;
    size_t i;

    if (s->used == 0)
        return 0.0;
    qsort(s->kept, s->used, sizeof *s->kept, compare_doubles);
    at = q * (double)(s->used - 1);
    i = (size_t)at;
    if (i + 1 >= s->used)
        return s->kept[s->used - 1];
    return s->kept[i] + (at - (double)i) * (s->kept[i + 1] - s->kept[i]);
}

double
kerf_stats_mean(const kerf_stats *s)
{
    return s->count == 0 ? 0.0 : s->sum / (double)s->count;
}
