/* What a codec may change of a tensor, at most: kerf/codec.h. */
#ifndef KERF_TESTS_CODEC_BOUNDS_H
#define KERF_TESTS_CODEC_BOUNDS_H

#include "kerf/codec.h"
#include "tensor/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline unsigned
bits_of(int id)
{
    return id >= KERF_CODEC_Q8C  ? 8u - (unsigned)(id - KERF_CODEC_Q8C) % 7
           : id >= KERF_CODEC_Q8 ? 8u - (unsigned)(id - KERF_CODEC_Q8)
                                 : 0;
}

static inline bool
all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return false;
    }
    return true;
}

struct range {
    double low, high;
};

static inline struct range
range_of(const float *x, size_t n)
{
    struct range r = {(double)x[0], (double)x[0]};

    for (size_t i = 0; i < n; i++) {
        r.low = fmin(r.low, (double)x[i]);
        r.high = fmax(r.high, (double)x[i]);
    }
    return r;
}

/* Of the channel, with 0 in it. */
static inline double
reach_of(const float *x, size_t n)
{
    struct range r = range_of(x, n);

    return fmax(r.high, 0) - fmin(r.low, 0);
}

/* The bound of codec.h: half a step of each group of values, or 7/8 of one
 * where errors are spread. */
static inline void
check_steps(int id, const kerf_tensor *a, const kerf_tensor *b)
{
    size_t n = a->bytes / sizeof(float);
    size_t each = n;
    bool is_spread = id >= KERF_CODEC_Q8S && a->shape.rank >= 4;
    double numbers = (1u << bits_of(id)) - 1;
    double reach = 0;
    double all = 0;

    if (id >= KERF_CODEC_Q8C && a->shape.rank >= 2)
        each = n / (size_t)(a->shape.dims[0] * a->shape.dims[1]);
    for (size_t i = 0; i < n; i++)
        all = fmax(all, fabs((double)((const float *)a->data)[i]));
    for (size_t g = 0; g < n; g += each)
        reach += reach_of((const float *)a->data + g, each);
    for (size_t g = 0; g < n; g += each) {
        const float *x = (const float *)a->data + g;
        const float *y = (const float *)b->data + g;
        struct range r = range_of(x, each);
        double own = reach_of(x, each);
        double step = (r.high - r.low) / numbers;

        if (each != n) {
            double even = sqrt(own * reach * (double)each / (double)n);

            if (is_spread)
                step = fmax(step / 2, even / (numbers * 13 / 15));
            else
                step = fmax(step, even / numbers);
            step = fmax(step, own / 254) * (1.0 + 0x1p-7);
            step *= is_spread ? 1.75 : 1;
        }
        for (size_t i = 0; i < each; i++)
            assert_true(fabs((double)x[i] - (double)y[i]) <=
                        step / 2 + all * 0x1p-20);
    }
}

static inline void
check_back(int id, const kerf_tensor *a, const kerf_tensor *b)
{
    const float *x = a->data;
    const float *y = b->data;
    size_t n = a->bytes / sizeof(float);

    if (id == KERF_CODEC_EXACT || !all_finite(x, n)) {
        assert_memory_equal(x, y, a->bytes);
    } else if (bits_of(id) != 0) {
        check_steps(id, a, b);
    } else {
        for (size_t i = 0; i < n; i++) {
            float want = id == KERF_CODEC_F16
                             ? kerf_f16_to_f32(kerf_f32_to_f16(x[i]))
                             : kerf_bf16_to_f32(kerf_f32_to_bf16(x[i]));

            assert_true(y[i] == want || y[i] == x[i]);
            assert_true(isfinite(y[i]));
        }
    }
}

#endif
