/*
 * warm.h - asks for memory before it is needed, so that a core which has to go
 * through many cold places waits for all of them at once. For writing, too:
 * what is asked for here mostly is. It is never read: an address may be of
 * memory that is gone.
 */
#ifndef KERF_BASE_WARM_H
#define KERF_BASE_WARM_H

#include <stddef.h>
#include <stdint.h>

#define KERF_LINE 64 /* of a cache: bytes */

static inline void
kerf_warm(const void *at, size_t len)
{
    uintptr_t end = (uintptr_t)at + len;

    for (uintptr_t line = (uintptr_t)at & ~(uintptr_t)(KERF_LINE - 1);
         line < end; line += KERF_LINE)
        __builtin_prefetch((const void *)line, 1);
}

#endif
