#include "bench/work.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
kerf_progress_say(const kerf_progress *p, const char *fmt, ...)
{
    char text[KERF_PATH_MAX + 64];
    va_list args;

    if (p->tell == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->tell(p->ctx, text);
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

kerf_spread
kerf_spread_of(double *v, size_t count)
{
    size_t half = count / 2;

    qsort(v, count, sizeof *v, compare_doubles);
    return (kerf_spread){.median = count % 2 != 0 ? v[half]
                                                  : (v[half - 1] + v[half]) / 2,
                         .least = v[0],
                         .most = v[count - 1]};
}

kerf_err
kerf_work_make(char path[KERF_PATH_MAX], const char *in, kerf_detail *why)
{
    const char *tmp = getenv("TMPDIR");
    kerf_err err;

    if (in == NULL)
        in = tmp != NULL && *tmp != '\0' ? tmp : "/tmp";
    err = kerf_path_join(path, in, "kerf-bench-XXXXXX");
    if (err == KERF_OK && mkdtemp(path) != NULL)
        return KERF_OK;
    err = err != KERF_OK
              ? kerf_fail(why, err, "%.64s...: the path is too long", in)
              : kerf_fail(why, KERF_EIO, "%s: %s", path, strerror(errno));
    path[0] = '\0';
    return err;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void
kerf_work_remove(const char *path)
{
    if (path[0] != '\0')
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
