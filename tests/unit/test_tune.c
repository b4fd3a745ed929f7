#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/tune.h"

#define ALL UINT32_MAX
#define BYTES 8000000

/* Nanoseconds per byte: exact 1 + 1 for half the bytes, f16 2 + 2 for a
 * quarter, q8 1.5 + 0.5 for an eighth. */
static const kerf_tune tune = {.cost = {[KERF_CODEC_EXACT] = {1, 1, 0.5},
                                        [KERF_CODEC_F16] = {2, 2, 0.25},
                                        [KERF_CODEC_Q8] = {1.5, 0.5, 0.125}}};

static kerf_codec_id
pick(uint32_t codecs, double ns_per_byte, double share)
{
    return kerf_tune_pick(&tune, codecs, BYTES, (uint64_t)(1e9 / ns_per_byte),
                          share);
}

static void
pick__no_rate_or_a_fast_link__is_raw(void **state)
{
    (void)state;
    assert_int_equal(kerf_tune_pick(&tune, ALL, BYTES, 0, 1), KERF_CODEC_RAW);
    assert_int_equal(pick(ALL, 1, 1), KERF_CODEC_RAW);
    assert_int_equal(pick(ALL, 1, 0.01), KERF_CODEC_RAW);
    assert_int_equal(pick(1, 100, 1), KERF_CODEC_RAW); /* it takes no other */
}

static void
pick__slow_link__is_what_is_there_soonest(void **state)
{
    uint32_t no_q8 = ALL & ~(UINT32_C(1) << KERF_CODEC_Q8);

    (void)state;
    assert_int_equal(pick(ALL, 20, 1), KERF_CODEC_Q8);
    assert_int_equal(pick(no_q8, 20, 1), KERF_CODEC_F16);
    assert_int_equal(pick(no_q8, 5, 1), KERF_CODEC_EXACT);
}

/* In one piece q8 takes 1.5 + 0.5 + 0.25 ns for a byte, and raw 2; in small
 * blocks it takes little more than the 1.5 that encoding does. */
static void
pick__in_blocks__the_longest_of_the_three_counts(void **state)
{
    (void)state;
    assert_int_equal(pick(ALL, 2, 1), KERF_CODEC_RAW);
    assert_int_equal(pick(ALL, 2, 0.9), KERF_CODEC_RAW);
    assert_int_equal(pick(ALL, 2, 0.1), KERF_CODEC_EXACT);
    assert_int_equal(pick(ALL, 4, 0.1), KERF_CODEC_Q8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pick__no_rate_or_a_fast_link__is_raw),
        cmocka_unit_test(pick__slow_link__is_what_is_there_soonest),
        cmocka_unit_test(pick__in_blocks__the_longest_of_the_three_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
