#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/frame.h"

static kerf_err
get_block(uint8_t codec, uint32_t count, uint32_t len, uint64_t payload_len)
{
    kerf_tensor_block m = {.codec = codec, .count = count, .len = len};
    uint8_t bytes[64];
    size_t end = kerf_tensor_block_put(bytes, sizeof bytes, &m);

    for (size_t cut = 0; cut < end; cut++)
        assert_int_equal(
            kerf_tensor_block_get(&m, bytes, cut, payload_len, NULL),
            KERF_ECORRUPT);
    return kerf_tensor_block_get(&m, bytes, end, payload_len, NULL);
}

static void
block_get__lengths_that_do_not_suit__are_corrupt(void **state)
{
    (void)state;
    assert_int_equal(get_block(KERF_CODEC_RAW, 16, 64, 64), KERF_OK);
    assert_int_equal(get_block(KERF_CODEC_Q8, 16, 63, 64), KERF_OK);
    assert_int_equal(get_block(KERF_CODEC_Q8, 16, 64, 64), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_Q8, 16, 0, 0), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_RAW, 0, 0, 0), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_RAW, 16, 60, 64), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_RAW, 16, 64, 128), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_RAW, 16, 64, 0), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_COUNT, 16, 9, 64), KERF_ECORRUPT);
    assert_int_equal(get_block(KERF_CODEC_RAW, UINT32_MAX, 0xfffffffc,
                               UINT32_MAX + UINT64_C(1)),
                     KERF_ECORRUPT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_get__lengths_that_do_not_suit__are_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
