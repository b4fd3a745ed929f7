/*
 * pack_list.h - what is in a .kwz, shown: kerf unpack --list. Threads: one.
 */
#ifndef KERF_CLI_PACK_LIST_H
#define KERF_CLI_PACK_LIST_H

#include "kerf/err.h"

#include <stdbool.h>

/* Errors: those of kerf_look_open(). */
KERF_NODISCARD kerf_err kerf_pack_list(const char *path, bool json,
                                       kerf_detail *why);

#endif
