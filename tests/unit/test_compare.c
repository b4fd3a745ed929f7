/* How far two answers are apart: in place and as sets of rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cut/compare.h"

static kerf_tensor
reals(float *data, int64_t rows, int64_t columns)
{
    return (kerf_tensor){.dtype = KERF_F32,
                         .shape = {.rank = 2, .dims = {rows, columns}},
                         .data = data,
                         .bytes = (size_t)(rows * columns) * sizeof *data};
}

static double
range_of(const kerf_tensor *t)
{
    kerf_span span = {0};

    kerf_span_add(&span, t);
    return kerf_span_range(&span);
}

static void
span__several_answers__is_their_range(void **state)
{
    float a[] = {NAN, 1.0f};
    float b[] = {-3.0f, INFINITY};
    kerf_tensor t[] = {reals(a, 1, 2), reals(b, 1, 2)};
    kerf_span span = {0};

    (void)state;
    assert_true(kerf_span_range(&span) <= 0.0);
    kerf_span_add(&span, &t[0]);
    assert_true(fabs(kerf_span_range(&span) - 1.0) < 1e-12);
    kerf_span_add(&span, &t[1]);
    assert_true(fabs(kerf_span_range(&span) - 4.0) < 1e-12);
}

static void
compare__same_bytes__is_bit_equal_also_with_nan(void **state)
{
    float v[] = {1.0f, NAN, -INFINITY};
    kerf_tensor t = reals(v, 1, 3);
    kerf_diff d = {.rel = 9.0};

    (void)state;
    assert_int_equal(kerf_compare(&t, &t, false, 1.0, 0.0, &d, NULL), KERF_OK);
    assert_true(d.bit_equal);
    assert_true(d.abs <= 0.0 && d.rel <= 0.0);
}

static void
compare__small_difference__is_a_part_of_the_range(void **state)
{
    float a[] = {-10.0f, 0.0f, 30.0f};
    float b[] = {-10.0f, 0.5f, 30.0f};
    kerf_tensor want = reals(a, 1, 3);
    kerf_tensor got = reals(b, 1, 3);
    kerf_diff d = {0};

    (void)state;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1.0, &d, NULL),
        KERF_OK);
    assert_false(d.bit_equal);
    assert_true(fabs(d.abs - 0.5) < 1e-12);
    assert_true(fabs(d.rel - 0.5 / 40.0) < 1e-12);
    /* Nearly constant: not judged by its own noise. */
    a[0] = a[1] = 100.0f;
    a[2] = 100.001f;
    assert_true(fabs(range_of(&want) - 100.001) < 1e-3);
    /* Nothing to be a part of. */
    a[0] = a[1] = a[2] = 0.0f;
    memcpy(b, a, sizeof b);
    b[1] = 1e-30f;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1.0, &d, NULL),
        KERF_OK);
    assert_true(isinf(d.rel));
    /* The sign of a zero is a bit, and no difference. */
    b[1] = -0.0f;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1.0, &d, NULL),
        KERF_OK);
    assert_true(!d.bit_equal && d.rel <= 0.0);
}

static void
compare__other_kind_of_not_finite__differs(void **state)
{
    const float kinds[] = {NAN, INFINITY, -INFINITY, 1.0f};
    kerf_detail why = {{0}};
    kerf_diff d = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            float a[] = {2.0f, kinds[i], 5.0f};
            float b[] = {2.0f, kinds[k], 6.0f};
            kerf_tensor want = reals(a, 1, 3);
            kerf_tensor got = reals(b, 1, 3);

            assert_int_equal(kerf_compare(&want, &got, false, range_of(&want),
                                          1.0, &d, &why),
                             i == k ? KERF_OK : KERF_EMISMATCH);
            if (i != k)
                assert_non_null(strstr(why.text, "element 1 is "));
        }
    }
}

static void
compare__integers__any_difference_is_all(void **state)
{
    int64_t a[] = {1, 1000000000};
    int64_t b[] = {1, 1000000001};
    kerf_tensor want = {.dtype = KERF_I64,
                        .shape = {.rank = 1, .dims = {2}},
                        .data = a,
                        .bytes = sizeof a};
    kerf_tensor got = want;
    kerf_diff d = {0};

    (void)state;
    got.data = b;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1.0, &d, NULL),
        KERF_OK);
    assert_true(isinf(d.rel) && fabs(d.abs - 1.0) < 1e-9);
}

static void
compare__other_shape_or_dtype__is_said(void **state)
{
    float v[6] = {0};
    kerf_tensor want = reals(v, 2, 3);
    kerf_tensor got = reals(v, 3, 2);
    kerf_detail why = {{0}};
    kerf_diff d = {0};

    (void)state;
    assert_int_equal(
        kerf_compare(&want, &got, true, range_of(&want), 1.0, &d, &why),
        KERF_EMISMATCH);
    assert_string_equal(why.text, "it is f32 (3, 2), expected f32 (2, 3)");
    got = want;
    got.dtype = KERF_I32;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1.0, &d, &why),
        KERF_EMISMATCH);
}

static void
compare__rows_in_another_order__are_the_same_set(void **state)
{
    float a[] = {0, 0.9f, 10, 20, /**/ 1, 0.5f, 30, 40, /**/ 1, 0.5f, 31, 41};
    float b[] = {0, 0.9f, 10, 20, /**/ 1, 0.5f, 31, 41, /**/ 1, 0.5f, 30, 40};
    kerf_tensor want = reals(a, 3, 4);
    kerf_tensor got = reals(b, 3, 4);
    kerf_diff d = {0};

    (void)state;
    assert_int_equal(
        kerf_compare(&want, &got, false, range_of(&want), 1e-5, &d, NULL),
        KERF_OK);
    assert_true(d.rel > 1e-2);
    assert_int_equal(
        kerf_compare(&want, &got, true, range_of(&want), 1e-5, &d, NULL),
        KERF_OK);
    assert_true(d.bit_equal && d.rel <= 0.0);
    b[6] += 0.25f; /* of a swapped row */
    assert_int_equal(
        kerf_compare(&want, &got, true, range_of(&want), 1e-5, &d, NULL),
        KERF_OK);
    assert_true(!d.bit_equal && fabs(d.abs - 0.25) < 1e-6);
    b[6] = NAN;
    assert_int_equal(
        kerf_compare(&want, &got, true, range_of(&want), 1e-5, &d, NULL),
        KERF_EMISMATCH);
}

static void
compare__a_row_twice__is_not_the_same_set(void **state)
{
    float a[] = {1, 2, /**/ 3, 4, /**/ 3, 4};
    float b[] = {1, 2, /**/ 1, 2, /**/ 3, 4};
    kerf_tensor want = reals(a, 3, 2);
    kerf_tensor got = reals(b, 3, 2);
    kerf_diff d = {0};

    (void)state;
    assert_int_equal(
        kerf_compare(&want, &got, true, range_of(&want), 1e-5, &d, NULL),
        KERF_OK);
    assert_true(d.rel >= 0.5);
}

static void
compare__no_rows__is_equal(void **state)
{
    float v[1] = {0};
    kerf_tensor t = reals(v, 0, 6);
    kerf_diff d = {.abs = 1.0};

    (void)state;
    assert_int_equal(kerf_compare(&t, &t, true, 1.0, 0.0, &d, NULL), KERF_OK);
    assert_true(d.bit_equal && d.abs <= 0.0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span__several_answers__is_their_range),
        cmocka_unit_test(compare__same_bytes__is_bit_equal_also_with_nan),
        cmocka_unit_test(compare__small_difference__is_a_part_of_the_range),
        cmocka_unit_test(compare__other_kind_of_not_finite__differs),
        cmocka_unit_test(compare__integers__any_difference_is_all),
        cmocka_unit_test(compare__other_shape_or_dtype__is_said),
        cmocka_unit_test(compare__rows_in_another_order__are_the_same_set),
        cmocka_unit_test(compare__a_row_twice__is_not_the_same_set),
        cmocka_unit_test(compare__no_rows__is_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
