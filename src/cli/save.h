/*
 * save.h - outputs as .npy files, DIR/000000.0.npy (item, output), and the
 * comparison with those that another run saved. run and edge use it.
 * Threads: one.
 */
#ifndef KERF_CLI_SAVE_H
#define KERF_CLI_SAVE_H

#include "cli/show.h"

typedef struct kerf_save {
    const char *save;                  /* folder; NULL: not */
    const char *against;               /* folder; NULL: not */
    uint64_t compared, classed, equal; /* items; with labels; of those equal */
    double tolerance;                  /* of the range of an output */
    double max_diff;                   /* absolute, over all outputs */
    uint64_t differ;  /* items with another label, other values or no pair */
    uint64_t matched; /* files of --against that had a pair here */
    uint64_t extra;   /* ... and those that had none; set by finish */
    bool said;        /* why an output cannot be compared */
} kerf_save;

#define KERF_SAVE_DEFAULTS \
    {                      \
        .tolerance = 1e-4  \
    }

/* clang-format off */
#define KERF_SAVE_ROWS(s) \
    {.name = "save", .kind = KERF_OPT_TEXT, .to = &(s)->save, .value = "DIR", \
        .help = "write outputs as DIR/000000.0.npy (item, output)"}, \
    {.name = "against", .kind = KERF_OPT_TEXT, .to = &(s)->against, \
        .value = "DIR", \
        .help = "compare with outputs that another run saved; 1 if they differ"}, \
    {.name = "tolerance", .kind = KERF_OPT_REAL, .to = &(s)->tolerance, \
        .min = 0, .max = 1, \
        .help = "with --against: equal within this part of an output's range"}
/* clang-format on */

/* Makes the folder for --save, looks for the one of --against. */
KERF_NODISCARD kerf_err kerf_save_start(const kerf_save *save,
                                        kerf_detail *why);
/* Writes each output as dir/000000.0.npy, with a prefix before the number. */
KERF_NODISCARD kerf_err kerf_save_outputs(const char *dir, const char *prefix,
                                          uint64_t index,
                                          const kerf_tensor *out, size_t count,
                                          kerf_detail *why);
/* Saves and compares what was asked for. An output that cannot be compared is
 * said once on stderr and counts as a difference. */
KERF_NODISCARD kerf_err kerf_save_answer(kerf_save *save,
                                         const kerf_answer *answer,
                                         kerf_detail *why);
/* "equal labels: 20 of 20, max abs difference 1.2e-07", and how many inputs
 * differ: another label, dtype or shape, a value off by more than the
 * tolerance, or an output that only one of the runs has. False when any does.
 */
bool kerf_save_finish(kerf_save *save, bool json);

#endif
