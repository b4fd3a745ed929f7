/*
 * store_behind.h - hashes a file while another thread writes it, a little
 * behind: what was just written is read from the page cache. So whoever writes
 * (an edge's loop, which has tensors to look after) spends no time on hashing.
 * Threads: one calls; it has one of its own.
 */
#ifndef KERF_MODEL_STORE_BEHIND_H
#define KERF_MODEL_STORE_BEHIND_H

#include "base/hash.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct kerf_behind kerf_behind;

/* hash and fd are its own until it has stopped; hash has the first `from` bytes
 * of the file. NULL: no memory or no thread; then hash later. */
kerf_behind *kerf_behind_start(kerf_sha256 *hash, int fd, uint64_t from);
/* All before `at` is written, and stays. */
void kerf_behind_tell(kerf_behind *b, uint64_t at);
/* Returns how many bytes hash has: all that it was told of if `all`, and if
 * they can be read. Frees it. */
uint64_t kerf_behind_stop(kerf_behind *b, bool all);

#endif
