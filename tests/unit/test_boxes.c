#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/boxes.h"

#define SIDE 4
#define PLANE (SIDE * SIDE)
#define CLASSES 3
#define VALUES (5 + CLASSES)

static float value[VALUES * PLANE];

static kerf_tensor
tensor(void)
{
    return (kerf_tensor){.dtype = KERF_F32,
                         .shape = {.rank = 4, .dims = {1, VALUES, SIDE, SIDE}},
                         .data = value,
                         .bytes = sizeof value};
}

/* A box of half the picture's sides around the cell's corner. */
static void
put(size_t cell, float objectness, size_t class)
{
    value[cell] = objectness;
    value[(5 + class) * (size_t)PLANE + cell] = 1;
}

static int
clear(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof value / sizeof *value; i++)
        value[i] = 0;
    return 0;
}

static void
read__cells_over_the_score__are_boxes(void **state)
{
    kerf_boxes b;
    kerf_tensor t = tensor();

    (void)state;
    put(1 * SIDE + 2, 0.9f, 2);
    put(3, 0.1f, 1); /* 0.1^0.6 = 0.25 */
    assert_true(kerf_boxes_read(&b, &t));
    assert_int_equal(b.count, 1);
    assert_int_equal(b.box[0].class, 2);
    assert_float_equal(b.box[0].left, 0.25, 1e-6);
    assert_float_equal(b.box[0].right, 0.75, 1e-6);
    assert_float_equal(b.box[0].top, 0.0, 1e-6);
    assert_float_equal(b.box[0].bottom, 0.5, 1e-6);
    t.shape.dims[1] = 5;
    assert_false(kerf_boxes_read(&b, &t));
}

static void
read__boxes_over_better_ones__are_dropped(void **state)
{
    kerf_boxes b;
    kerf_tensor t = tensor();

    (void)state;
    put(5, 0.8f, 0);
    put(6, 0.9f, 1); /* a quarter further: IoU 1/3 */
    assert_true(kerf_boxes_read(&b, &t));
    assert_int_equal(b.count, 2);
    assert_int_equal(b.box[0].class, 1); /* the best first */
    value[PLANE + 5] = 0.5f;             /* tanh: 0.46 of a cell: IoU 0.58 */
    assert_true(kerf_boxes_read(&b, &t));
    assert_int_equal(b.count, 1);
    assert_int_equal(b.box[0].class, 1);
}

static void
f1__counts_boxes_of_the_same_class_and_place(void **state)
{
    kerf_boxes a = {.count = 2,
                    .box = {{.right = 1, .bottom = 1, .class = 1},
                            {.left = 5, .right = 6, .bottom = 1, .class = 2}}};
    kerf_boxes b = a;
    kerf_boxes none = {.count = 0};

    (void)state;
    assert_float_equal(kerf_boxes_f1(&a, &b), 1, 1e-12);
    b.box[1].class = 3;
    assert_float_equal(kerf_boxes_f1(&a, &b), 0.5, 1e-12);
    b.box[1].class = 2;
    b.box[1].left = 5.6; /* 0.4 of it is left */
    assert_float_equal(kerf_boxes_f1(&a, &b), 0.5, 1e-12);
    b = a;
    b.count = 1;
    assert_float_equal(kerf_boxes_f1(&a, &b), 2.0 / 3, 1e-12);
    assert_float_equal(kerf_boxes_f1(&a, &none), 0, 1e-12);
    assert_float_equal(kerf_boxes_f1(&none, &none), 1, 1e-12);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(read__cells_over_the_score__are_boxes, clear),
        cmocka_unit_test_setup(read__boxes_over_better_ones__are_dropped,
                               clear),
        cmocka_unit_test(f1__counts_boxes_of_the_same_class_and_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
