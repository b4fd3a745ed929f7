/*
 * 32 symbols at a time with AVX2. Coding: a symbol less the base is a number
 * below 64, looked up in four rows of 16 bytes: its length, and its code in two
 * halves. Neighbours are then put together, in each step twice as many bits
 * wide: codes of two in 32 bits, of four in 64, and of eight when all of these
 * are short enough, as they nearly always are; those go to the stream one by
 * one. Where all numbers are below 32, as exponents' are, two rows do.
 *
 * Counting: of 16 neighbours among the symbols, which are nearly all there are
 * of exponents, each is compared with all bytes; others are counted one by one.
 */
#include "codec/huf_own.h"

#include "codec/cpu.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) KERF_V3
#define ROWS 4
#define FEW_ROWS 2
#define ROW 16
#define STEP 32        /* symbols */
#define NEAR 16        /* symbols that are counted by comparing */
#define OTHERS_MOST 24 /* of HUF_SAMPLES: more take too long one by one */
#define EIGHT_MOST 56  /* bits of eight codes: 7 more fit with them */

struct rows {
    __m256i row[ROWS];
};

/* What is not written of a stream yet: the lowest `bits` of acc. */
struct end {
    uint8_t *at;
    uint64_t acc;
    unsigned bits;
};

INLINE struct rows
load_rows(const uint8_t from[ROWS * ROW])
{
    struct rows r;

    for (size_t i = 0; i < ROWS; i++) {
        __m128i row;

        memcpy(&row, from + ROW * i, sizeof row);
        r.row[i] = _mm256_broadcastsi128_si256(row);
    }
    return r;
}

/* Bits 4 and 5 of each number, as the top bits of bytes in b4 and b5, say which
 * of the rows is meant. */
INLINE __m256i
look_up(const struct rows *r, unsigned rows, __m256i number, __m256i b4,
        __m256i b5)
{
    __m256i low =
        _mm256_blendv_epi8(_mm256_shuffle_epi8(r->row[0], number),
                           _mm256_shuffle_epi8(r->row[1], number), b4);
    __m256i high;

    if (rows == FEW_ROWS)
        return low;
    high = _mm256_blendv_epi8(_mm256_shuffle_epi8(r->row[2], number),
                              _mm256_shuffle_epi8(r->row[3], number), b4);

    return _mm256_blendv_epi8(low, high, b5);
}

INLINE void
append(struct end *e, uint64_t code, unsigned len)
{
    uint64_t out;

    e->acc = e->acc << len | code;
    e->bits += len;
    out = __builtin_bswap64(e->acc << (64 - e->bits));
    memcpy(e->at, &out, sizeof out);
    e->at += e->bits >> 3;
    e->bits &= 7;
}

/* Codes of four (64 bits each: 0 1 4 5 and 2 3 6 7 in `a` and `b`), and their
 * lengths (32 bits each: 0 to 7). */
INLINE void
append_all(struct end *e, __m256i a, __m256i b, __m256i len)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i odd = _mm256_srli_epi64(len, 32); /* 1 3 5 7 */
    __m256i both = _mm256_add_epi64(
        odd, _mm256_blend_epi32(len, zero, 0xAA)); /* 01 23 45 67 */
    __m256i even_code = _mm256_unpacklo_epi64(a, b);
    __m256i odd_code = _mm256_unpackhi_epi64(a, b); /* 0 2 4 6; 1 3 5 7 */
    uint64_t code[8];
    uint32_t bits[8];

    if (_mm256_movemask_epi8(
            _mm256_cmpgt_epi64(both, _mm256_set1_epi64x(EIGHT_MOST))) == 0) {
        __m256i eight =
            _mm256_or_si256(_mm256_sllv_epi64(even_code, odd), odd_code);

        memcpy(code, &eight, sizeof eight);
        memcpy(bits, &both, sizeof both);
        for (size_t i = 0; i < 4; i++)
            append(e, code[i], bits[2 * i]);
        return;
    }
    memcpy(code, &even_code, sizeof even_code);
    memcpy(code + 4, &odd_code, sizeof odd_code);
    memcpy(bits, &len, sizeof len);
    for (size_t i = 0; i < 4; i++) {
        append(e, code[i], bits[2 * i]);
        append(e, code[4 + i], bits[2 * i + 1]);
    }
}

INLINE size_t
encode(struct end *e, const uint8_t *in, size_t n, const struct huf_rows *t,
       unsigned rows)
{
    const struct rows len_rows = load_rows(t->len);
    const struct rows low_rows = load_rows(t->low);
    const struct rows high_rows = load_rows(t->high);
    const __m256i base = _mm256_set1_epi8((char)t->base);
    const __m256i power_low = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        1, 2, 4, 8, 16, 32, 64, (char)128, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i power_high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 0));
    const __m256i zero = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + STEP <= n; i += STEP) {
        __m256i number, b4, b5, len, low, high, next, p_low, p_high;
        __m256i a, b, two_len, odd_len, a_odd, b_odd;

        memcpy(&number, in + i, sizeof number);
        number = _mm256_subs_epu8(number, base);
        b4 = _mm256_slli_epi16(number, 3);
        b5 = _mm256_slli_epi16(number, 2);
        len = look_up(&len_rows, rows, number, b4, b5);
        low = look_up(&low_rows, rows, number, b4, b5);
        high = look_up(&high_rows, rows, number, b4, b5);
        /* The first of two is multiplied by 2 to the length of the second. */
        next = _mm256_srli_epi16(len, 8);
        p_low = _mm256_shuffle_epi8(power_low, next);
        p_high = _mm256_shuffle_epi8(power_high, next);
        a = _mm256_madd_epi16(_mm256_unpacklo_epi8(low, high),
                              _mm256_unpacklo_epi8(p_low, p_high));
        b = _mm256_madd_epi16(_mm256_unpackhi_epi8(low, high),
                              _mm256_unpackhi_epi8(p_low, p_high));
        two_len = _mm256_maddubs_epi16(len, _mm256_set1_epi8(1));
        odd_len = _mm256_srli_epi32(two_len, 16);
        a_odd = _mm256_srli_epi64(a, 32);
        b_odd = _mm256_srli_epi64(b, 32);
        a = _mm256_sllv_epi64(_mm256_blend_epi32(a, zero, 0xAA),
                              _mm256_unpacklo_epi32(odd_len, zero));
        b = _mm256_sllv_epi64(_mm256_blend_epi32(b, zero, 0xAA),
                              _mm256_unpackhi_epi32(odd_len, zero));
        append_all(e, _mm256_or_si256(a, a_odd), _mm256_or_si256(b, b_odd),
                   _mm256_madd_epi16(two_len, _mm256_set1_epi16(1)));
    }
    return i;
}

KERF_V3 static size_t
encode_few(struct end *e, const uint8_t *in, size_t n, const struct huf_rows *t)
{
    return encode(e, in, n, t, FEW_ROWS);
}

KERF_V3 static size_t
encode_all(struct end *e, const uint8_t *in, size_t n, const struct huf_rows *t)
{
    return encode(e, in, n, t, ROWS);
}

bool
kerf_huf_rows(struct huf_rows *t, const struct huf_code code[256])
{
    unsigned first = 1; /* 0, as of what is exactly zero, may be far below */
    unsigned last = 255;

    if (!kerf_cpu_is_v3())
        return false;
    while (first < 255 && code[first].len == 0)
        first++;
    while (last > first && code[last].len == 0)
        last--;
    if (last - first + 1 >= ROWS * ROW)
        return false;
    *t = (struct huf_rows){.base = (uint8_t)(first - 1),
                           .few = last - first + 1 < FEW_ROWS * ROW};
    for (unsigned s = first - 1; s <= last; s++) {
        const struct huf_code *c = &code[s == first - 1 ? 0 : s];

        t->len[s - (first - 1)] = (uint8_t)c->len;
        t->low[s - (first - 1)] = (uint8_t)c->bits;
        t->high[s - (first - 1)] = (uint8_t)(c->bits >> 8);
    }
    return true;
}

size_t
kerf_huf_put_rows(struct huf_end *end, const uint8_t *in, size_t n,
                  const struct huf_rows *t)
{
    struct end e = {.at = end->at, .acc = end->acc, .bits = end->bits};
    size_t done = t->few ? encode_few(&e, in, n, t) : encode_all(&e, in, n, t);

    *end = (struct huf_end){.at = e.at, .acc = e.acc, .bits = e.bits};
    return done;
}

/* Half of the neighbours, of `vectors` times 32 bytes, fewer than 256 times. */
INLINE void
count_half(uint32_t *count, const uint8_t *in, size_t vectors, uint8_t first)
{
    __m256i seen[NEAR / 2], symbol[NEAR / 2];

#pragma GCC unroll 8
    for (unsigned k = 0; k < NEAR / 2; k++) {
        seen[k] = _mm256_setzero_si256();
        symbol[k] = _mm256_set1_epi8((char)(first + k));
    }
    for (size_t i = 0; i < vectors; i++) {
        __m256i v;

        memcpy(&v, in + STEP * i, sizeof v);
#pragma GCC unroll 8
        for (unsigned k = 0; k < NEAR / 2; k++)
            seen[k] = _mm256_sub_epi8(seen[k], _mm256_cmpeq_epi8(v, symbol[k]));
    }
    for (unsigned k = 0; k < NEAR / 2; k++) {
        uint64_t sum[4];

        seen[k] = _mm256_sad_epu8(seen[k], _mm256_setzero_si256());
        memcpy(sum, &seen[k], sizeof sum);
        count[first + k] += (uint32_t)(sum[0] + sum[1] + sum[2] + sum[3]);
    }
}

/* What is none of the neighbours. */
INLINE void
count_others(uint32_t count[256], const uint8_t *in, size_t vectors,
             uint8_t first)
{
    const __m256i base = _mm256_set1_epi8((char)first);
    const __m256i last = _mm256_set1_epi8(NEAR - 1);

    for (size_t i = 0; i < vectors; i++) {
        __m256i v;
        uint32_t other;

        memcpy(&v, in + STEP * i, sizeof v);
        v = _mm256_sub_epi8(v, base);
        v = _mm256_cmpeq_epi8(_mm256_min_epu8(v, last), v);
        other = ~(uint32_t)_mm256_movemask_epi8(v);
        for (; other != 0; other &= other - 1)
            count[in[STEP * i + (unsigned)__builtin_ctz(other)]]++;
    }
}

KERF_V3 static size_t
count_near(uint32_t count[256], const uint8_t *in, size_t n, uint8_t first)
{
    size_t done = 0;

    while (n - done >= STEP) {
        size_t vectors = (n - done) / STEP < 255 ? (n - done) / STEP : 255;

        count_half(count, in + done, vectors, first);
        count_half(count, in + done, vectors, (uint8_t)(first + NEAR / 2));
        count_others(count, in + done, vectors, first);
        done += vectors * STEP;
    }
    return done;
}

size_t
kerf_huf_count_near(uint32_t count[256], const uint8_t *in, size_t n,
                    const uint16_t sample[256])
{
    unsigned sum = 0;
    unsigned most = 0;
    unsigned first = 0;

    if (!kerf_cpu_is_v3())
        return 0;
    for (unsigned s = 0; s < 256; s++) {
        sum += sample[s];
        sum -= s >= NEAR ? sample[s - NEAR] : 0;
        if (sum > most) {
            most = sum;
            first = s >= NEAR ? s - NEAR + 1 : 0;
        }
    }
    if (HUF_SAMPLES - most > OTHERS_MOST)
        return 0;
    return count_near(count, in, n, (uint8_t)first);
}

#else

bool
kerf_huf_rows(struct huf_rows *t, const struct huf_code code[256])
{
    (void)t;
    (void)code;
    return false;
}

size_t
kerf_huf_put_rows(struct huf_end *end, const uint8_t *in, size_t n,
                  const struct huf_rows *t)
{
    (void)end;
    (void)in;
    (void)n;
    (void)t;
    return 0;
}

size_t
kerf_huf_count_near(uint32_t count[256], const uint8_t *in, size_t n,
                    const uint16_t sample[256])
{
    (void)count;
    (void)in;
    (void)n;
    (void)sample;
    return 0;
}

#endif
