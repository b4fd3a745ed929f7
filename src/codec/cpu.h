/*
 * cpu.h - loops that are compiled twice: for any x86-64, and for those since
 * about 2013 (x86-64-v3: AVX2, BMI2 and F16C come together), chosen at run
 * time.
 *
 *     KERF_INLINE void loop(...) { plain C }
 *     KERF_V3 static void loop_v3(...) { loop(...); }
 *     if (kerf_cpu_is_v3()) loop_v3(...); else loop(...);
 *
 * On other machines the second is the same as the first. A few loops have a
 * third form for those since about 2019, with AVX-512 (KERF_V4). KERF_CPU_MOST
 * (1, 3 or 4) is the newest form that is used, so that tests can compare them.
 * Threads: pure.
 */
#ifndef KERF_CODEC_CPU_H
#define KERF_CODEC_CPU_H

#include <stdbool.h>

#define KERF_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define KERF_V3 __attribute__((target("avx2,bmi,bmi2,f16c")))
#define KERF_V4                                                           \
    __attribute__((target("avx2,bmi,bmi2,f16c,avx512f,avx512bw,avx512vl," \
                          "avx512vbmi,avx512vbmi2,avx512vpopcntdq")))
#else
#define KERF_V3
#define KERF_V4
#endif

#ifndef KERF_CPU_MOST
#define KERF_CPU_MOST 4
#endif

static inline bool
kerf_cpu_is_v3(void)
{
#if defined(__x86_64__) && KERF_CPU_MOST >= 3
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

/* Only where kerf_cpu_is_v3(). */
static inline bool
kerf_cpu_is_v4(void)
{
#if defined(__x86_64__) && KERF_CPU_MOST >= 4
    return kerf_cpu_is_v3() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("avx512vpopcntdq");
#else
    return false;
#endif
}

#endif
