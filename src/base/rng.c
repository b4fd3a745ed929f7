#include "base/rng.h"

uint64_t
kerf_rng_next(uint64_t *state)
{
    uint64_t z;

    *state += 0x9E3779B97F4A7C15u;
    z = *state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

float
kerf_rng_unit(uint64_t *state)
{
    return (float)(kerf_rng_next(state) >> 40) * (1.0f / 16777216.0f);
}
