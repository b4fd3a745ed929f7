#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "model/units.h"

/* Bytes that grow. */
typedef struct bytes {
    uint8_t *data;
    size_t len, room;
} bytes;

static void
put(bytes *b, const void *data, size_t len)
{
    if (b->len + len >= b->room) {
        b->room = 2 * (b->len + len) + 64;
        b->data = realloc(b->data, b->room);
        assert_non_null(b->data);
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void
put_noise(bytes *b, uint64_t seed, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(kerf_rng_next(&seed) >> 32);

        put(b, &byte, 1);
    }
}

/* Floats as weights are, one record of a .pdiparams. */
static void
put_record(bytes *b, uint64_t seed, uint64_t count)
{
    uint8_t head[64];
    uint8_t desc[16];
    kerf_wr d = {.at = desc, .left = sizeof desc};
    kerf_wr w = {.at = head, .left = sizeof head};

    kerf_wr_u8(&d, 0x08); /* dtype */
    kerf_wr_u8(&d, 5);
    kerf_wr_u8(&d, 0x10); /* dims */
    kerf_wr_varint(&d, count);
    kerf_wr_zero(&w, 4 + 8 + 4);
    kerf_wr_u32(&w, (uint32_t)(d.at - desc));
    kerf_wr_bytes(&w, desc, (size_t)(d.at - desc));
    put(b, head, (size_t)(w.at - head));
    for (uint64_t i = 0; i < count; i++) {
        float f = 0.1f * (kerf_rng_unit(&seed) - 0.5f);

        put(b, &f, sizeof f);
    }
}

static kerf_file
units_of(const bytes *b)
{
    kerf_file f = {.size = b->len, .name = "x"};
    kerf_sha256 *hash = NULL;
    const uint8_t *at = b->data;

    assert_int_equal(kerf_units_make(&f, b->data, b->len), KERF_OK);
    assert_int_equal(kerf_sha256_new(&hash), KERF_OK);
    for (size_t i = 0; i < f.unit_count; i++) {
        uint8_t sum[KERF_SHA256_LEN];

        assert_in_range(f.unit[i].len, 1, KERF_UNIT_MOST);
        kerf_sha256_add(hash, at, f.unit[i].len);
        kerf_sha256_end(hash, sum);
        assert_memory_equal(sum, f.unit[i].sha256, sizeof sum);
        at += f.unit[i].len;
    }
    if (f.unit_count > 0)
        assert_ptr_equal(at, b->data + b->len);
    kerf_sha256_free(hash);
    return f;
}

/* Bytes of b that are in no unit of a. */
static uint64_t
count_new(const bytes *a, const bytes *b)
{
    kerf_file fa = units_of(a);
    kerf_file fb = units_of(b);
    uint64_t new = 0;

    for (size_t i = 0; i < fb.unit_count; i++) {
        bool found = false;

        for (size_t k = 0; k < fa.unit_count && !found; k++)
            found = memcmp(fa.unit[k].sha256, fb.unit[i].sha256,
                           KERF_SHA256_LEN) == 0;
        new += found ? 0 : fb.unit[i].len;
    }
    kerf_units_drop(&fa);
    kerf_units_drop(&fb);
    return new;
}

/* The n-th layer of a network: a big record and four small ones. */
static void
put_layer(bytes *b, uint64_t n)
{
    put_record(b, 10 * n, 60000 + 13 * n);
    for (uint64_t i = 1; i < 5; i++)
        put_record(b, 10 * n + i, 64);
}

static void
units__records_before_between_and_behind__only_those_are_new(void **state)
{
    bytes a = {0};
    bytes b = {0};
    uint64_t own;

    (void)state;
    for (uint64_t n = 1; n < 20; n++)
        put_layer(&a, n);
    put_layer(&b, 100);
    own = b.len;
    for (uint64_t n = 1; n < 20; n++) {
        size_t before;

        put_layer(&b, n);
        if (n % 5 == 0) {
            before = b.len;
            put_layer(&b, 100 + n);
            own += b.len - before;
        }
    }
    assert_in_range(count_new(&a, &b), own, own + own / 20 + 16384);
    assert_int_equal(count_new(&b, &b), 0);
    free(a.data);
    free(b.data);
}

static void
units__last_layer_retrained__only_that_is_new(void **state)
{
    bytes a = {0};
    bytes b = {0};
    size_t same;

    (void)state;
    for (uint64_t n = 1; n < 10; n++)
        put_layer(&a, n);
    put(&b, a.data, a.len);
    same = a.len;
    put_record(&a, 7777, 500000);
    put_record(&b, 8888, 500000);
    assert_in_range(count_new(&a, &b), b.len - same - 4096,
                    b.len - same + 16384);
    free(a.data);
    free(b.data);
}

/* Parameters of a few bytes each: the table stays small beside them. */
static void
units__many_small_records__are_few_units(void **state)
{
    bytes a = {0};
    kerf_file f;

    (void)state;
    for (uint64_t n = 0; n < 4000; n++)
        put_record(&a, n, 16);
    f = units_of(&a);
    assert_in_range(f.unit_count, 10, a.len / 2048);
    kerf_units_drop(&f);
    free(a.data);
}

static void
units__bytes_without_structure__are_found_again_where_they_moved(void **state)
{
    bytes a = {0};
    bytes b = {0};

    (void)state;
    put_noise(&a, 1, 300000);
    put(&b, a.data, 100000);
    put_noise(&b, 2, 777);
    put(&b, a.data + 100000, 200000);
    assert_in_range(count_new(&a, &b), 777, 777 + 40000);
    free(a.data);
    free(b.data);
}

static void
units__small_and_empty_files__have_none(void **state)
{
    bytes a = {0};
    kerf_file f = {.size = 0};

    (void)state;
    assert_int_equal(kerf_units_make(&f, (const uint8_t *)"", 0), KERF_OK);
    assert_null(f.unit);
    put_noise(&a, 1, 100);
    f = units_of(&a);
    assert_int_equal(f.unit_count, 0);
    free(a.data);
}

/* 40 MB of bytes that are all the same, and 40 MB of records of 40 bytes. */
static void
units__files_that_would_have_too_many__have_longer_ones(void **state)
{
    bytes a = {0};
    bytes record = {0};
    kerf_file f;

    (void)state;
    put_record(&record, 5, 1);
    a.len = record.len * 1500000;
    a.data = malloc(a.len);
    assert_non_null(a.data);
    for (size_t i = 0; i < 1500000; i++) {
        memcpy(a.data + i * record.len, record.data, record.len);
        memcpy(a.data + (i + 1) * record.len - 4, &i, 4);
    }
    f = units_of(&a);
    assert_in_range(f.unit_count, 2, KERF_UNITS_MOST);
    kerf_units_drop(&f);
    memset(a.data, 0, a.len);
    f = units_of(&a);
    assert_in_range(f.unit_count, 2, KERF_UNITS_MOST);
    kerf_units_drop(&f);
    free(a.data);
    free(record.data);
}

static void
units_text__parsed__is_the_same(void **state)
{
    bytes a = {0};
    kerf_file f, back = {0};
    char *text;

    (void)state;
    put_noise(&a, 3, 100000);
    f = units_of(&a);
    text = kerf_units_text(&f);
    assert_non_null(text);
    back.size = f.size;
    assert_int_equal(kerf_units_parse(&back, text, strlen(text), NULL),
                     KERF_OK);
    assert_int_equal(back.unit_count, f.unit_count);
    assert_memory_equal(back.unit, f.unit, f.unit_count * sizeof *f.unit);
    free(text);
    free(a.data);
    kerf_units_drop(&f);
    kerf_units_drop(&back);
}

/* One unit of len bytes, of a file of size. */
static kerf_err
parse_one(uint64_t size, uint32_t len, size_t cut)
{
    uint8_t table[36] = {0};
    char text[KERF_BASE64_LEN(36) + 1];
    kerf_file f = {.size = size, .name = "x"};
    kerf_detail why;
    kerf_err err;

    memcpy(table, &len, 4);
    kerf_base64(text, table, sizeof table);
    err = kerf_units_parse(&f, text, strlen(text) - cut, &why);
    assert_true(err == KERF_OK || f.unit == NULL);
    kerf_units_drop(&f);
    return err;
}

static void
units_parse__tables_that_do_not_fit__are_corrupt(void **state)
{
    kerf_file f = {.size = 10, .name = "x"};

    (void)state;
    assert_int_equal(parse_one(10, 10, 0), KERF_OK);
    assert_int_equal(parse_one(10, 9, 0), KERF_ECORRUPT);
    assert_int_equal(parse_one(10, 11, 0), KERF_ECORRUPT);
    assert_int_equal(parse_one(0, 0, 0), KERF_ECORRUPT);
    assert_int_equal(parse_one(KERF_UNIT_MOST + 1, KERF_UNIT_MOST + 1, 0),
                     KERF_ECORRUPT);
    for (size_t cut = 1; cut < 48; cut++)
        assert_int_equal(parse_one(10, 10, cut), KERF_ECORRUPT);
    assert_int_equal(kerf_units_parse(&f, "", 0, NULL), KERF_ECORRUPT);
    assert_int_equal(kerf_units_parse(&f, "!!!!", 4, NULL), KERF_ECORRUPT);
}

static void
base64__all_lengths__come_back(void **state)
{
    uint8_t data[20];
    uint8_t back[24];
    char text[32];
    size_t len;

    (void)state;
    for (size_t n = 0; n <= sizeof data; n++) {
        uint64_t seed = n;

        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)(kerf_rng_next(&seed) >> 11);
        kerf_base64(text, data, n);
        assert_int_equal(strlen(text), KERF_BASE64_LEN(n));
        assert_true(kerf_unbase64(back, &len, text, strlen(text)));
        assert_int_equal(len, n);
        assert_memory_equal(back, data, n);
    }
    kerf_base64(text, (const uint8_t *)"kerf!", 5);
    assert_string_equal(text, "a2VyZiE=");
}

static void
unbase64__other_text__is_refused(void **state)
{
    static const char *const bad[] = {
        "A",    "AA",   "AAA",  "A===",  "====",     "AB==", "AAB=",
        "A=AA", "AA=A", "A A=", "AA\n=", "AA==AAAA", "-_AA"};
    uint8_t back[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(kerf_unbase64(back, &len, bad[i], strlen(bad[i])));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            units__records_before_between_and_behind__only_those_are_new),
        cmocka_unit_test(units__last_layer_retrained__only_that_is_new),
        cmocka_unit_test(units__many_small_records__are_few_units),
        cmocka_unit_test(
            units__bytes_without_structure__are_found_again_where_they_moved),
        cmocka_unit_test(units__small_and_empty_files__have_none),
        cmocka_unit_test(
            units__files_that_would_have_too_many__have_longer_ones),
        cmocka_unit_test(units_text__parsed__is_the_same),
        cmocka_unit_test(units_parse__tables_that_do_not_fit__are_corrupt),
        cmocka_unit_test(base64__all_lengths__come_back),
        cmocka_unit_test(unbase64__other_text__is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
