/* Byte blocks: what goes in comes out, in every form, and what is damaged is
 * refused or gives n bytes, without a byte read or written outside. */
#include "codec/huf_own.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STORED = 0, RUN = 1, CODED = 2 };

/* n bytes exactly: behind them the sanitizer looks. */
static uint8_t *
exactly(const uint8_t *from, size_t n)
{
    uint8_t *p = malloc(n > 0 ? n : 1);

    assert_non_null(p);
    if (n > 0)
        memcpy(p, from, n);
    return p;
}

/* Encodes and decodes; returns the block's bytes, its first in *form. */
static size_t
round_trip(const uint8_t *in, size_t n, int *form)
{
    uint8_t *block = malloc(KERF_HUF_ROOM(n));
    uint8_t *out = malloc(n);
    size_t len;
    uint8_t *exact;
    const uint8_t *back;

    assert_non_null(block);
    assert_non_null(out);
    len = kerf_huf_encode(block, in, n);
    assert_true(len <= n + 1);
    *form = block[0];
    exact = exactly(block, len);
    back = kerf_huf_decode(out, n, exact, len);
    assert_non_null(back);
    assert_true(back == out || back == exact + 1);
    assert_memory_equal(back, in, n);
    free(exact);
    free(out);
    free(block);
    return len;
}

/* Bytes around 120, skewed as exponents are; `wide` up to 8 bits of noise. */
static void
fill(uint8_t *to, size_t n, unsigned wide, uint64_t seed)
{
    uint64_t state = seed;

    for (size_t i = 0; i < n; i++) {
        uint64_t r = kerf_rng_next(&state);

        to[i] = (uint8_t)(120 - __builtin_ctzll(r | 1ull << 40) +
                          (int)(r >> 48 & ((1u << wide) - 1)));
    }
}

static void
round_trip__every_small_size__same_bytes(void **state)
{
    uint8_t in[300];
    int form;

    (void)state;
    for (unsigned wide = 0; wide <= 8; wide++) {
        for (size_t n = 1; n <= sizeof in; n++) {
            fill(in, n, wide, n);
            (void)round_trip(in, n, &form);
        }
    }
}

static void
round_trip__large_sizes_and_alphabets__same_bytes(void **state)
{
    static uint8_t in[KERF_HUF_MOST];
    const size_t sizes[] = {4095, 4096, 4097, 6143, 6144, 30001, KERF_HUF_MOST};
    int form;

    (void)state;
    for (unsigned wide = 0; wide <= 8; wide++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            fill(in, sizes[i], wide, i);
            (void)round_trip(in, sizes[i], &form);
            assert_int_equal(form, wide < 8 ? CODED : form);
        }
    }
}

static void
encode__geometric__near_its_entropy(void **state)
{
    static uint8_t in[KERF_HUF_MOST];
    int form;
    size_t len;

    (void)state;
    fill(in, sizeof in, 0, 1);
    len = round_trip(in, sizeof in, &form);
    assert_int_equal(form, CODED);
    /* 2 bits each, and less than 40 bytes of head and code lengths. */
    assert_in_range(len, sizeof in / 4 - 200, sizeof in / 4 + 200);
}

static void
encode__fibonacci_counts__codes_are_cut_to_11_bits(void **state)
{
    static uint8_t in[KERF_HUF_MOST];
    size_t n = 0;
    size_t a = 1;
    size_t b = 1;
    int form;

    (void)state;
    for (uint8_t s = 0; s < 21; s++) { /* a Huffman code of 20 bits */
        size_t sum = a + b;

        memset(in + n, s, a);
        n += a;
        a = b;
        b = sum;
    }
    (void)round_trip(in, n, &form);
    assert_int_equal(form, CODED);
}

/* Fewer than 64 symbols in a row are coded many at a time, with symbol 0 apart;
 * where long codes come together, eight do not fit. */
static void
encode__alphabets_around_64__same_bytes(void **state)
{
    static uint8_t in[20011];
    const unsigned firsts[] = {0, 1, 2, 100, 192, 193};
    const unsigned spans[] = {2, 31, 62, 63, 64, 65};
    uint64_t seed = 7;
    int form;

    (void)state;
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++) {
        for (size_t k = 0; k < sizeof spans / sizeof *spans; k++) {
            for (size_t i = 0; i < sizeof in; i++) {
                unsigned r = (unsigned)(kerf_rng_next(&seed) >> 40);
                unsigned common = (r & 7) == 0 ? 1 : 0;

                if (i % 5000 < 200) /* rare ones together */
                    common = (r >> 4) % spans[k];
                in[i] = (uint8_t)(firsts[f] + common);
                if ((r >> 12) % 50 == 0)
                    in[i] = 0;
            }
            (void)round_trip(in, sizeof in, &form);
            assert_int_equal(form, CODED);
        }
    }
}

static void
encode__noise_and_runs__stored_and_run(void **state)
{
    static uint8_t in[KERF_HUF_MOST];
    uint64_t seed = 3;
    int form;

    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)kerf_rng_next(&seed);
    assert_int_equal(round_trip(in, sizeof in, &form), sizeof in + 1);
    assert_int_equal(form, STORED);
    memset(in, 7, sizeof in);
    assert_int_equal(round_trip(in, sizeof in, &form), 2);
    assert_int_equal(form, RUN);
    in[sizeof in - 1] = 8; /* two symbols, one of them once */
    assert_true(round_trip(in, sizeof in, &form) < sizeof in / 7);
    assert_int_equal(form, CODED);
}

static void
decode__every_truncation__is_refused(void **state)
{
    uint8_t in[700], block[KERF_HUF_ROOM(700)], out[700];
    size_t len;

    (void)state;
    fill(in, sizeof in, 3, 5);
    len = kerf_huf_encode(block, in, sizeof in);
    assert_int_equal(block[0], CODED);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = exactly(block, cut);

        assert_null(kerf_huf_decode(out, sizeof out, exact, cut));
        free(exact);
    }
    assert_null(kerf_huf_decode(out, 0, block, len));
    assert_null(kerf_huf_decode(out, KERF_HUF_MOST + 1, block, len));
}

/* A flip need not be seen here (the container has checksums), but the decoder
 * stays within its bytes. */
static void
decode__every_flip_and_wrong_count__stays_inside(void **state)
{
    enum { N = 6500 }; /* entries of several symbols */
    static uint8_t in[N], block[KERF_HUF_ROOM(N)];
    uint8_t *out = malloc(N);
    uint8_t *exact;
    size_t len;

    (void)state;
    assert_non_null(out);
    fill(in, N, 1, 6);
    len = kerf_huf_encode(block, in, N);
    assert_int_equal(block[0], CODED);
    exact = exactly(block, len);
    for (size_t bit = 0; bit < 8 * len; bit += bit < 400 ? 1 : 13) {
        exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)kerf_huf_decode(out, N, exact, len);
        exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 1; n < N; n += 17)
        assert_null(kerf_huf_decode(out, n, exact, len));
    free(exact);
    free(out);
}

/* Wherever the neighbours are, and whatever there is beside them. */
static void
count_near__any_place_and_length__all_are_counted(void **state)
{
    enum { N = 20000 };
    const size_t lens[] = {0, 31, 32, 33, 8159, 8160, 8161, N};
    static uint8_t in[N];
    uint64_t seed = 9;

    (void)state;
    for (unsigned first = 0; first < 256; first += 15) {
        uint16_t sample[256] = {0};

        for (size_t i = 0; i < N; i++) {
            uint64_t r = kerf_rng_next(&seed);

            unsigned near = (unsigned)(r >> 60);

            in[i] = (uint8_t)(first < 240 ? first + near : 255 - near);
            if ((r & 0xFF) == 0)
                in[i] = (uint8_t)(r >> 8);
        }
        for (size_t i = 0; i < HUF_SAMPLES; i++)
            sample[in[i]]++;
        for (size_t k = 0; k < sizeof lens / sizeof *lens; k++) {
            uint32_t count[256] = {0};
            uint32_t plain[256] = {0};
            size_t n = kerf_huf_count_near(count, in, lens[k], sample);

            assert_true(n <= lens[k]);
            for (size_t i = 0; i < n; i++)
                plain[in[i]]++;
            assert_memory_equal(count, plain, sizeof count);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip__every_small_size__same_bytes),
        cmocka_unit_test(round_trip__large_sizes_and_alphabets__same_bytes),
        cmocka_unit_test(encode__geometric__near_its_entropy),
        cmocka_unit_test(encode__fibonacci_counts__codes_are_cut_to_11_bits),
        cmocka_unit_test(encode__alphabets_around_64__same_bytes),
        cmocka_unit_test(encode__noise_and_runs__stored_and_run),
        cmocka_unit_test(count_near__any_place_and_length__all_are_counted),
        cmocka_unit_test(decode__every_truncation__is_refused),
        cmocka_unit_test(decode__every_flip_and_wrong_count__stays_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
