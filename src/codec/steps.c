#include "codec/steps.h"

#include "codec/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The loops are plain C that the compiler turns into vectors. */
KERF_INLINE int32_t
key_of(int32_t bits)
{
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

float
kerf_span_float(int32_t key)
{
    int32_t bits = key_of(key); /* its own inverse */
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

bool
kerf_span_is_finite(const kerf_span *s)
{
    return s->greatest < 0x7f800000 && s->least > key_of((int32_t)0xff800000u);
}

KERF_INLINE kerf_span
span_of(const float *x, size_t count)
{
    int32_t least = INT32_MAX;
    int32_t greatest = INT32_MIN;

    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        int32_t key;

        memcpy(&bits, x + i, sizeof bits);
        key = key_of(bits);
        least = key < least ? key : least;
        greatest = key > greatest ? key : greatest;
    }
    return (kerf_span){least, greatest};
}

KERF_V3 static kerf_span
span_of_v3(const float *x, size_t count)
{
    return span_of(x, count);
}

kerf_span
kerf_span_of(const float *x, size_t count)
{
    return kerf_cpu_is_v3() ? span_of_v3(x, count) : span_of(x, count);
}

KERF_INLINE void
steps_from(uint8_t *restrict q, const float *restrict x, size_t count,
           float low, float per_step, float most)
{
    for (size_t i = 0; i < count; i++) {
        float v = (x[i] - low) * per_step + 0.5f;

        q[i] = (uint8_t)(int32_t)(v < most ? v : most);
    }
}

#if defined(__x86_64__)

KERF_INLINE KERF_V3 __m256i
eight_steps(const float *x, __m256 low, __m256 per_step, __m256 most)
{
    __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x), low), per_step);

    return _mm256_cvttps_epi32(
        _mm256_min_ps(_mm256_add_ps(v, _mm256_set1_ps(0.5f)), most));
}

KERF_V3 static void
steps_from_v3(uint8_t *restrict q, const float *restrict x, size_t count,
              float low, float per_step, float most)
{
    /* Packing twice leaves fours of 0, 2, 4, 6, 1, 3, 5, 7. */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 l = _mm256_set1_ps(low);
    const __m256 p = _mm256_set1_ps(per_step);
    const __m256 m = _mm256_set1_ps(most);
    size_t i = 0;

    for (; i + 32 <= count; i += 32) {
        __m256i a = eight_steps(x + i, l, p, m);
        __m256i b = eight_steps(x + i + 8, l, p, m);
        __m256i c = eight_steps(x + i + 16, l, p, m);
        __m256i d = eight_steps(x + i + 24, l, p, m);
        __m256i all = _mm256_packus_epi16(_mm256_packus_epi32(a, b),
                                          _mm256_packus_epi32(c, d));

        all = _mm256_permutevar8x32_epi32(all, order);
        memcpy(q + i, &all, sizeof all);
    }
    steps_from(q + i, x + i, count - i, low, per_step, most);
}

#else

static void
steps_from_v3(uint8_t *restrict q, const float *restrict x, size_t count,
              float low, float per_step, float most)
{
    steps_from(q, x, count, low, per_step, most);
}

#endif

void
kerf_steps_from(uint8_t *q, const float *x, size_t count, float low, float step,
                uint8_t most)
{
    float per_step = step > 0 ? (float)(1.0 / (double)step) : 0;

    if (kerf_cpu_is_v3())
        steps_from_v3(q, x, count, low, per_step, most);
    else
        steps_from(q, x, count, low, per_step, most);
}

KERF_INLINE void
steps_to(float *restrict x, const uint8_t *restrict q, size_t count, float low,
         float step)
{
    for (size_t i = 0; i < count; i++)
        x[i] = low + (float)q[i] * step;
}

KERF_V3 static void
steps_to_v3(float *restrict x, const uint8_t *restrict q, size_t count,
            float low, float step)
{
    steps_to(x, q, count, low, step);
}

void
kerf_steps_to(float *x, const uint8_t *q, size_t count, float low, float step)
{
    if (kerf_cpu_is_v3())
        steps_to_v3(x, q, count, low, step);
    else
        steps_to(x, q, count, low, step);
}
