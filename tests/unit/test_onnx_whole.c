/* No model of somebody else's may name a file, wherever it hides the name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "graph/onnx_whole.h"

#define DEPTH_MAX 16

/* A message of so many, or one field of a tensor, in place. */
struct file {
    uint8_t bytes[2048];
    size_t len;
};

static const uint8_t external_data[] = {0x6A, 2, 0x0A, 0}; /* 13: an entry */
static const uint8_t location[] = {0x70, 1};               /* 14: EXTERNAL */
static const uint8_t location_wide[] = {0x70, 0x81, 0x80, 0x80, 0x80, 0x10};
static const uint8_t location_inside[] = {0x70, 0};
static const uint8_t floats[] = {0x4A, 4, 0, 0, 0x80, 0x3F}; /* 9: raw_data */

/* The file becomes one field of wire type 2 around what it was. */
static void
wrap(struct file *f, uint32_t number)
{
    uint32_t tag = number << 3 | 2;
    uint8_t head[8];
    size_t n = 0;

    if (tag > 0x7F)
        head[n++] = (uint8_t)(tag | 0x80);
    head[n++] = (uint8_t)(tag > 0x7F ? tag >> 7 : tag);
    head[n++] = (uint8_t)(f->len | 0x80);
    head[n++] = (uint8_t)(f->len >> 7);
    assert_true(f->len + n <= sizeof f->bytes);
    memmove(f->bytes + n, f->bytes, f->len);
    memcpy(f->bytes, head, n);
    f->len += n;
}

/* way: the fields from the model to the tensor, 0 at the end. */
static kerf_err
check(const uint32_t *way, const uint8_t *inside, size_t len, kerf_detail *why)
{
    struct file f = {.len = len};
    size_t depth = 0;

    memcpy(f.bytes, inside, len);
    while (way[depth] != 0)
        depth++;
    while (depth > 0)
        wrap(&f, way[--depth]);
    return kerf_onnx_check_whole(f.bytes, f.len, why);
}

static const uint32_t ways[][DEPTH_MAX] = {
    {7, 5},                         /* graph, initializer */
    {7, 15, 1},                     /* sparse initializer, values */
    {7, 15, 2},                     /* ... indices */
    {7, 1, 5, 5},                   /* node, attribute, tensor */
    {7, 1, 5, 10},                  /* ... one of its tensors */
    {7, 1, 5, 22, 1},               /* ... its sparse tensor */
    {7, 1, 5, 23, 2},               /* ... one of its sparse tensors */
    {7, 1, 5, 6, 5},                /* ... its graph: If, Loop, Scan */
    {7, 1, 5, 11, 5},               /* ... one of its graphs */
    {7, 1, 5, 6, 1, 5, 6, 1, 5, 5}, /* graphs within graphs */
    {25, 7, 5, 5},                  /* function, node */
    {25, 11, 5},                    /* function, attribute's default */
    {20, 1, 5},                     /* training */
    {20, 2, 1, 5, 5},
};

static void
check_whole__a_tensor_outside__is_found_anywhere(void **state)
{
    static const struct {
        const uint8_t *bytes;
        size_t len;
    } bad[] = {
        {external_data, sizeof external_data},
        {location, sizeof location},
        {location_wide, sizeof location_wide},
    };

    (void)state;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            kerf_detail why = {{0}};

            assert_int_equal(check(ways[w], bad[b].bytes, bad[b].len, &why),
                             KERF_ENOTSUP);
            assert_string_equal(why.text,
                                "the .onnx keeps weights outside the file: "
                                "save it with the weights inside");
        }
    }
}

static void
check_whole__weights_inside__are_fine(void **state)
{
    (void)state;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        assert_int_equal(check(ways[w], floats, sizeof floats, NULL), KERF_OK);
        assert_int_equal(
            check(ways[w], location_inside, sizeof location_inside, NULL),
            KERF_OK);
    }
}

/* The same numbers mean other things in other messages. */
static void
check_whole__fields_of_other_messages__are_fine(void **state)
{
    static const uint32_t others[][DEPTH_MAX] = {{0}, {7}, {7, 1}, {8}};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(
            check(others[i], external_data, sizeof external_data, NULL),
            KERF_OK);
}

static void
check_whole__what_cannot_be_walked__is_refused(void **state)
{
    static const uint8_t group[] = {0x6B, 0x6C};
    struct file f = {0};
    kerf_err err = KERF_OK;

    (void)state;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        assert_int_equal(check(ways[w], group, sizeof group, NULL),
                         KERF_ECORRUPT);
        assert_int_equal(
            check(ways[w], external_data, sizeof external_data - 1, NULL),
            KERF_ECORRUPT);
    }
    for (int i = 0; i < 60; i++) { /* graph, node, attribute, graph, ... */
        wrap(&f, 5);
        wrap(&f, 1);
        wrap(&f, i == 59 ? 7 : 6);
    }
    err = kerf_onnx_check_whole(f.bytes, f.len, NULL);
    assert_int_equal(err, KERF_ETOOBIG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_whole__a_tensor_outside__is_found_anywhere),
        cmocka_unit_test(check_whole__weights_inside__are_fine),
        cmocka_unit_test(check_whole__fields_of_other_messages__are_fine),
        cmocka_unit_test(check_whole__what_cannot_be_walked__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
