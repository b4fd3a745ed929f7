#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_line.h"
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
    assert_int_equal(kerf_show_top(false, &t, top, 3), 3);
    assert_false(kerf_show_wants_softmax(NULL, &t));
    assert_int_equal(top[0].index, 1);
    assert_true(top[0].score == 0.5);
    assert_int_equal(top[1].index, 2);
    assert_int_equal(top[2].index, 0); /* of equals, the first */
    assert_int_equal(kerf_show_top(false, &t, top, 0), 0);
}

static void
top__logits__get_a_softmax(void **state)
{
    float v[] = {0.0F, logf(3.0F), -1000.0F};
    kerf_tensor t = row(v, 1, 3);
    kerf_card card;
    kerf_top top[5];

    (void)state;
    assert_int_equal(kerf_show_top(true, &t, top, 5), 3);
    assert_true(kerf_show_wants_softmax(NULL, &t));
    assert_true(fabs(top[0].score - 0.75) < 1e-6);
    assert_true(fabs(top[1].score - 0.25) < 1e-6);
    kerf_card_init(&card);
    card.scores_given = true; /* says: probabilities */
    assert_false(kerf_show_wants_softmax(&card, &t));
    assert_int_equal(kerf_show_top(false, &t, top, 5), 3);
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
    v[0] = v[2] = NAN;
    kerf_values_of(&got, &t);
    assert_true(isnan(got.min) && isnan(got.max) && isnan(got.mean));
    assert_int_equal(got.good, 0);
    assert_int_equal(got.odd, 4);
}

static void
values__far_from_zero__keep_their_deviation(void **state)
{
    double v[] = {1e9, 1e9 + 1, 1e9 + 2};
    int64_t whole[] = {9007199254740993, 9007199254740992, 9007199254740994};
    kerf_tensor t = {.dtype = KERF_F64,
                     .shape = {.rank = 1, .dims = {3}},
                     .data = v,
                     .bytes = sizeof v};
    kerf_values got;

    (void)state;
    kerf_values_of(&got, &t);
    assert_true(fabs(got.std - sqrt(2.0 / 3.0)) < 1e-9);
    t.dtype = KERF_I64;
    t.data = whole;
    kerf_values_of(&got, &t);
    assert_int_equal(got.min_at, 1);
    assert_int_equal(got.max_at, 2);
}

static void
nan__never_wins(void **state)
{
    float v[] = {NAN, 1.0F, NAN, 3.0F};
    kerf_tensor t = row(v, 1, 4);
    kerf_top top[4];
    char out[64];

    (void)state;
    assert_int_equal(kerf_show_top(true, &t, top, 4), 4);
    assert_int_equal(top[0].index, 3);
    assert_int_equal(top[1].index, 1);
    assert_true(fabs(top[0].score + top[1].score - 1.0) < 1e-9);
    assert_string_equal(kerf_show_argmax(out, sizeof out, &t), "[3]");
    v[1] = v[3] = NAN;
    assert_string_equal(kerf_show_argmax(out, sizeof out, &t), "[nan]");
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

static void
answer__why_from_a_peer__is_made_safe(void **state)
{
    char *text = NULL;
    size_t len = 0;
    kerf_show show = KERF_SHOW_DEFAULTS;
    kerf_answer a = {
        .input = "x.npy", .err = KERF_EIO, .why = "a\033[2Jb\xe2\x81\xa6"};

    (void)state;
    assert_int_equal(kerf_show_init(&show), KERF_OK);
    show.term.out = open_memstream(&text, &len);
    assert_non_null(show.term.out);
    kerf_show_answer(&show, &a);
    assert_int_equal(fclose(show.term.out), 0);
    assert_non_null(strstr(text, "no answer: a\\x1b[2Jb\\xe2\\x81\\xa6"));
    free(text);
    kerf_show_fini(&show);
}

static void
json_text__any_bytes__are_json(void **state)
{
    json_t *line = json_pack("{s:o, s:o}", "a", kerf_json_text("caf\xe9"), "b",
                             kerf_json_text(NULL));

    (void)state;
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "a")),
                        "caf\\xe9");
    assert_string_equal(json_string_value(json_object_get(line, "b")), "");
    json_decref(line);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top__probabilities__are_kept_and_ordered),
        cmocka_unit_test(top__logits__get_a_softmax),
        cmocka_unit_test(argmax__each_row__as_the_reference_prints),
        cmocka_unit_test(values__not_finite_ones__are_left_out),
        cmocka_unit_test(values__far_from_zero__keep_their_deviation),
        cmocka_unit_test(nan__never_wins),
        cmocka_unit_test(answer__why_from_a_peer__is_made_safe),
        cmocka_unit_test(json_text__any_bytes__are_json),
        cmocka_unit_test(label__from_a_file__is_made_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
