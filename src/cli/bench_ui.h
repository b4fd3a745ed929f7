/*
 * bench_ui.h - what the benchmarks with bars share: flags, progress, numbers as
 * JSON, and whether a bar is met. Threads: one.
 */
#ifndef KERF_CLI_BENCH_UI_H
#define KERF_CLI_BENCH_UI_H

#include "bench/work.h"
#include "cli/opts.h"
#include "cli/term.h"

#include <jansson.h>

typedef struct kerf_bench_ui {
    kerf_term out, err;
    bool json, check, quiet;
    int bars_missed;
} kerf_bench_ui;

#define KERF_BENCH_UI_OPTS(ui)                                      \
    {.kind = KERF_OPT_GROUP, .help = "Output"},                     \
        {.name = "check",                                           \
         .kind = KERF_OPT_FLAG,                                     \
         .to = &(ui)->check,                                        \
         .help = "exit status 1 when a bar is not met"},            \
        {.name = "json",                                            \
         .kind = KERF_OPT_FLAG,                                     \
         .to = &(ui)->json,                                         \
         .help = "one JSON object per model on stdout"},            \
    {                                                               \
        .name = "quiet", .kind = KERF_OPT_FLAG, .to = &(ui)->quiet, \
        .help = "no progress on stderr"                             \
    }

/* After the flags are parsed: looks at the terminal; Ctrl-C ends the run in
 * order from now on. */
void kerf_bench_ui_begin(kerf_bench_ui *ui);
/* On stderr, unless --quiet. */
kerf_progress kerf_bench_ui_progress(kerf_bench_ui *ui);
/* Clears the line of progress. */
void kerf_bench_ui_clear(const kerf_bench_ui *ui);
/* The exit status of a run that has ended well. */
int kerf_bench_ui_status(const kerf_bench_ui *ui);

/* A bar is a bound that docs/BENCHMARKS.md promises. */
void kerf_bench_ui_judge(kerf_bench_ui *ui, bool met, const char *what,
                         double value, double bar, const char *unit);

void kerf_bench_add_real(json_t *o, const char *name, double v);
/* NAME, NAME_least and NAME_most. */
void kerf_bench_add_spread(json_t *o, const char *name, const kerf_spread *s);

#endif
