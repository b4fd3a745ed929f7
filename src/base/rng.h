/*
 * rng.h - splitmix64 (Steele, Lea, Flood 2014): small, seeded, the same on
 * every machine. For probes, random inputs and tests; never for secrets.
 * Threads: one owner per state.
 */
#ifndef KERF_BASE_RNG_H
#define KERF_BASE_RNG_H

#include <stdint.h>

uint64_t kerf_rng_next(uint64_t *state);
float kerf_rng_unit(uint64_t *state); /* [0, 1), 24 bits: next() >> 40 */

#endif
