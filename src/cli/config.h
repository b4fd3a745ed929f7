/*
 * config.h - a file of flags: `name = value`, one per line.
 *
 *     # comment; also after blanks, not behind a value
 *     cloud-port = 8080
 *     share-tail = yes
 *     input = "a folder with a blank at its end "
 *     input = another.png
 *
 * Names are those of the flags, without `--`. A flag that takes no value is
 * yes or no; one that takes several stands once for each. Quotes around a value
 * are taken off, all between them stays as it is.
 * UTF-8, at most KERF_CONFIG_BYTES; a BOM and CR before the end of a line are
 * passed over.
 * Threads: one.
 */
#ifndef KERF_CLI_CONFIG_H
#define KERF_CLI_CONFIG_H

#include "cli/opts.h"

#define KERF_CONFIG_BYTES (1 << 20)

/* Reads the file into *config (which is empty) and sets what it says. -1, or
 * after one line on stderr 2, or 1 when memory ran out. kerf_config_free() in
 * both cases, when nothing points into it any more. */
int kerf_config_load(const kerf_command *c, kerf_config *config,
                     const char *path);
/* The same of bytes that malloc() gave, which *config takes: text[len] is 0. */
int kerf_config_parse(const kerf_command *c, kerf_config *config,
                      const char *path, char *text, size_t len);
void kerf_config_free(kerf_config *config); /* zeroes it */

/* Reads the file again. Sets what has changed of options that may be set while
 * the command runs and were not among the words; logs others as
 * config.needs_restart, and a file that is wrong, of which nothing is set, as
 * config.not_reread. */
void kerf_config_again(const kerf_command *c, kerf_config *config);

#endif
