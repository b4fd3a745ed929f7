#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "codec/ans.h"

#define HEAD 12   /* kind, max, ..., before what planes add */
#define WEIGHTS 5 /* bytes of a plane's */
#define BACK 4    /* of these, how far the other plane is */
#define KIND_PLANES 2

static kerf_ans *ans;

static int
setup(void **state)
{
    (void)state;
    return kerf_ans_new(&ans) == KERF_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    kerf_ans_free(ans);
    return 0;
}

/* Of exactly their lengths, so that ASan sees what is beyond. */
struct coded {
    kerf_ans_shape shape;
    size_t count, len;
    uint8_t *v, *blob;
};

static void
coded_free(struct coded *c)
{
    free(c->v);
    free(c->blob);
}

static uint8_t
clip(int n, int most)
{
    return (uint8_t)(n < 0 ? 0 : n > most ? most : n);
}

/* Planes that are smooth and alike by pairs, with noise. */
static uint8_t *
values_of(const kerf_ans_shape *s, size_t count, uint64_t seed)
{
    uint8_t *v = malloc(count);
    int spread = s->max / 4 / 2 * 2 + 2;

    assert_non_null(v);
    for (size_t i = 0; i < count; i++) {
        int noise = (int)(kerf_rng_next(&seed) % (unsigned)(spread + 1));
        int left = i > 0 ? v[i - 1] : s->zero;
        int up = i >= s->width ? v[i - s->width] : left;
        bool is_second = i / s->plane % 2 == 1;

        v[i] = clip(is_second ? v[i - s->plane] + noise % 3 - 1
                              : (left + up) / 2 + noise - spread / 2,
                    s->max);
    }
    return v;
}

static struct coded
code(const kerf_ans_shape *shape, size_t count, uint64_t seed)
{
    size_t cap = 2 * count + 8192;
    struct coded c = {.shape = *shape, .count = count};
    kerf_ans_shape values = *shape;
    uint8_t *scratch = malloc(kerf_ans_scratch(count));
    uint8_t *out = malloc(cap);

    if (values.plane == 0)
        values.plane = 1024;
    c.v = values_of(&values, count, seed);
    assert_true(scratch && out);
    c.len = kerf_ans_encode(ans, shape, c.v, count, scratch, out, cap);
    assert_true(c.len > 0);
    c.blob = malloc(c.len + 1);
    assert_non_null(c.blob);
    memcpy(c.blob, out, c.len);
    free(scratch);
    free(out);
    return c;
}

static bool
decode(const struct coded *c, size_t len, uint8_t *back)
{
    bool right;
    uint8_t *copy = malloc(len + 1);
    uint8_t *in;

    assert_non_null(copy);
    in = copy + 1; /* at no even address */
    memcpy(in, c->blob, len);
    right = kerf_ans_decode(ans, in, len, back, c->count);
    free(copy);
    return right;
}

static void
planes__every_shape__come_back(void **state)
{
    static const kerf_ans_shape shapes[] = {
        {KERF_ANS_LOG, 15, 0, 32, 1024},    {KERF_ANS_LOG, 60, 20, 44, 1936},
        {KERF_ANS_LOG, 255, 0, 17, 1037},   {KERF_ANS_LOG, 255, 255, 33, 1056},
        {KERF_ANS_LOG, 255, 128, 16, 4096}, {KERF_ANS_LOG, 3, 1, 31, 1054},
        {KERF_ANS_LOG, 200, 0, 1024, 2048}, {KERF_ANS_LOG, 1, 0, 600, 1200}};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t planes = 4; planes <= 80; planes *= 4 + planes % 3) {
            size_t count = planes * shapes[i].plane;
            struct coded c;
            uint8_t *back = malloc(count);

            assert_non_null(back);
            assert_true(kerf_ans_has_planes(&shapes[i], count));
            c = code(&shapes[i], count, i + planes);
            assert_int_equal(c.blob[0], KIND_PLANES);
            assert_true(decode(&c, c.len, back));
            assert_memory_equal(back, c.v, count);
            free(back);
            coded_free(&c);
        }
    }
}

static void
planes__odd_numbers_and_small_ones__are_not_used(void **state)
{
    const kerf_ans_shape shape = {KERF_ANS_LOG, 15, 0, 32, 1024};
    kerf_ans_shape odd = shape;

    (void)state;
    assert_true(kerf_ans_has_planes(&shape, (size_t)8 * 1024));
    assert_false(kerf_ans_has_planes(&shape, (size_t)6 * 1024));
    assert_false(kerf_ans_has_planes(&shape, 0));
    odd.plane = 0;
    assert_false(kerf_ans_has_planes(&odd, (size_t)8 * 1024));
    odd.plane = 512;
    assert_false(kerf_ans_has_planes(&odd, (size_t)8 * 1024));
    odd.plane = 1030; /* no whole rows */
    assert_false(kerf_ans_has_planes(&odd, (size_t)8 * 1030));
    odd = (kerf_ans_shape){KERF_ANS_LOG, 15, 0, 1025, 2050};
    assert_false(kerf_ans_has_planes(&odd, (size_t)8 * 2050));
    odd = (kerf_ans_shape){KERF_ANS_LOG, 15, 0, 15, 1500};
    assert_false(kerf_ans_has_planes(&odd, (size_t)8 * 1500));
}

static void
planes__alike_by_pairs__take_less(void **state)
{
    kerf_ans_shape shape = {KERF_ANS_LOG, 15, 0, 32, 1024};
    const size_t count = (size_t)32 * 1024;
    struct coded with = code(&shape, count, 7);
    struct coded without;

    (void)state;
    shape.plane = 0;
    without = code(&shape, count, 7);
    assert_memory_equal(with.v, without.v, count);
    print_message("%zu bytes, %zu without planes\n", with.len, without.len);
    assert_true(with.len * 20 <= without.len * 19);
    coded_free(&with);
    coded_free(&without);
}

static void
decode__truncated__is_none(void **state)
{
    const kerf_ans_shape shape = {KERF_ANS_LOG, 15, 3, 32, 1024};
    struct coded c = code(&shape, (size_t)8 * 1024, 1);
    uint8_t *back = malloc(c.count);

    (void)state;
    assert_non_null(back);
    for (size_t len = 0; len < c.len; len += len < 600 ? 1 : 37)
        assert_false(decode(&c, len, back));
    free(back);
    coded_free(&c);
}

/* Every bit before the streams: an error, or other values, but no harm. */
static void
decode__bits_flipped__is_safe(void **state)
{
    const kerf_ans_shape shape = {KERF_ANS_LOG, 60, 0, 32, 1024};
    struct coded c = code(&shape, (size_t)8 * 1024, 2);
    uint8_t *back = malloc(c.count);
    size_t taken = 0;

    (void)state;
    assert_non_null(back);
    for (size_t bit = 0; bit < (size_t)400 * 8; bit++) {
        c.blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
        taken += decode(&c, c.len, back);
        c.blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    print_message("%zu taken\n", taken);
    assert_true(decode(&c, c.len, back));
    assert_memory_equal(back, c.v, c.count);
    free(back);
    coded_free(&c);
}

static void
decode__weights_of_no_plane__is_none(void **state)
{
    const kerf_ans_shape shape = {KERF_ANS_LOG, 15, 0, 32, 1024};
    struct coded c = code(&shape, (size_t)8 * 1024, 3);
    uint8_t *back = malloc(c.count);
    uint8_t *first = c.blob + HEAD + 4; /* after the size of a plane */
    uint8_t *second = first + WEIGHTS;

    (void)state;
    assert_non_null(back);
    assert_int_equal(first[BACK], 0);
    assert_int_equal(second[BACK], 1); /* they are alike */
    second[BACK] = 2;
    assert_false(decode(&c, c.len, back));
    second[BACK] = 1;
    first[BACK] = 1; /* there is none before */
    assert_false(decode(&c, c.len, back));
    first[BACK] = 0;
    for (size_t k = 0; k < 3; k++) {
        uint8_t was = first[k];

        first[k] = 64;
        assert_false(decode(&c, c.len, back));
        first[k] = was;
    }
    assert_true(decode(&c, c.len, back));
    free(back);
    coded_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes__every_shape__come_back),
        cmocka_unit_test(planes__odd_numbers_and_small_ones__are_not_used),
        cmocka_unit_test(planes__alike_by_pairs__take_less),
        cmocka_unit_test(decode__truncated__is_none),
        cmocka_unit_test(decode__bits_flipped__is_safe),
        cmocka_unit_test(decode__weights_of_no_plane__is_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
