#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "kerf/tensor.h"
#include "tensor/half.h"

static void
shape_bytes__overflow_and_limits__are_errors(void **state)
{
    kerf_shape s = {.rank = 2, .dims = {INT64_MAX, INT64_MAX}};
    size_t bytes = 0;

    (void)state;
    assert_int_equal(kerf_shape_bytes(&s, KERF_F32, &bytes), KERF_ETOOBIG);
    s = (kerf_shape){.rank = 2, .dims = {INT64_MAX, 0}};
    assert_int_equal(kerf_shape_bytes(&s, KERF_F32, &bytes), KERF_OK);
    assert_int_equal(bytes, 0);
    s = (kerf_shape){.rank = 0};
    assert_int_equal(kerf_shape_bytes(&s, KERF_F64, &bytes), KERF_OK);
    assert_int_equal(bytes, 8);
    s = (kerf_shape){.rank = 1, .dims = {-1}};
    assert_int_equal(kerf_shape_bytes(&s, KERF_F32, &bytes), KERF_EINVAL);
    s = (kerf_shape){.rank = 9};
    assert_int_equal(kerf_shape_bytes(&s, KERF_F32, &bytes), KERF_EINVAL);
    s = (kerf_shape){.rank = 1, .dims = {1 << 29}};
    assert_int_equal(kerf_shape_bytes(&s, KERF_F32, &bytes), KERF_ETOOBIG);
    assert_int_equal(kerf_shape_bytes(&s, (kerf_dtype)77, &bytes), KERF_EINVAL);
}

static void
shape_text__as_python__prints(void **state)
{
    kerf_shape s = {.rank = 4, .dims = {1, 64, 8, -1}};
    char out[KERF_SHAPE_TEXT];

    (void)state;
    assert_string_equal(kerf_shape_text(out, &s), "(1, 64, 8, ?)");
    s = (kerf_shape){.rank = 1, .dims = {3}};
    assert_string_equal(kerf_shape_text(out, &s), "(3,)");
    s = (kerf_shape){.rank = 0};
    assert_string_equal(kerf_shape_text(out, &s), "()");
    s.rank = 8;
    for (int i = 0; i < 8; i++)
        s.dims[i] = INT64_MAX;
    assert_true(strlen(kerf_shape_text(out, &s)) < KERF_SHAPE_TEXT);
}

static void
tensor_at__every_dtype__reads_its_seeded_fill(void **state)
{
    kerf_shape s = {.rank = 1, .dims = {5}};

    (void)state;
    for (int d = 0; d < KERF_DTYPE_COUNT; d++) {
        kerf_dtype back;
        kerf_tensor t;
        uint64_t seed = 7;

        assert_int_equal(kerf_tensor_alloc(&t, (kerf_dtype)d, &s), KERF_OK);
        assert_int_equal((uintptr_t)t.data % KERF_TENSOR_ALIGN, 0);
        kerf_tensor_fill_seeded(&t, &seed);
        for (size_t i = 0; i < 5; i++) {
            double v = kerf_tensor_at(&t, i);

            assert_true(v >= 0.0 && v <= 1.0);
        }
        assert_true(
            kerf_dtype_from_name(kerf_dtype_name((kerf_dtype)d), &back));
        assert_int_equal(back, d);
        kerf_tensor_free(&t);
    }
}

static void
f16__every_value__survives_a_round_trip(void **state)
{
    (void)state;
    for (unsigned h = 0; h <= 0xFFFF; h++) {
        float f = kerf_f16_to_f32((uint16_t)h);
        float b = kerf_bf16_to_f32((uint16_t)h);

        if (isnan(f))
            assert_true(isnan(kerf_f16_to_f32(kerf_f32_to_f16(f))));
        else
            assert_int_equal(kerf_f32_to_f16(f), h);
        if (isnan(b))
            assert_true(isnan(kerf_bf16_to_f32(kerf_f32_to_bf16(b))));
        else
            assert_int_equal(kerf_f32_to_bf16(b), h);
    }
    assert_int_equal(kerf_f32_to_f16(65520.0f), 0x7C00); /* ties to infinity */
    assert_int_equal(kerf_f32_to_f16(65519.0f), 0x7BFF);
    assert_int_equal(kerf_f32_to_f16(0x1p-25f), 0); /* ties to even */
    assert_int_equal(kerf_f32_to_f16(0x1.8p-24f), 2);
}

static void
alloc__large__fills_whole_huge_pages_with_zeros(void **state)
{
    enum { HUGE_PAGE = 2 << 20 };
    const kerf_shape s = {.rank = 1, .dims = {2 * HUGE_PAGE + 12345}};
    kerf_tensor t;
    size_t sum = 0;

    (void)state;
    assert_int_equal(kerf_tensor_alloc(&t, KERF_U8, &s), KERF_OK);
    assert_int_equal(t.bytes, s.dims[0]);
    assert_int_equal((uintptr_t)t.data % HUGE_PAGE, 0);
    for (size_t i = 0; i < t.bytes; i++)
        sum += ((uint8_t *)t.data)[i];
    assert_int_equal(sum, 0);
    kerf_tensor_free(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_bytes__overflow_and_limits__are_errors),
        cmocka_unit_test(shape_text__as_python__prints),
        cmocka_unit_test(tensor_at__every_dtype__reads_its_seeded_fill),
        cmocka_unit_test(alloc__large__fills_whole_huge_pages_with_zeros),
        cmocka_unit_test(f16__every_value__survives_a_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
