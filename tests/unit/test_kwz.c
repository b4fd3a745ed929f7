/* Files of every kind come back as they were, small where they can be; what is
 * cut short or damaged is an error. */
#include "kwz_helpers.h"

#include "base/rng.h"
#include "codec/plane.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MOST ((size_t)64 << 20)

/* About normal, with sigma 0.05, as weights are. */
static float
weight(uint64_t *seed)
{
    double sum = 0;

    for (int i = 0; i < 12; i++)
        sum += (double)kerf_rng_next(seed) * 0x1p-64;
    return (float)((sum - 6.0) * 0.05);
}

static float *
weights(size_t count, uint64_t seed)
{
    float *w = malloc((count + 1) * sizeof *w);

    assert_non_null(w);
    for (size_t i = 0; i < count; i++)
        w[i] = weight(&seed);
    return w;
}

/* Packs, unpacks, compares; the packed length. */
static size_t
round_trip(const void *data, size_t len, const kerf_segment *segments,
           size_t count)
{
    kwz_buf packed = kwz_pack(data, len, segments, count);
    kwz_buf back = {0};
    size_t packed_len = packed.len;

    kwz_add(&back, NULL, 0);
    assert_int_equal(kwz_unpack(&back, packed.data, packed.len, MOST), KERF_OK);
    assert_int_equal(back.len, len);
    if (len > 0)
        assert_memory_equal(back.data, data, len);
    free(packed.data);
    free(back.data);
    return packed_len;
}

static size_t
as_tensor(const void *data, size_t len, kerf_dtype dtype)
{
    kerf_segment s = {.len = len, .dtype = dtype};

    return round_trip(data, len, &s, 1);
}

static void
round_trip__small_and_empty__a_few_bytes_more(void **state)
{
    uint8_t data[600];
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)kerf_rng_next(&seed);
    for (size_t len = 0; len <= sizeof data; len++)
        assert_in_range(round_trip(data, len, NULL, 0), len + 10, len + 12);
}

static void
round_trip__each_dtype_and_length__same_bytes(void **state)
{
    const size_t counts[] = {1, 2, 15, 16, 17, 1000, 1024, 5000, 65536, 70001};
    float *w = weights((size_t)2 * 70001, 2);

    (void)state;
    for (kerf_dtype dtype = KERF_F32; dtype < KERF_DTYPE_COUNT; dtype++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            (void)as_tensor(w, counts[i] * kerf_dtype_size(dtype), dtype);
    }
    free(w);
}

/* Byte k of each word in plane k, turned or not, and no byte beside them. */
static void
plane_split__every_width_and_count__as_said(void **state)
{
    enum { MOST_WORDS = 140 };
    uint8_t words[8 * MOST_WORDS], back[8 * MOST_WORDS + 1];
    uint8_t planes[8][MOST_WORDS + 1];
    uint8_t *to[8];
    const uint8_t *from[8];
    uint64_t seed = 4;

    (void)state;
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = (uint8_t)kerf_rng_next(&seed);
    for (size_t k = 0; k < 8; k++)
        from[k] = to[k] = planes[k];
    for (unsigned how = 0; how < 6; how++) {
        unsigned width = 2u << how / 2;
        bool rotated = how % 2 == 1;

        for (size_t n = 1; n <= MOST_WORDS; n++) {
            memset(planes, 0xA5, sizeof planes);
            memset(back, 0xA5, sizeof back);
            kerf_plane_split(to, words, n, width, rotated);
            for (size_t i = 0; i < n * width; i++) {
                size_t bit = 8 * (i % width);
                uint64_t word = 0;

                memcpy(&word, words + i / width * width, width);
                if (rotated)
                    word = word << 1 | word >> (8 * width - 1);
                assert_int_equal(planes[i % width][i / width],
                                 (uint8_t)(word >> bit));
            }
            kerf_plane_merge(back, from, n, width, rotated);
            assert_memory_equal(back, words, n * width);
            assert_int_equal(back[n * width], 0xA5);
            for (unsigned k = 0; k < width; k++)
                assert_int_equal(planes[k][n], 0xA5);
        }
    }
}

static void
encode__trained_floats__exponents_are_small(void **state)
{
    const size_t count = 500000;
    float *w = weights(count, 3);
    uint16_t *bf16 = malloc(2 * count);
    size_t f32_len = 4 * count;

    (void)state;
    assert_non_null(bf16);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &w[i], sizeof bits);
        bf16[i] = (uint16_t)(bits >> 16);
    }
    assert_true(as_tensor(w, f32_len, KERF_F32) < f32_len * 84 / 100);
    assert_true(as_tensor(bf16, 2 * count, KERF_BF16) < 2 * count * 70 / 100);
    free(bf16);
    free(w);
}

/* Short texts are as small as gzip and zstd make them, and a little more. */
static void
encode__short_texts__deflate_or_zstd(void **state)
{
    static const char *const words[] = {
        "weights ", "of ",           "a ",  "layer",
        "\n  ",     "kernel_size: ", "3, ", "conv2d"};
    char text[5000];
    uint64_t seed = 16;

    (void)state;
    for (size_t len = 100; len < sizeof text; len += len / 2) {
        uint8_t gz[sizeof text];
        size_t at = 0;
        size_t n;

        while (at < len) {
            const char *w = words[kerf_rng_next(&seed) >> 61];

            while (*w != '\0' && at < len)
                text[at++] = *w++;
        }
        n = kerf_deflate_encode(gz, sizeof gz, (uint8_t *)text, len);
        assert_in_range(n, 1, len);
        assert_in_range(round_trip(text, len, NULL, 0), 1, n + 13);
    }
}

static void
encode__floats_of_unknown_place__are_found(void **state)
{
    const size_t count = 200000;
    float *w = weights(count, 4);
    size_t len = 4 * count + 1003;
    uint8_t *data = calloc(1, len);

    (void)state;
    assert_non_null(data);
    memcpy(data + 1001, w, 4 * count); /* no tensor is aligned */
    assert_true(round_trip(data, len, NULL, 0) < len * 85 / 100);
    free(data);
    free(w);
}

/* Rounded to 8 bits, with a scale for each channel of 576 words. */
static void
encode__values_on_a_grid__far_below_planes(void **state)
{
    const size_t count = 300000;
    float *w = weights(count, 5);
    size_t one, each;

    (void)state;
    for (size_t i = 0; i < count; i++)
        w[i] = roundf(w[i] / 0.002f) * 0.002f;
    one = as_tensor(w, 4 * count, KERF_F32);
    for (size_t i = 0; i < count; i++)
        w[i] *= 1.0f + 0.013f * (float)(i / 576 % 97);
    each = as_tensor(w, 4 * count, KERF_F32);
    assert_true(one < count * 9 / 10);
    assert_true(each < count * 18 / 10);
    free(w);
}

/* A scale for each channel and what quantisation leaves: signed zeros, a base
 * that is not zero, steps of a decimal. Each far below what order-0 codes of
 * the words would take; words that are on no grid in between. */
static void
encode__grids_of_many_kinds__near_their_numbers(void **state)
{
    const size_t count = 200000;
    float *w = weights(count, 15);
    float *q = malloc(count * sizeof *q);

    (void)state;
    assert_non_null(q);
    for (size_t i = 0; i < count; i++) { /* 12 bits, channels of 576 words */
        float s = 0.0001f * (1.0f + 0.013f * (float)(i / 576 % 97));

        q[i] = roundf(w[i] / s) * s;
    }
    assert_true(as_tensor(q, 4 * count, KERF_F32) < count * 145 / 100);
    for (size_t i = 0; i < count; i++) /* 12 bits, not of zero */
        q[i] = roundf((w[i] + 0.7f) / 0.0003f) * 0.0003f - 0.70001f;
    assert_true(as_tensor(q, 4 * count, KERF_F32) < count * 135 / 100);
    for (size_t i = 0; i < count; i++)
        q[i] = (float)(round((double)w[i] * 1000) / 1000);
    assert_true(as_tensor(q, 4 * count, KERF_F32) < count * 110 / 100);
    for (size_t i = 0; i < count; i += 100) {
        q[i] = w[i];
        if (i % 1000 == 0)
            q[i] = i % 3000 == 0 ? NAN : -INFINITY;
    }
    assert_true(as_tensor(q, 4 * count, KERF_F32) < count * 120 / 100);
    free(q);
    free(w);
}

/* Rows of `columns` words, each column rounded to steps of its own. */
static float *
column_grid(size_t count, uint32_t columns, uint64_t seed, float steps)
{
    float *w = weights(count, seed);

    for (size_t i = 0; i < count; i++) {
        float step = (1.0f + 0.013f * (float)(i % columns)) / steps;

        w[i] = roundf(w[i] / step) * step;
    }
    return w;
}

/* Words on grids of their columns: neighbours have nothing in common. */
static void
encode__grids_of_columns__near_their_numbers(void **state)
{
    enum { COLUMNS = 250, COUNT = 600 * COLUMNS };
    float *w = column_grid(COUNT, COLUMNS, 16, 500);
    const kerf_segment s[2] = {
        {.len = (size_t)4 * (COUNT - 100), .columns = COLUMNS},
        {.offset = (size_t)4 * (COUNT - 100) + 33, .len = 300}};
    kerf_segment not_so = s[0];

    (void)state;
    assert_true(round_trip(w, sizeof *w * COUNT, s, 2) < COUNT);
    not_so.columns = 77;
    assert_true(round_trip(w, sizeof *w * COUNT, &not_so, 1) >
                (size_t)2 * COUNT);
    not_so.columns = UINT32_MAX;
    (void)round_trip(w, sizeof *w * COUNT, &not_so, 1);
    free(w);
}

static void
encode__pruned__zeros_cost_a_bit(void **state)
{
    const size_t count = 300000;
    float *w = weights(count, 6);
    uint64_t seed = 6;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (kerf_rng_next(&seed) % 10 < 8)
            w[i] = 0.0f;
    }
    assert_true(as_tensor(w, 4 * count, KERF_F32) < 4 * count * 20 / 100);
    free(w);
}

static void
encode__tied_tensors__stored_once(void **state)
{
    const size_t count = 100000;
    float *w = weights(2 * count, 7);
    kerf_segment s[2] = {{.len = 4 * count, .dtype = KERF_F32},
                         {.offset = 4 * count, .len = 4 * count}};

    (void)state;
    for (size_t i = 0; i < count; i++)
        w[count + i] = w[i];
    assert_true(round_trip(w, 8 * count, s, 2) < 4 * count * 85 / 100);
    free(w);
}

static void
encode__many_small_tensors__with_what_is_between(void **state)
{
    enum { TENSORS = 400, EACH = 200 };
    size_t len = (size_t)TENSORS * (EACH * 4 + 29);
    uint8_t *data = malloc(len);
    kerf_segment s[TENSORS];
    uint64_t seed = 8;

    (void)state;
    assert_non_null(data);
    for (size_t t = 0, at = 0; t < TENSORS; t++) {
        memset(data + at, (int)t, 29);
        at += 29;
        s[t] = (kerf_segment){
            .offset = at, .len = (size_t)4 * EACH, .dtype = KERF_F32};
        for (size_t i = 0; i < EACH; i++, at += 4) {
            float w = weight(&seed);

            memcpy(data + at, &w, sizeof w);
        }
    }
    assert_true(round_trip(data, len, s, TENSORS) < len * 83 / 100);
    /* Overlapping, outside, of no dtype: taken as other bytes. */
    s[1].offset = s[0].offset;
    s[2].len = SIZE_MAX - 3;
    s[3].dtype = (kerf_dtype)77;
    s[4].offset = SIZE_MAX;
    (void)round_trip(data, len, s, TENSORS);
    free(data);
}

/* 2 * each tensors of `words` floats, 9 bytes before each: weights, and in
 * between what a normalisation scales by, near 1. */
static kwz_buf
make_two_kinds(kerf_segment *s, size_t each, size_t words)
{
    kwz_buf data = {0};
    uint64_t seed = 12;

    for (size_t t = 0; t < 2 * each; t++) {
        kwz_add(&data, (const uint8_t *)"between: ", 9);
        s[t] = (kerf_segment){
            .offset = data.len, .len = 4 * words, .dtype = KERF_F32};
        for (size_t i = 0; i < words; i++) {
            float w = weight(&seed);

            w = t % 2 == 0 ? w : 1.0f + w / 4;
            kwz_add(&data, (const uint8_t *)&w, sizeof w);
        }
    }
    return data;
}

static void
encode__small_tensors_of_two_kinds__codes_of_their_own(void **state)
{
    enum { EACH = 20, WORDS = 200 };
    kerf_segment s[2 * EACH], half[EACH];
    kwz_buf data = make_two_kinds(s, EACH, WORDS);
    size_t kind[2];

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        uint8_t *alone = malloc((size_t)EACH * WORDS * 4);

        assert_non_null(alone);
        for (size_t t = 0; t < EACH; t++) {
            half[t] = (kerf_segment){.offset = t * WORDS * 4,
                                     .len = (size_t)WORDS * 4};
            memcpy(alone + half[t].offset, data.data + s[2 * t + k].offset,
                   half[t].len);
        }
        kind[k] = round_trip(alone, (size_t)EACH * WORDS * 4, half, EACH);
        free(alone);
    }
    /* Together, exponents would take some 500 bytes more. */
    assert_in_range(round_trip(data.data, data.len, s, (size_t)2 * EACH),
                    kind[0] + kind[1] - 100, kind[0] + kind[1] + 250);
    free(data.data);
}

static void
unpack__every_flip_of_groups__changes_nothing(void **state)
{
    enum { EACH = 8, WORDS = 200 };
    kerf_segment s[2 * EACH];
    kwz_buf data = make_two_kinds(s, EACH, WORDS);
    kwz_buf packed = kwz_pack(data.data, data.len, s, (size_t)2 * EACH);

    (void)state;
    assert_int_equal(packed.data[KERF_KWZ_HEAD_LEN + 9] & 32, 32); /* groups */
    for (size_t bit = (size_t)8 * (KERF_KWZ_HEAD_LEN + 9); bit < 8 * packed.len;
         bit += bit < 3000 ? 1 : 1003) {
        kwz_buf back = {0};

        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kwz_unpack(&back, packed.data, packed.len, MOST) == KERF_OK) {
            assert_int_equal(back.len, data.len);
            assert_memory_equal(back.data, data.data, data.len);
        }
        free(back.data);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(packed.data);
    free(data.data);
}

/* A container with every kind of block, and its bytes. */
static kwz_buf
make_sample(kwz_buf *data)
{
    enum { COUNT = 17000 };
    float *w = weights(COUNT, 9);
    kerf_segment s[4] = {
        {.offset = 300, .len = (size_t)4 * COUNT},
        {.offset = 300 + (size_t)4 * COUNT, .len = (size_t)4 * COUNT},
        {.offset = 700 + (size_t)8 * COUNT, .len = 1200},
        {.offset = 1900 + (size_t)8 * COUNT, .len = (size_t)4 * COUNT}};
    uint8_t text[400];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)("weights and such "[i % 17]);
    kwz_add(data, text, 300);
    kwz_add(data, (uint8_t *)w, (size_t)4 * COUNT);
    kwz_add(data, (uint8_t *)w, (size_t)4 * COUNT);
    kwz_add(data, text, 400);
    for (size_t i = 0; i < 300; i++)
        w[i] = roundf(w[i] * 50.0f);
    kwz_add(data, (uint8_t *)w, 1200);
    for (size_t i = 0; i < COUNT; i++)
        w[i] = roundf(w[i] * 900.0f) * 0.0017f;
    kwz_add(data, (uint8_t *)w, (size_t)4 * COUNT);
    free(w);
    return kwz_pack(data->data, data->len, s, 4);
}

static void
unpack__every_truncation__is_an_error(void **state)
{
    kwz_buf data = {0};
    kwz_buf packed = make_sample(&data);

    (void)state;
    for (size_t cut = 0; cut < packed.len;
         cut += cut < 600 || cut + 600 > packed.len ? 1 : 101) {
        kwz_buf back = {0};
        uint8_t *exact = malloc(cut + 1);

        assert_non_null(exact);
        memcpy(exact, packed.data, cut);
        assert_int_not_equal(kwz_unpack(&back, exact, cut, MOST), KERF_OK);
        free(exact);
        free(back.data);
    }
    free(packed.data);
    free(data.data);
}

static void
unpack__every_flip__is_an_error_or_changes_nothing(void **state)
{
    kwz_buf data = {0};
    kwz_buf packed = make_sample(&data);

    (void)state;
    for (size_t bit = 0; bit < 8 * packed.len;
         bit += bit < 8000 || bit + 4000 > 8 * packed.len ? 1 : 1003) {
        kwz_buf back = {0};

        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kwz_unpack(&back, packed.data, packed.len, MOST) == KERF_OK) {
            assert_int_equal(back.len, data.len);
            assert_memory_equal(back.data, data.data, data.len);
        }
        free(back.data);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(packed.data);
    free(data.data);
}

static void
range__each_tensor_and_across_blocks__same_bytes(void **state)
{
    kwz_buf data = {0};
    kwz_buf packed = make_sample(&data);
    kerf_kwz_index index = {0};
    kerf_block_coder *bc = NULL;
    uint8_t *out = malloc(data.len);
    kerf_detail why;

    (void)state;
    assert_non_null(out);
    assert_int_equal(kerf_block_coder_new(&bc), KERF_OK);
    assert_int_equal(kerf_kwz_index_read(&index, packed.data, packed.len, &why),
                     KERF_OK);
    assert_int_equal(index.file_count, 1);
    assert_null(index.file[0].name);
    assert_int_equal(index.file[0].len, data.len);
    assert_int_equal(index.file[0].segment_count, 4);
    for (size_t i = 0; i < 4; i++) {
        const kerf_segment *s = &index.file[0].segment[i];

        assert_int_equal(kerf_kwz_range(&index, 0, packed.data, packed.len, bc,
                                        s->offset, s->len, out, &why),
                         KERF_OK);
        assert_memory_equal(out, data.data + s->offset, s->len);
    }
    for (size_t from = 0; from < data.len; from += 7001) {
        size_t n = data.len - from < 20000 ? data.len - from : 20000;

        assert_int_equal(kerf_kwz_range(&index, 0, packed.data, packed.len, bc,
                                        from, n, out, &why),
                         KERF_OK);
        assert_memory_equal(out, data.data + from, n);
    }
    assert_int_equal(kerf_kwz_range(&index, 0, packed.data, packed.len, bc,
                                    data.len - 1, 2, out, &why),
                     KERF_EINVAL);
    kerf_kwz_index_fini(&index);
    kerf_block_coder_free(bc);
    free(out);
    free(packed.data);
    free(data.data);
}

static void
index__every_flip_at_the_end__is_an_error(void **state)
{
    kwz_buf data = {0};
    kwz_buf packed = make_sample(&data);
    kerf_kwz_index index = {0};
    size_t at = 0;

    (void)state;
    for (int i = 0; i < 8; i++) /* of the trailer: where the index begins */
        at |= (size_t)packed.data[packed.len - 12 + (size_t)i] << 8 * i;
    for (size_t bit = 8 * at; bit < 8 * packed.len; bit++) {
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kerf_kwz_index_read(&index, packed.data, packed.len, NULL) ==
            KERF_OK)
            fail_msg("a flip of bit %zu was not seen", bit);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(packed.data);
    free(data.data);
}

static void
writer__files_with_names__come_back_in_order(void **state)
{
    kerf_kwz_file files[2] = {
        {.name = "a/model.pdiparams", .mode = 0100644, .mtime = 1700000000},
        {.name = "a/empty", .mode = 0100600, .mtime = -5}};
    kwz_buf b = {0};
    kerf_kwz_writer *kw = NULL;
    kerf_kwz_reader *kr = NULL;
    kerf_kwz_bytes bytes;
    kerf_kwz_record record;
    kerf_rd r;
    size_t need;

    (void)state;
    assert_int_equal(kerf_kwz_writer_new(&kw, true), KERF_OK);
    bytes = kerf_kwz_put_head(kw);
    kwz_add(&b, bytes.data, bytes.len);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(kerf_kwz_put_file(kw, &files[i], &bytes), KERF_OK);
        kwz_add(&b, bytes.data, bytes.len);
        kwz_pack_file(&b, kw, (const uint8_t *)"hello", i == 0 ? 5 : 0, NULL,
                      0);
    }
    assert_int_equal(kerf_kwz_end(kw, &bytes), KERF_OK);
    kwz_add(&b, bytes.data, bytes.len);

    r = (kerf_rd){.at = b.data, .left = b.len};
    assert_int_equal(kerf_kwz_reader_new(&kr), KERF_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(kerf_kwz_next(kr, &r, &record, &need, NULL), KERF_OK);
        assert_int_equal(record.kind, KERF_KWZ_FILE);
        assert_string_equal(record.file->name, files[i].name);
        assert_int_equal(record.file->mode, files[i].mode);
        assert_int_equal(record.file->mtime, files[i].mtime);
        assert_int_equal(kerf_kwz_next(kr, &r, &record, &need, NULL), KERF_OK);
        assert_int_equal(record.kind, KERF_KWZ_BLOCK);
        assert_int_equal(record.block.len, i == 0 ? 5 : 0);
        assert_true(record.block.is_last);
        assert_false(kerf_kwz_is_whole(kr));
    }
    assert_int_equal(kerf_kwz_next(kr, &r, &record, &need, NULL), KERF_OK);
    assert_int_equal(record.kind, KERF_KWZ_INDEX);
    assert_true(kerf_kwz_is_whole(kr));
    kerf_kwz_reader_free(kr);
    kerf_kwz_writer_free(kw);
    free(b.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip__small_and_empty__a_few_bytes_more),
        cmocka_unit_test(round_trip__each_dtype_and_length__same_bytes),
        cmocka_unit_test(plane_split__every_width_and_count__as_said),
        cmocka_unit_test(encode__trained_floats__exponents_are_small),
        cmocka_unit_test(encode__short_texts__deflate_or_zstd),
        cmocka_unit_test(encode__floats_of_unknown_place__are_found),
        cmocka_unit_test(encode__values_on_a_grid__far_below_planes),
        cmocka_unit_test(encode__grids_of_many_kinds__near_their_numbers),
        cmocka_unit_test(encode__grids_of_columns__near_their_numbers),
        cmocka_unit_test(encode__pruned__zeros_cost_a_bit),
        cmocka_unit_test(encode__tied_tensors__stored_once),
        cmocka_unit_test(encode__many_small_tensors__with_what_is_between),
        cmocka_unit_test(
            encode__small_tensors_of_two_kinds__codes_of_their_own),
        cmocka_unit_test(unpack__every_flip_of_groups__changes_nothing),
        cmocka_unit_test(unpack__every_truncation__is_an_error),
        cmocka_unit_test(unpack__every_flip__is_an_error_or_changes_nothing),
        cmocka_unit_test(range__each_tensor_and_across_blocks__same_bytes),
        cmocka_unit_test(index__every_flip_at_the_end__is_an_error),
        cmocka_unit_test(writer__files_with_names__come_back_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
