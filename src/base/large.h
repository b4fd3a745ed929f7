/*
 * large.h - memory that may be large: for what is read from end to end, or
 * copied, in pieces of megabytes. Threads: any.
 */
#ifndef KERF_BASE_LARGE_H
#define KERF_BASE_LARGE_H

#include <stddef.h>

#define KERF_LARGE_ALIGN 64

/* At a multiple of KERF_LARGE_ALIGN, and in pages of its own if it fills one;
 * free() it. From 2 MiB on in huge pages, as far as it fills them, where the
 * system lets programs ask for these. NULL: no memory. */
void *kerf_large_alloc(size_t bytes);
size_t kerf_page_size(void); /* a power of two */

#endif
