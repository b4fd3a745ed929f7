#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/fetch_own.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MIB (UINT64_C(1) << 20)

static void
under_way__nothing_came_yet__is_what_is_asked_for_first(void **state)
{
    (void)state;
    assert_int_equal(kerf_fetch_under_way(0, 0, 0), 8 * MIB);
    assert_in_range(kerf_fetch_under_way(0, 0, MS), 2 * MIB, 3 * MIB);
    assert_in_range(kerf_fetch_under_way(0, 0, 400 * MS), 8 * MIB, 12 * MIB);
}

static void
under_way__short_way__is_little_however_fast(void **state)
{
    (void)state;
    assert_in_range(kerf_fetch_under_way(25000000, SECOND, 4 * MS), 2 * MIB,
                    3 * MIB);
    assert_in_range(kerf_fetch_under_way(UINT64_C(1000000000), SECOND, 1 * MS),
                    23900000, 24100000);
}

/* A range has half, and the next is asked for when half is left. */
static void
under_way__long_way__is_more_than_the_link_holds_twice(void **state)
{
    (void)state;
    for (uint64_t ms = 50; ms <= 400; ms += 50) {
        uint64_t rate = 12500000; /* 100 Mbit/s */
        uint64_t holds = rate * ms / 1000;

        assert_true(kerf_fetch_under_way(rate, SECOND, ms * MS) > 2 * holds);
    }
}

static void
under_way__any_numbers__are_within_bounds(void **state)
{
    const uint64_t some[] = {0,         1,          MS,        SECOND,
                             MIB,       1000 * MIB, INT64_MAX, UINT64_MAX - 1,
                             UINT64_MAX};
    const size_t count = sizeof some / sizeof *some;

    (void)state;
    for (size_t i = 0; i < count * count * count; i++) {
        assert_in_range(kerf_fetch_under_way(some[i % count],
                                             some[i / count % count],
                                             some[i / count / count]),
                        2 * MIB, 32 * MIB);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            under_way__nothing_came_yet__is_what_is_asked_for_first),
        cmocka_unit_test(under_way__short_way__is_little_however_fast),
        cmocka_unit_test(
            under_way__long_way__is_more_than_the_link_holds_twice),
        cmocka_unit_test(under_way__any_numbers__are_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
