/*
 * bench_agree.h - `kerf bench tensor MODEL --at NAME`: what a cut network still
 * answers through each codec.
 * Threads: one.
 */
#ifndef KERF_CLI_BENCH_AGREE_H
#define KERF_CLI_BENCH_AGREE_H

#include "bench/agree.h"
#include "cli/cmd.h"
#include "cli/rules.h"

typedef struct kerf_agree_flags {
    const char *model;
    const char *at, *truth, *plot;
    bool boxes, json;
    kerf_list input;
    kerf_rules rules;
    kerf_engine_opts engine;
    kerf_cmd_common common;
} kerf_agree_flags;

/* Does all of it; the exit status. */
int kerf_bench_agree(const kerf_agree_flags *f);

/* Bytes against agreement, a line for each family of codecs, JPEG and WebP.
 * path ends in .svg or .png. Errors: kerf_gnuplot()'s, KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_agree_plot(const kerf_agree *a, const char *title,
                                        const char *path, kerf_detail *why);

#endif
