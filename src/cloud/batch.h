/*
 * batch.h - whether requests of a tail are run several at a time.
 *
 * A tail whose weights do not fit the caches reads them once per run: with two
 * requests in one run, once for both. Whether that pays depends on the tail and
 * the machine, so it is measured when the tail is loaded.
 */
#ifndef KERF_CLOUD_BATCH_H
#define KERF_CLOUD_BATCH_H

#include "cloud/served.h"

/*
 * Loads the tail for several requests at once (bunch.h) and sets
 * slots.batch_most: of sizes that cost at most 0.95 of one by one per request,
 * the largest that costs less than smaller ones; and what each costs
 * (linger.h). Each size must answer bit for bit what its requests get one by
 * one: tried with inputs of very different sizes, so that a tail whose samples
 * touch each other is seen. most: the largest; where it is given, costs do not
 * count; 0: KERF_BATCH_MOST. m: the tail's bytes. A tail that cannot be
 * batched, or takes over 0.1 s (most 0), is no error. Errors: the engine's,
 * KERF_ENOMEM. Threads: before s is anybody else's.
 */
KERF_NODISCARD kerf_err kerf_batch_load(kerf_served *s, kerf_engine *engine,
                                        const kerf_model_bytes *m, size_t most,
                                        kerf_detail *why);

#endif
