#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "cli/show_json.h"

static kerf_tensor
row(float *values, int64_t rows, int64_t columns)
{
    return (kerf_tensor){.dtype = KERF_F32,
                         .shape = {.rank = 2, .dims = {rows, columns}},
                         .data = values,
                         .bytes = (size_t)(rows * columns) * sizeof *values};
}

static void
top__probabilities__are_kept_and_ordered(void **state)
{
    float v[] = {0.125F, 0.5F, 0.25F, 0.125F};
    kerf_tensor t = row(v, 1, 4);
    kerf_top top[3];

    (void)state;
    assert_int_equal(kerf_show_top(NULL, &t, top, 3), 3);
    assert_int_equal(top[0].index, 1);
    assert_true(top[0].score == 0.5);
    assert_int_equal(top[1].index, 2);
    assert_int_equal(top[2].index, 0); /* of equals, the first */
    assert_int_equal(kerf_show_top(NULL, &t, top, 0), 0);
}

static void
top__logits__get_a_softmax(void **state)
{
    float v[] = {0.0F, logf(3.0F), -1000.0F};
    kerf_tensor t = row(v, 1, 3);
    kerf_card card;
    kerf_top top[5];

    (void)state;
    assert_int_equal(kerf_show_top(NULL, &t, top, 5), 3);
    assert_true(fabs(top[0].score - 0.75) < 1e-6);
    assert_true(fabs(top[1].score - 0.25) < 1e-6);
    kerf_card_init(&card);
    card.scores_given = true; /* says: probabilities */
    assert_int_equal(kerf_show_top(&card, &t, top, 5), 3);
    assert_true(fabs(top[0].score - log(3.0)) < 1e-6);
    kerf_card_fini(&card);
}

static void
argmax__each_row__as_the_reference_prints(void **state)
{
    float v[] = {0, 1, 0, 5, 4, 3};
    kerf_tensor t = row(v, 2, 3);
    char out[64];

    (void)state;
    assert_string_equal(kerf_show_argmax(out, sizeof out, &t), "[1, 0]");
    t = row(v, 1, 6);
    assert_string_equal(kerf_show_argmax(out, sizeof out, &t), "[3]");
    t = row(v, 1, 0);
    assert_string_equal(kerf_show_argmax(out, sizeof out, &t), "[]");
}

static void
values__not_finite_ones__are_left_out(void **state)
{
    float v[] = {1.0F, NAN, 3.0F, INFINITY};
    kerf_tensor t = row(v, 1, 4);
    kerf_values got;

    (void)state;
    kerf_values_of(&got, &t);
    assert_true(got.min == 1.0 && got.max == 3.0 && got.mean == 2.0);
    assert_true(got.std == 1.0);
    assert_int_equal(got.odd, 2);
}

static void
label__from_a_file__is_made_safe(void **state)
{
    char bad[] = "a\033[2Jb";
    char *labels[] = {bad};
    kerf_card card;
    char out[64];

    (void)state;
    kerf_card_init(&card);
    card.label = labels;
    card.label_count = 1;
    assert_string_equal(kerf_show_label(out, sizeof out, &card, 0),
                        "a\\x1b[2Jb");
    assert_string_equal(kerf_show_label(out, sizeof out, &card, 7), "7");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top__probabilities__are_kept_and_ordered),
        cmocka_unit_test(top__logits__get_a_softmax),
        cmocka_unit_test(argmax__each_row__as_the_reference_prints),
        cmocka_unit_test(values__not_finite_ones__are_left_out),
        cmocka_unit_test(label__from_a_file__is_made_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
