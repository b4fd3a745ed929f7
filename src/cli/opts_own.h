/*
 * opts_own.h - what the words and the configuration file share.
 * Threads: one.
 */
#ifndef KERF_CLI_OPTS_OWN_H
#define KERF_CLI_OPTS_OWN_H

#include "cli/opts.h"

/* Where a value stands, for the line that says what is wrong with it. */
typedef struct kerf_place {
    const kerf_command *command;
    const char *file; /* NULL: among the words */
    size_t line;
} kerf_place;

const kerf_opt *kerf_opt_find(const kerf_command *c, const char *name);
/* -1: taken; else the exit status, and what was wrong is said. Of a text or a
 * list the pointer is kept. */
int kerf_opt_take(const kerf_place *place, const kerf_opt *o, const char *text);
/* "--" or "FILE:LINE: ", and the text; returns 2. */
int kerf_opt_fail(const kerf_place *place, const char *fmt, ...)
    KERF_PRINTF(2, 3);
int kerf_opt_fail_unknown(const kerf_place *place, const char *name);

#endif
