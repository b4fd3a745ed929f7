/*
 * map.h - the bytes of a file without reading them: for files that are written
 * once and then looked at, as weights are.
 *
 * A file that is cut short while it is mapped kills who looks behind its new
 * end (SIGBUS); where somebody may write at any time, use kerf_fs_read().
 * Threads: one opens and closes; the bytes are for any.
 */
#ifndef KERF_BASE_MAP_H
#define KERF_BASE_MAP_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

/* Zeroed: nothing. */
typedef struct kerf_map {
    const uint8_t *data; /* never NULL when open, also of an empty file */
    size_t len;
    void *own; /* what munmap() takes; NULL: empty */
} kerf_map;

/* Errors: KERF_ENOENT, KERF_EINVAL (not a regular file), KERF_ETOOBIG (over
 * max_bytes), KERF_EIO, KERF_ENOMEM. *map is untouched on error. */
KERF_NODISCARD kerf_err kerf_map_open(kerf_map *map, const char *path,
                                      size_t max_bytes, kerf_detail *why);
void kerf_map_close(kerf_map *map); /* accepts a zeroed one; zeroes it */

#endif
