#include "base/large.h"

#include "base/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20) /* elsewhere larger: then it is a wish */

size_t
kerf_page_size(void)
{
    long size = sysconf(_SC_PAGESIZE);

    return size > 0 ? (size_t)size : 4096;
}

/* In small pages a virtual machine looks up two page tables: to hash or to copy
 * what the caches do not have takes two to three times as long
 * (docs/BENCHMARKS.md). What is never touched past the end costs no memory. */
void *
kerf_large_alloc(size_t bytes)
{
    size_t page = kerf_page_size();
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE
                   : bytes >= page    ? page
                                      : KERF_LARGE_ALIGN;
    void *data;

    if (bytes > SIZE_MAX - HUGE_PAGE)
        return NULL;
    bytes = bytes == 0 ? 1 : bytes;
    /* A multiple, as aligned_alloc() wants it. */
    data = aligned_alloc(align, kerf_align_up(bytes, align));
    if (data != NULL && align == HUGE_PAGE)
        (void)madvise(data, kerf_align_up(bytes, page), MADV_HUGEPAGE);
    return data;
}
