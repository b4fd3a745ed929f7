#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "codec/spread.h"

/* Some planes, their numbers and what these mean. */
struct planes {
    size_t count, rows, width;
    float *x;
    uint8_t *q;
    float *step, *scratch;
    kerf_span *span;
    kerf_scales scales;
};

static float *
plane_of(const struct planes *p, size_t k)
{
    return p->x + k * p->rows * p->width;
}

static struct planes
planes_new(size_t count, size_t rows, size_t width)
{
    size_t all = count * rows * width;
    struct planes p = {.count = count, .rows = rows, .width = width};

    p.x = calloc(all, sizeof *p.x);
    p.q = calloc(all, 1);
    p.step = calloc(count, sizeof *p.step);
    p.span = calloc(count, sizeof *p.span);
    p.scratch = calloc(kerf_spread_scratch(width), sizeof *p.scratch);
    assert_true(p.x && p.q && p.step && p.span && p.scratch);
    return p;
}

static void
planes_free(struct planes *p)
{
    free(p->x);
    free(p->q);
    free(p->step);
    free(p->span);
    free(p->scratch);
}

static void
spread(struct planes *p, double per_range)
{
    size_t each = p->rows * p->width;

    for (size_t k = 0; k < p->count; k++)
        p->span[k] = kerf_span_of(plane_of(p, k), each);
    assert_true(
        kerf_scales_choose(&p->scales, p->step, p->span, p->count, per_range));
    kerf_spread(p->q, p->x, p->count, p->rows, p->width, &p->scales, p->step,
                p->span, p->scratch);
}

/* Of the value at i of plane k, in steps. */
static double
error_at(const struct planes *p, size_t k, size_t i)
{
    size_t at = k * p->rows * p->width + i;
    int number = p->q[at] - p->scales.zero;

    return p->step[k] > 0 ? (double)p->x[at] / (double)p->step[k] - number
                          : (double)number;
}

static void
fill(struct planes *p, uint64_t seed, bool is_signed)
{
    size_t each = p->rows * p->width;

    for (size_t i = 0; i < p->count * each; i++) {
        float x = kerf_rng_unit(&seed) * 2 - 1;

        x = is_signed ? x : fmaxf(x, 0);
        p->x[i] = i % each == 0 ? 0 : x * (float)(1 + i / each % 5);
    }
}

static void
spread__any_planes__are_within_a_step_and_zeros_stay(void **state)
{
    static const size_t widths[] = {1, 2, 7, 8, 9, 31, 64};

    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t count = 1; count < 40; count = count * 2 + 1) {
            struct planes p = planes_new(count, 1 + 3 * w, widths[w]);
            size_t each = p.rows * p.width;

            fill(&p, w + count, count % 2 == 0);
            memset(p.x, 0, (count > 1 ? each : 0) * sizeof *p.x);
            spread(&p, 13);
            for (size_t i = 0; i < count * each; i++) {
                assert_true(p.q[i] <= p.scales.most);
                assert_true(fabs(error_at(&p, i / each, i % each)) <= 0.8751);
                if (p.x[i] == 0)
                    assert_int_equal(p.q[i], p.scales.zero);
            }
            planes_free(&p);
        }
    }
}

/* A flat region between two numbers about keeps its mean, which rounding alone
 * moves by 0.4 of a step here; by an eighth at most, as a quarter of each error
 * is let go. */
static void
spread__a_flat_plane__about_keeps_its_mean(void **state)
{
    struct planes p = planes_new(3, 32, 32);
    size_t each = p.rows * p.width;

    (void)state;
    for (size_t k = 0; k < p.count; k++) {
        for (size_t i = 0; i < each; i++)
            plane_of(&p, k)[i] = i == 0 ? 13 : 4.4f + (float)k;
    }
    spread(&p, 13);
    for (size_t k = 0; k < p.count; k++) {
        for (size_t row = 8; row < 28; row += 4) {
            double sum = 0;

            for (size_t i = 0; i < 4 * p.width; i++)
                sum += error_at(&p, k, row * p.width + i);
            assert_true(fabs(sum / (4.0 * (double)p.width)) < 0.13);
        }
    }
    planes_free(&p);
}

/* A plane is the same alone, beside others and at another place. */
static void
spread__planes__know_nothing_of_each_other(void **state)
{
    struct planes all = planes_new(37, 11, 13);
    size_t each = all.rows * all.width;
    uint8_t *alone = malloc(each);

    (void)state;
    assert_non_null(alone);
    fill(&all, 3, true);
    spread(&all, 6);
    for (size_t k = 0; k < all.count; k++) {
        kerf_spread(alone, plane_of(&all, k), 1, all.rows, all.width,
                    &all.scales, all.step + k, all.span + k, all.scratch);
        assert_memory_equal(alone, all.q + k * each, each);
    }
    free(alone);
    planes_free(&all);
}

/* Where the greatest value is no whole number of steps, it is no reason for
 * patterns: what is clipped, as by relu6, stays one number. */
static void
spread__clipped_values__are_one_number(void **state)
{
    struct planes p = planes_new(1, 16, 16);

    (void)state;
    for (size_t i = 0; i < 256; i++)
        p.x[i] = i % 16 < 4 ? (float)i / 64 : 6;
    spread(&p, 13.3);
    for (size_t i = 0; i < 256; i++) {
        if (p.x[i] == 6)
            assert_int_equal(p.q[i], p.scales.most);
    }
    planes_free(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread__any_planes__are_within_a_step_and_zeros_stay),
        cmocka_unit_test(spread__a_flat_plane__about_keeps_its_mean),
        cmocka_unit_test(spread__planes__know_nothing_of_each_other),
        cmocka_unit_test(spread__clipped_values__are_one_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
