#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/rng.h"
#include "codec/ans.h"
#include "codec_bounds.h"
#include "golden_hex.h"
#include "kerf/codec.h"

#define CHECK_AT 4

static kerf_codec *codec;

static int
setup(void **state)
{
    (void)state;
    return kerf_codec_new(&codec) == KERF_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    kerf_codec_free(codec);
    return 0;
}

/* Sum of uniform numbers: about normal, deviation 1. */
static float
normal(uint64_t *rng)
{
    float sum = -6;

    for (int i = 0; i < 12; i++)
        sum += kerf_rng_unit(rng);
    return sum;
}

enum kind {
    NORMAL,
    RELU,
    RELU6,
    SMOOTH,
    CONSTANT,
    TWO,
    SHIFTED,
    TINY,
    HUGE_RANGE,
    WEIRD,
    NOT_FINITE,
    BITS,
    CHANNELS,
    SPARSE,
    ECHO,
    KINDS
};

static float
weird(uint64_t *rng)
{
    static const float some[] = {0.0f,         -0.0f,    FLT_MIN, -FLT_MIN,
                                 FLT_MIN / 64, 1e-45f,   65504.f, 1.0f,
                                 -1e-45f,      -FLT_MIN, 1e10f,   3.0f};

    return some[kerf_rng_next(rng) % (sizeof some / sizeof *some)];
}

static float
make(enum kind kind, size_t i, float last, uint64_t *rng)
{
    uint32_t bits;
    float x = normal(rng);
    size_t channel = i / 1024;

    switch (kind) {
    case RELU:
        return x > 0 ? x : 0;
    case RELU6:
        x = x * 3 + 2;
        return x < 0 ? 0 : x > 6 ? 6 : x;
    case SMOOTH:
        x = last * 0.95f + x * 0.2f;
        return x > 0 ? x : 0;
    case CONSTANT:
        return -2.5f;
    case TWO:
        return x > 0 ? 1.0f : -1.0f;
    case SHIFTED:
        return 1000.0f + x;
    case TINY:
        return x * 1e-20f;
    case HUGE_RANGE:
        return x * 1e38f / 7;
    case WEIRD:
        return weird(rng);
    case NOT_FINITE:
        return i % 97 == 5    ? INFINITY
               : i % 97 == 6  ? -INFINITY
               : i % 97 == 50 ? NAN
                              : x + 8;
    case BITS:
        bits = (uint32_t)kerf_rng_next(rng);
        memcpy(&x, &bits, sizeof x);
        return x;
    case SPARSE:
        return x > 2.2f ? x : 0;
    case ECHO: /* the same every 1056 values, but for noise */
        x = (float)(i % 1056 * 37 % 101) / 25 + x * 0.2f - 2;
        return x > 0 ? x : 0;
    case CHANNELS:
        return x * (float)(1 + channel * 10) - (float)channel;
    default:
        return x;
    }
}

static kerf_tensor
tensor_of(enum kind kind, const kerf_shape *shape, uint64_t seed)
{
    kerf_tensor t;
    float last = 0;

    assert_int_equal(kerf_tensor_alloc(&t, KERF_F32, shape), KERF_OK);
    for (size_t i = 0; i < t.bytes / sizeof last; i++)
        ((float *)t.data)[i] = last = make(kind, i, last, &seed);
    return t;
}

static const kerf_shape shapes[] = {
    {.rank = 0},
    {.rank = 1, .dims = {0}},
    {.rank = 1, .dims = {1}},
    {.rank = 1, .dims = {7}},
    {.rank = 2, .dims = {3, 5}},
    {.rank = 3, .dims = {2, 0, 4}},
    {.rank = 4, .dims = {1, 16, 8, 8}},
    {.rank = 4, .dims = {2, 4, 33, 31}},
    {.rank = 4, .dims = {1, 8, 32, 32}},
    {.rank = 4, .dims = {1, 9, 41, 37}},
    {.rank = 4, .dims = {1, 24, 56, 56}},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static void
round_trip(int id, const kerf_tensor *t)
{
    kerf_tensor back;
    kerf_detail why;
    size_t cap = t->bytes;
    uint8_t *blob = malloc(cap + 1);
    size_t len = 0;
    kerf_err err;

    assert_non_null(blob);
    assert_int_equal(kerf_tensor_alloc(&back, KERF_F32, &t->shape), KERF_OK);
    memset(back.data, 0xa5, back.bytes);
    blob[cap] = 0x5a;
    err = kerf_codec_encode(codec, (kerf_codec_id)id, t, blob, cap, &len);
    assert_int_equal(blob[cap], 0x5a);
    if (err == KERF_OK) {
        assert_true(len <= cap);
        assert_int_equal(
            kerf_codec_decode(codec, (kerf_codec_id)id, blob, len, &back, &why),
            KERF_OK);
        check_back(id, t, &back);
    } else {
        assert_int_equal(err, KERF_ETOOBIG);
    }
    free(blob);
    kerf_tensor_free(&back);
}

static void
codec__every_kind_and_shape__comes_back_within_its_bound(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        for (int kind = 0; kind < KINDS; kind++) {
            kerf_tensor t = tensor_of((enum kind)kind, &shapes[s], s + 1);

            for (int id = 1; id < KERF_CODEC_COUNT; id++)
                round_trip(id, &t);
            kerf_tensor_free(&t);
        }
    }
}

/* Decodes t by way of blocks of `step` grains into back. False: a block does
 * not get smaller. */
static bool
by_blocks(kerf_codec_id id, const kerf_tensor *t, size_t step, uint8_t *blob,
          kerf_tensor *back)
{
    size_t count = t->bytes / sizeof(float);
    size_t each = step * kerf_codec_grain(id, &t->shape);

    assert_int_equal(kerf_codec_begin(codec, id, t), KERF_OK);
    for (size_t at = 0; at < count; at += each) {
        size_t n = count - at < each ? count - at : each;
        kerf_tensor block = kerf_codec_block(id, back, at, n);
        size_t len = 0;

        if (kerf_codec_encode_block(codec, at, n, blob, n * sizeof(float) - 1,
                                    &len) != KERF_OK)
            return false;
        assert_int_equal(kerf_codec_decode(codec, id, blob, len, &block, NULL),
                         KERF_OK);
    }
    return true;
}

/* False: not to be compared, as blocks or all of it get no smaller. */
static bool
check_blocks(kerf_codec_id id, const kerf_tensor *t)
{
    kerf_tensor whole;
    kerf_tensor parts;
    uint8_t *blob = malloc(t->bytes);
    size_t step = kerf_codec_grain(id, &t->shape) > 1 ? 3 : 9001;
    size_t len = 0;
    bool fits;

    assert_non_null(blob);
    assert_int_equal(kerf_tensor_alloc(&whole, KERF_F32, &t->shape), KERF_OK);
    assert_int_equal(kerf_tensor_alloc(&parts, KERF_F32, &t->shape), KERF_OK);
    fits = by_blocks(id, t, step, blob, &parts) &&
           kerf_codec_encode(codec, id, t, blob, t->bytes, &len) == KERF_OK;
    if (fits) {
        assert_int_equal(kerf_codec_decode(codec, id, blob, len, &whole, NULL),
                         KERF_OK);
        assert_memory_equal(whole.data, parts.data, t->bytes);
    }
    free(blob);
    kerf_tensor_free(&whole);
    kerf_tensor_free(&parts);
    return fits;
}

static void
encode_block__every_kind__gives_the_values_of_one_blob(void **state)
{
    static const kerf_shape some[] = {{.rank = 2, .dims = {100, 200}},
                                      {.rank = 4, .dims = {2, 4, 33, 31}},
                                      {.rank = 4, .dims = {1, 9, 41, 37}}};
    size_t compared = 0;
    size_t all = 0;

    (void)state;
    for (size_t s = 0; s < sizeof some / sizeof *some; s++) {
        for (int kind = 0; kind < KINDS; kind++) {
            kerf_tensor t = tensor_of((enum kind)kind, &some[s], s + 1);

            for (int id = 1; id < KERF_CODEC_COUNT; id++, all++)
                compared += check_blocks((kerf_codec_id)id, &t) ? 1 : 0;
            kerf_tensor_free(&t);
        }
    }
    print_message("%zu of %zu\n", compared, all);
    assert_true(compared > all / 4 * 3);
}

/* Packs a smooth tensor; the caller frees *blob. */
static size_t
pack(int id, const kerf_shape *shape, uint8_t **blob)
{
    kerf_tensor t = tensor_of(SMOOTH, shape, 3);
    size_t len = 0;

    *blob = malloc(t.bytes);
    assert_non_null(*blob);
    assert_int_equal(
        kerf_codec_encode(codec, (kerf_codec_id)id, &t, *blob, t.bytes, &len),
        KERF_OK);
    kerf_tensor_free(&t);
    return len;
}

static void
encode__activations__get_as_small_as_promised(void **state)
{
    const kerf_shape shape = {.rank = 4, .dims = {1, 24, 56, 56}};
    const struct {
        kerf_codec_id id;
        size_t percent; /* of the f32 bytes, at most */
    } want[] = {{KERF_CODEC_EXACT, 71}, {KERF_CODEC_F16, 36},
                {KERF_CODEC_BF16, 28},  {KERF_CODEC_Q8, 20},
                {KERF_CODEC_Q6, 14},    {KERF_CODEC_Q4, 8},
                {KERF_CODEC_Q2, 3},     {KERF_CODEC_Q4C, 8}};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        uint8_t *blob = NULL;
        size_t len = pack(want[i].id, &shape, &blob);

        print_message("%s: %zu of %d bytes\n",
                      kerf_codec_name((uint8_t)want[i].id), len,
                      4 * 24 * 56 * 56);
        assert_true(len * 100 <= want[i].percent * 4 * 24 * 56 * 56);
        free(blob);
    }
}

static const struct {
    const char *name;
    kerf_codec_id id;
    enum kind kind;
    kerf_shape shape;
} goldens[] = {
    {"one", KERF_CODEC_Q8, CONSTANT, {.rank = 2, .dims = {3, 5}}},
    {"exact", KERF_CODEC_EXACT, SMOOTH, {.rank = 3, .dims = {2, 5, 7}}},
    {"exact_masks", KERF_CODEC_EXACT, TWO, {.rank = 2, .dims = {128, 65}}},
    {"f16", KERF_CODEC_F16, SMOOTH, {.rank = 3, .dims = {2, 5, 7}}},
    {"bf16", KERF_CODEC_BF16, SMOOTH, {.rank = 3, .dims = {2, 5, 7}}},
    {"q8", KERF_CODEC_Q8, SMOOTH, {.rank = 3, .dims = {2, 5, 7}}},
    {"q4c", KERF_CODEC_Q4C, NORMAL, {.rank = 3, .dims = {1, 4, 60}}},
    {"q5c_scales", KERF_CODEC_Q5C, SMOOTH, {.rank = 3, .dims = {2, 4, 60}}},
    {"q3c_long", KERF_CODEC_Q3C, RELU, {.rank = 4, .dims = {1, 3, 50, 60}}},
    {"q3s_long", KERF_CODEC_Q3S, RELU, {.rank = 4, .dims = {1, 3, 50, 60}}},
    {"q4c_planes", KERF_CODEC_Q4C, ECHO, {.rank = 4, .dims = {1, 8, 33, 32}}},
    {"q2_long", KERF_CODEC_Q2, SMOOTH, {.rank = 1, .dims = {8199}}},
    {"f16_long", KERF_CODEC_F16, SPARSE, {.rank = 1, .dims = {8193}}},
};

/* Frozen: what we write is what stands there, and it is read as what was
 * meant. A difference is a change of the wire (docs/PROTOCOL.md). */
static void
blobs__are_the_golden_ones(void **state)
{
    enum { MOST = 65536 };
    uint8_t *want = malloc(MOST);
    uint8_t *got = malloc(MOST);

    (void)state;
    assert_true(want != NULL && got != NULL);
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        kerf_tensor t = tensor_of(goldens[i].kind, &goldens[i].shape, 7);
        size_t want_len;
        size_t len = 0;
        kerf_tensor back;
        char name[64];

        (void)snprintf(name, sizeof name, "blobs/%s", goldens[i].name);
        print_message("%s\n", name);
        want_len = read_hex(want, MOST, name);
        assert_int_equal(
            kerf_codec_encode(codec, goldens[i].id, &t, got, MOST, &len),
            KERF_OK);
        assert_int_equal(len, want_len);
        assert_memory_equal(got, want, len);
        assert_int_equal(kerf_tensor_alloc(&back, KERF_F32, &t.shape), KERF_OK);
        assert_int_equal(kerf_codec_decode(codec, goldens[i].id, want, want_len,
                                           &back, NULL),
                         KERF_OK);
        check_back(goldens[i].id, &t, &back);
        kerf_tensor_free(&t);
        kerf_tensor_free(&back);
    }
    free(want);
    free(got);
}

static void
decode__every_truncation_and_bit_flip__is_corrupt(void **state)
{
    const int ids[] = {KERF_CODEC_EXACT, KERF_CODEC_F16, KERF_CODEC_Q8,
                       KERF_CODEC_Q3C};

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const kerf_shape *shape = &shapes[6];
        kerf_tensor t;
        kerf_detail why;
        uint8_t *blob = NULL;
        size_t len = pack(ids[i], shape, &blob);

        assert_int_equal(kerf_tensor_alloc(&t, KERF_F32, shape), KERF_OK);
        for (size_t n = 0; n < len; n++)
            assert_int_equal(kerf_codec_decode(codec, (kerf_codec_id)ids[i],
                                               blob, n, &t, &why),
                             KERF_ECORRUPT);
        for (size_t bit = 0; bit < len * 8; bit++) {
            blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(kerf_codec_decode(codec, (kerf_codec_id)ids[i],
                                               blob, len, &t, &why),
                             KERF_ECORRUPT);
            blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(blob);
        kerf_tensor_free(&t);
    }
}

static void
seal(uint8_t *blob, size_t len)
{
    kerf_wr w = {.at = blob + CHECK_AT, .left = 4};

    kerf_wr_u32(&w, (uint32_t)kerf_xxh3_seed(blob + CHECK_AT + 4,
                                             len - CHECK_AT - 4,
                                             kerf_xxh3(blob, CHECK_AT)));
}

/* A liar puts the check right: whatever comes of it, nothing breaks. */
static void
decode__changed_and_sealed_again__is_safe(void **state)
{
    static const int ids[] = {KERF_CODEC_EXACT, KERF_CODEC_F16, KERF_CODEC_BF16,
                              KERF_CODEC_Q8,    KERF_CODEC_Q4,  KERF_CODEC_Q5C};
    uint64_t rng = 5;
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof ids / sizeof *ids; i++) {
        const kerf_shape *shape = &shapes[i % 2 == 0 ? 6 : 9];
        kerf_tensor t;
        kerf_detail why;
        uint8_t *blob = NULL;
        size_t len = pack(ids[i / 2], shape, &blob);

        assert_int_equal(kerf_tensor_alloc(&t, KERF_F32, shape), KERF_OK);
        for (int n = 0; n < 2000; n++) {
            /* of exactly its length, so that ASan sees a read past it */
            size_t cut = n % 4 == 0 ? 8 + kerf_rng_next(&rng) % (len - 8) : len;
            uint8_t *copy = malloc(cut);
            size_t reach = n % 2 == 0 || cut < 64 ? cut : 64;

            assert_non_null(copy);
            memcpy(copy, blob, cut);
            for (int k = 0; k <= n % 3; k++)
                copy[kerf_rng_next(&rng) % reach] =
                    (uint8_t)kerf_rng_next(&rng);
            seal(copy, cut);
            taken += kerf_codec_decode(codec, (kerf_codec_id)ids[i / 2], copy,
                                       cut, &t, &why) == KERF_OK;
            free(copy);
        }
        free(blob);
        kerf_tensor_free(&t);
    }
    print_message("%zu taken\n", taken);
}

static void
decode__another_codec_or_count__is_corrupt(void **state)
{
    kerf_shape shape = {.rank = 4, .dims = {1, 16, 8, 8}};
    kerf_tensor t;
    kerf_detail why;
    uint8_t *blob = NULL;
    size_t len = pack(KERF_CODEC_Q8, &shape, &blob);

    (void)state;
    assert_int_equal(kerf_tensor_alloc(&t, KERF_F32, &shape), KERF_OK);
    assert_int_equal(
        kerf_codec_decode(codec, KERF_CODEC_Q7, blob, len, &t, &why),
        KERF_ECORRUPT);
    t.bytes -= 4;
    assert_int_equal(
        kerf_codec_decode(codec, KERF_CODEC_Q8, blob, len, &t, &why),
        KERF_ECORRUPT);
    assert_non_null(strstr(why.text, "1024"));
    t.bytes += 4;
    t.dtype = KERF_I32;
    assert_int_equal(
        kerf_codec_decode(codec, KERF_CODEC_Q8, blob, len, &t, &why),
        KERF_ENOTSUP);
    assert_int_equal(
        kerf_codec_encode(codec, KERF_CODEC_Q8, &t, blob, len, &len),
        KERF_ENOTSUP);
    t.dtype = KERF_F32;
    assert_int_equal(
        kerf_codec_decode(codec, KERF_CODEC_RAW, blob, len, &t, &why),
        KERF_ENOTSUP);
    free(blob);
    kerf_tensor_free(&t);
}

static void
encode__no_room__is_too_big_and_writes_nothing_past_it(void **state)
{
    kerf_tensor t = tensor_of(SMOOTH, &shapes[10], 3);
    uint8_t *blob = malloc(t.bytes + 1);
    size_t len = 0;

    (void)state;
    assert_non_null(blob);
    for (size_t cap = 0; cap < t.bytes; cap += cap < 64 ? 1 : 4093) {
        uint8_t *exact = malloc(cap + 1); /* ASan looks at its end */

        assert_non_null(exact);
        for (int id = 1; id < KERF_CODEC_COUNT; id += 3) {
            kerf_err err = kerf_codec_encode(codec, (kerf_codec_id)id, &t,
                                             exact, cap, &len);

            assert_true(err == KERF_ETOOBIG || (err == KERF_OK && len <= cap));
        }
        free(exact);
    }
    free(blob);
    kerf_tensor_free(&t);
}

static void
ans__every_shape_of_values__comes_back(void **state)
{
    static const kerf_ans_shape ans_shapes[] = {
        {KERF_ANS_LOG, 255, 0, 0, 0},     {KERF_ANS_LOG, 255, 128, 0, 0},
        {KERF_ANS_LOG, 255, 255, 0, 0},   {KERF_ANS_LOG, 15, 3, 0, 0},
        {KERF_ANS_LOG, 3, 0, 0, 0},       {KERF_ANS_LOG, 100, 90, 0, 0},
        {KERF_ANS_LOG, 200, 20, 0, 0},    {KERF_ANS_EIGHTS, 255, 0, 0, 0},
        {KERF_ANS_EIGHTS, 40, 0, 0, 0},   {KERF_ANS_LOG, 255, 0, 1, 0},
        {KERF_ANS_LOG, 255, 130, 56, 0},  {KERF_ANS_LOG, 15, 3, 7, 0},
        {KERF_ANS_LOG, 3, 0, 4000000, 0}, {KERF_ANS_EIGHTS, 255, 0, 33, 0},
        {KERF_ANS_LOG, 15, 3, 32, 1024},  {KERF_ANS_LOG, 255, 130, 40, 1200}};
    enum { MOST = 70000 };
    kerf_ans *a = NULL;
    uint8_t *v = malloc(MOST);
    uint8_t *back = malloc(MOST);
    uint8_t *scratch = malloc(kerf_ans_scratch(MOST));
    uint8_t *out = malloc((size_t)2 * MOST);
    uint64_t rng = 11;

    (void)state;
    assert_true(v && back && scratch && out);
    assert_int_equal(kerf_ans_new(&a), KERF_OK);
    for (size_t s = 0; s < sizeof ans_shapes / sizeof *ans_shapes; s++) {
        const kerf_ans_shape *shape = &ans_shapes[s];

        for (size_t n = 4; n < MOST; n = n * 3 + 1) {
            size_t len;

            for (size_t i = 0; i < n; i++) {
                unsigned x = (unsigned)(kerf_rng_next(&rng) >> 33);

                x = i % 5 == 0 ? x : x & x >> 8 & 0xff;
                x %= shape->max + 1u;
                if (shape->kind == KERF_ANS_EIGHTS && x < 8)
                    x = 0;
                v[i] = (uint8_t)x;
            }
            len =
                kerf_ans_encode(a, shape, v, n, scratch, out, (size_t)2 * MOST);
            assert_true(len > 0);
            assert_true(kerf_ans_decode(a, out, len, back, n));
            assert_memory_equal(v, back, n);
        }
    }
    kerf_ans_free(a);
    free(v);
    free(back);
    free(scratch);
    free(out);
}

static void
codec_name__every_id__is_read_back(void **state)
{
    kerf_codec_id id;

    (void)state;
    for (int i = 0; i < KERF_CODEC_COUNT; i++) {
        assert_true(kerf_codec_from_name(kerf_codec_name((uint8_t)i), &id));
        assert_int_equal(id, i);
    }
    assert_string_equal(kerf_codec_name(KERF_CODEC_COUNT), "?");
    assert_false(kerf_codec_from_name("q9", &id));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            codec__every_kind_and_shape__comes_back_within_its_bound),
        cmocka_unit_test(
            encode_block__every_kind__gives_the_values_of_one_blob),
        cmocka_unit_test(encode__activations__get_as_small_as_promised),
        cmocka_unit_test(blobs__are_the_golden_ones),
        cmocka_unit_test(decode__every_truncation_and_bit_flip__is_corrupt),
        cmocka_unit_test(decode__changed_and_sealed_again__is_safe),
        cmocka_unit_test(decode__another_codec_or_count__is_corrupt),
        cmocka_unit_test(
            encode__no_room__is_too_big_and_writes_nothing_past_it),
        cmocka_unit_test(ans__every_shape_of_values__comes_back),
        cmocka_unit_test(codec_name__every_id__is_read_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
