/*
 * cpu.h - loops that are compiled twice: for any x86-64, and for those since
 * about 2013 (x86-64-v3: AVX2, BMI2 and F16C come together), chosen at run
 * time.
 *
 *     KERF_INLINE void loop(...) { plain C }
 *     KERF_V3 static void loop_v3(...) { loop(...); }
 *     if (kerf_cpu_is_v3()) loop_v3(...); else loop(...);
 *
 * On other machines the second is the same as the first. With KERF_CPU_PLAIN
 * the first is used everywhere, so that a test can compare the two.
 * Threads: pure.
 */
#ifndef KERF_CODEC_CPU_H
#define KERF_CODEC_CPU_H

#include <stdbool.h>

#define KERF_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define KERF_V3 __attribute__((target("avx2,bmi,bmi2,f16c")))
#else
#define KERF_V3
#endif

static inline bool
kerf_cpu_is_v3(void)
{
#if defined(__x86_64__) && !defined(KERF_CPU_PLAIN)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

#endif
