#include "codec/halves.h"

#include "codec/cpu.h"
#include "tensor/half.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define GROUP 8

KERF_V3 static size_t
from_groups(uint16_t *h, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + GROUP <= count; i += GROUP)
        _mm_storeu_si128(
            (__m128i *)(void *)(h + i),
            _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    return i;
}

KERF_V3 static size_t
to_groups(float *x, const uint16_t *h, size_t count)
{
    size_t i = 0;

    for (; i + GROUP <= count; i += GROUP)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128(
                                    (const __m128i *)(const void *)(h + i))));
    return i;
}
#endif

void
kerf_halves_from(uint16_t *h, const float *x, size_t count)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3())
        i = from_groups(h, x, count);
#endif
    for (; i < count; i++)
        h[i] = kerf_f32_to_f16(x[i]);
}

void
kerf_halves_to(float *x, const uint16_t *h, size_t count)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3())
        i = to_groups(x, h, count);
#endif
    for (; i < count; i++)
        x[i] = kerf_f16_to_f32(h[i]);
}
