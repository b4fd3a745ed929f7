/*
 * gnuplot.h - pictures by gnuplot. Threads: one.
 */
#ifndef KERF_CLI_GNUPLOT_H
#define KERF_CLI_GNUPLOT_H

#include "kerf/err.h"

#include <stdio.h>

/* Writes the script: terminal, data and plot; no output file. */
typedef void kerf_gnuplot_put(FILE *to, const void *ctx);

/* The picture to path, whole or not there. Errors: KERF_ENOENT (no gnuplot),
 * KERF_EIO (what it said), KERF_ETOOBIG... */
KERF_NODISCARD kerf_err kerf_gnuplot(const char *path, kerf_gnuplot_put *put,
                                     const void *ctx, kerf_detail *why);

/* Text inside '...' of a script. */
void kerf_gnuplot_text(FILE *to, const char *text);

#endif
