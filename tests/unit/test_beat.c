#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/beat.h"

static void
silence__what_the_edge_was_told_counts(void **state)
{
    (void)state;
    assert_int_equal(kerf_beat_silence_ms(300, 1000), 300);
    assert_int_equal(kerf_beat_silence_ms(3600000, UINT32_MAX), 3600000);
}

static void
silence__told_nothing__three_heartbeats_within_the_most(void **state)
{
    (void)state;
    assert_int_equal(kerf_beat_silence_ms(0, 100), 300);
    assert_int_equal(kerf_beat_silence_ms(0, 20000), 60000);
    assert_int_equal(kerf_beat_silence_ms(0, 20001), 60000);
    assert_int_equal(kerf_beat_silence_ms(0, UINT32_MAX), 60000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence__what_the_edge_was_told_counts),
        cmocka_unit_test(
            silence__told_nothing__three_heartbeats_within_the_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
