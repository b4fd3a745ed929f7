#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "proto/clock_sync.h"

/* Adds an exchange of a cloud whose clock is `ahead`, with the given ways. */
static bool
add(kerf_sync *s, int64_t ahead, uint64_t t1, uint64_t up, uint64_t there,
    uint64_t down)
{
    uint64_t t2 = t1 + up + (uint64_t)ahead;

    return kerf_sync_add(s, t1, t2, t2 + there, t1 + up + there + down);
}

static void
sync__nothing_added__is_zero_and_splits_in_half(void **state)
{
    kerf_sync s = {0};
    uint64_t up;
    uint64_t down;

    (void)state;
    assert_int_equal(kerf_sync_offset(&s), 0);
    assert_int_equal(kerf_sync_rtt(&s), 0);
    kerf_sync_split(&s, 1000, 900000, 900010, 1111, &up, &down);
    assert_int_equal(up, 50);
    assert_int_equal(down, 51);
}

static void
sync_add__even_ways__give_the_offset_exactly(void **state)
{
    static const int64_t aheads[] = {
        0, 5, -5, 1000000007, -1000000007, INT64_MAX / 4, INT64_MIN / 4};

    (void)state;
    for (size_t i = 0; i < sizeof aheads / sizeof *aheads; i++) {
        kerf_sync s = {0};

        assert_true(add(&s, aheads[i], 123456, 500, 10, 500));
        assert_true(kerf_sync_offset(&s) == aheads[i]);
        assert_int_equal(kerf_sync_rtt(&s), 1000);
    }
}

static void
sync_add__clocks_that_wrap__are_subtracted_rightly(void **state)
{
    kerf_sync s = {0};

    (void)state;
    assert_true(add(&s, 77, UINT64_MAX - 100, 200, 5, 200));
    assert_int_equal(kerf_sync_offset(&s), 77);
    assert_int_equal(kerf_sync_rtt(&s), 400);
}

static void
sync_add__stamps_that_contradict__are_not_kept(void **state)
{
    kerf_sync s = {0};

    (void)state;
    assert_false(kerf_sync_add(&s, 100, 0, 0, 99));    /* ends before start */
    assert_false(kerf_sync_add(&s, 100, 50, 40, 200)); /* cloud goes back */
    assert_false(kerf_sync_add(&s, 100, 0, 101, 200)); /* there > all */
    assert_int_equal(s.count, 0);
    assert_true(kerf_sync_add(&s, 100, 0, 100, 200)); /* rtt 0 */
    assert_int_equal(s.count, 1);
}

static void
sync_offset__noisy_ways__is_that_of_the_least_rtt(void **state)
{
    kerf_sync s = {0};
    uint64_t seed = 3;
    uint64_t t = 1000;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t up = 100 + kerf_rng_next(&seed) % 100000;
        uint64_t down = 100 + kerf_rng_next(&seed) % 100000;
        int64_t off;

        t += 1000000;
        assert_true(add(&s, 42000, t, up, 50, down));
        off = kerf_sync_offset(&s) - 42000;
        assert_true(off < 0 ? -off <= kerf_sync_rtt(&s) / 2 + 1
                            : off <= kerf_sync_rtt(&s) / 2 + 1);
    }
    assert_true(add(&s, 42000, t + 1, 100, 50, 100));
    assert_int_equal(kerf_sync_offset(&s), 42000);
}

static void
sync_offset__old_best__is_forgotten(void **state)
{
    kerf_sync s = {0};

    (void)state;
    assert_true(add(&s, 10, 0, 1, 0, 1));
    for (unsigned i = 0; i < KERF_SYNC_KEEP - 1; i++)
        assert_true(add(&s, 99, 1000, 500, 0, 500));
    assert_int_equal(kerf_sync_offset(&s), 10);
    assert_true(add(&s, 99, 1000, 500, 0, 500));
    assert_int_equal(kerf_sync_offset(&s), 99);
}

static void
sync_add__count_at_its_end__goes_on(void **state)
{
    kerf_sync s = {0};

    (void)state;
    for (unsigned i = 0; i < KERF_SYNC_KEEP; i++)
        assert_true(add(&s, 5, 1000, 10, 0, 10));
    s.count = UINT32_MAX;
    assert_true(add(&s, 5, 1000, 4, 0, 4));
    assert_int_equal(kerf_sync_rtt(&s), 8);
    assert_true(s.count >= KERF_SYNC_KEEP);
}

static void
sync_split__any_stamps__add_up_to_the_rtt(void **state)
{
    kerf_sync s = {0};
    uint64_t seed = 9;
    uint64_t up;
    uint64_t down;

    (void)state;
    assert_true(add(&s, 7000, 0, 100, 5, 100));
    kerf_sync_split(&s, 50000, 57300, 57400, 50600, &up, &down);
    assert_int_equal(up, 300); /* 57300 is 50300 on the edge's clock */
    assert_int_equal(down, 200);
    for (int i = 0; i < 10000; i++) {
        uint64_t t1 = kerf_rng_next(&seed);
        uint64_t t2 = kerf_rng_next(&seed);
        uint64_t there = kerf_rng_next(&seed) % 1000;
        uint64_t wire = kerf_rng_next(&seed) % 1000;

        kerf_sync_split(&s, t1, t2, t2 + there, t1 + there + wire, &up, &down);
        assert_int_equal(up + down, wire);
        assert_true(up <= wire);
    }
    kerf_sync_split(&s, 100, 5, 4, 90, &up, &down); /* contradicts */
    assert_int_equal(up, 0);
    assert_int_equal(down, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync__nothing_added__is_zero_and_splits_in_half),
        cmocka_unit_test(sync_add__even_ways__give_the_offset_exactly),
        cmocka_unit_test(sync_add__clocks_that_wrap__are_subtracted_rightly),
        cmocka_unit_test(sync_add__stamps_that_contradict__are_not_kept),
        cmocka_unit_test(sync_offset__noisy_ways__is_that_of_the_least_rtt),
        cmocka_unit_test(sync_offset__old_best__is_forgotten),
        cmocka_unit_test(sync_add__count_at_its_end__goes_on),
        cmocka_unit_test(sync_split__any_stamps__add_up_to_the_rtt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
