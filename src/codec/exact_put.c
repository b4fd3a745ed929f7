#include "codec/exact_own.h"

#include "codec/coded.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A look at this many runs of so many floats says what is worth a mask. */
#define LOOK_RUNS 8
#define LOOK_RUN 128
#define LOOKS (LOOK_RUNS * LOOK_RUN)
#define LOOK_FROM 8193   /* floats: below, looking takes too long */
#define SAME_SHARE 25    /* at least this fraction */
#define ABOVE_SHARE 50   /* ... of those that are not like the one before */
#define SYMBOLS_FAST 31u /* up to here, Huffman codes are put side by side */
#define MORE_MOST 3u

size_t
kerf_exact_scratch(size_t count)
{
    return count * 4 + 3 * (count / 8) + 7 * EXACT_PAD + sizeof(uint16_t);
}

struct exact_parts
kerf_exact_lay_out(uint8_t *scratch, size_t count)
{
    size_t bytes = count + EXACT_PAD;
    size_t bits = count / 8 + EXACT_PAD;
    struct exact_parts p;

    scratch += (uintptr_t)scratch % sizeof(uint16_t);
    p.upper = (uint16_t *)(void *)scratch;
    p.symbol = scratch + 2 * bytes;
    p.beside = p.symbol + bytes;
    p.same = p.beside + bytes;
    p.above = p.same + bits;
    p.zero = p.above + bits;
    return p;
}

/* Which masks pay: flags. */
static unsigned
look(const float *x, size_t count, size_t width)
{
    unsigned same = 0;
    unsigned above = 0;
    bool rows =
        width >= EXACT_ROW_LEAST && width <= UINT16_MAX && width < count / 2;
    size_t back = rows ? width : 1;
    size_t least = back;

    if (count < LOOK_FROM)
        return 0;
    for (size_t r = 0; r < LOOK_RUNS; r++) {
        const float *at =
            x + least + (count - least - LOOK_RUN) / (LOOK_RUNS - 1) * r;

        for (const float *end = at + LOOK_RUN; at < end; at++) {
            uint32_t word = kerf_float_bits(*at);
            bool is_same = word == kerf_float_bits(at[-1]);
            bool is_above = word == kerf_float_bits(*(at - back));

            same += word != 0 && is_same;
            above += word != 0 && !is_same && is_above;
        }
    }
    if (same < LOOKS / SAME_SHARE)
        return 0;
    return rows && above >= LOOKS / ABOVE_SHARE ? EXACT_SAME | EXACT_ABOVE
                                                : EXACT_SAME;
}

/* A mask that is being written: of acc the lowest `bits` are not yet. */
struct bits {
    uint8_t *at;
    uint64_t acc;
    unsigned bits; /* 0 to 7 between calls */
};

/* n <= 16 */
KERF_INLINE void
add_bits(struct bits *b, unsigned value, unsigned n)
{
    b->acc |= (uint64_t)value << b->bits;
    b->bits += n;
    b->at[0] = (uint8_t)b->acc;
    b->at[1] = (uint8_t)(b->acc >> 8);
    b->at += b->bits >> 3;
    b->acc >>= b->bits & 24;
    b->bits &= 7;
}

static size_t
end_bits(struct bits *b, const uint8_t *start)
{
    *b->at = (uint8_t)b->acc;
    return (size_t)(b->at - start) + (b->bits > 0);
}

struct taking {
    const float *x;
    size_t count, width;
    uint8_t *lower; /* halves of literals */
    uint16_t *upper;
    size_t literals;
    uint8_t *same;
    struct bits above, zero;
};

/* Eight floats, or what is left of them. */
KERF_INLINE void
take_eight(struct taking *t, size_t i, bool same, bool above)
{
    unsigned differs = 0;

    for (size_t k = 0; k < 8 && i + k < t->count; k++) {
        uint32_t word = kerf_float_bits(t->x[i + k]);
        uint16_t half = (uint16_t)word;

        if (same && word == exact_word(t->x, i + k, 1))
            continue;
        differs |= 1u << k;
        if (above) {
            bool is = word == exact_word(t->x, i + k, t->width);

            add_bits(&t->above, !is, 1);
            if (is)
                continue;
        }
        add_bits(&t->zero, word != 0, 1);
        if (word == 0)
            continue;
        memcpy(t->lower + 2 * t->literals, &half, sizeof half);
        t->upper[t->literals++] = (uint16_t)(word >> 16);
    }
    if (same)
        t->same[i / 8] = (uint8_t)differs;
}

#if defined(__x86_64__)

KERF_INLINE KERF_V3 unsigned
equal_lanes(__m256i a, __m256i b)
{
    return (unsigned)_mm256_movemask_ps(
        _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)));
}

/* Lanes of a mask to the front, their lower halves and their upper ones. */
KERF_INLINE KERF_V3 void
put_halves(struct taking *t, __m256i words, unsigned lanes)
{
    const __m256i halves =
        _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
                         0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    uint64_t order = _pext_u64(LANES, _pdep_u64(lanes, EACH_BYTE) * 255);
    __m256i v = _mm256_permutevar8x32_epi32(
        words, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)order)));
    __m128i half;

    v = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, halves), 0xD8);
    half = _mm256_castsi256_si128(v);
    memcpy(t->lower + 2 * t->literals, &half, sizeof half);
    half = _mm256_extracti128_si256(v, 1);
    memcpy(t->upper + t->literals, &half, sizeof half);
    t->literals += (unsigned)__builtin_popcount(lanes);
}

KERF_INLINE KERF_V3 void
take_vectors(struct taking *to, size_t *from, bool same, bool above)
{
    struct taking t = *to;
    size_t i = *from;

    for (; i + 8 <= t.count; i += 8) {
        __m256i words;
        __m256i other;
        unsigned lanes = 255;
        unsigned here;
        unsigned nonzero;

        memcpy(&words, t.x + i, sizeof words);
        nonzero = ~equal_lanes(words, _mm256_setzero_si256()) & 255;
        if (!same && !above) {
            *t.zero.at++ = (uint8_t)nonzero;
            put_halves(&t, words, nonzero);
            continue;
        }
        if (same) {
            memcpy(&other, t.x + i - 1, sizeof other);
            lanes = ~equal_lanes(words, other) & 255;
            t.same[i / 8] = (uint8_t)lanes;
        }
        if (above) {
            memcpy(&other, t.x + i - t.width, sizeof other);
            here = lanes & ~equal_lanes(words, other);
            add_bits(&t.above, _pext_u32(here, lanes),
                     (unsigned)__builtin_popcount(lanes));
            lanes = here;
        }
        add_bits(&t.zero, _pext_u32(nonzero, lanes),
                 (unsigned)__builtin_popcount(lanes));
        put_halves(&t, words, lanes & nonzero);
    }
    *to = t;
    *from = i;
}

KERF_V3 static void
take_v3(struct taking *t, size_t *from, bool same, bool above)
{
    if (above)
        take_vectors(t, from, true, true);
    else if (same)
        take_vectors(t, from, true, false);
    else
        take_vectors(t, from, false, false);
}

KERF_INLINE KERF_V4 void
take_sixteens(struct taking *to, size_t *from, bool same, bool above)
{
    struct taking t = *to;
    size_t i = *from;

    for (; i + 16 <= t.count; i += 16) {
        __m512i words = _mm512_loadu_si512(t.x + i);
        __mmask16 nonzero = _mm512_test_epi32_mask(words, words);
        __mmask16 lanes = 0xffff;
        __mmask16 here;

        if (same) {
            lanes = _mm512_cmpneq_epi32_mask(words,
                                             _mm512_loadu_si512(t.x + i - 1));
            memcpy(t.same + i / 8, &lanes, sizeof lanes);
        }
        if (above) {
            here = _mm512_mask_cmpneq_epi32_mask(
                lanes, words, _mm512_loadu_si512(t.x + i - t.width));
            add_bits(&t.above, _pext_u32(here, lanes),
                     (unsigned)__builtin_popcount(lanes));
            lanes = here;
        }
        if (same) {
            add_bits(&t.zero, _pext_u32(nonzero, lanes),
                     (unsigned)__builtin_popcount(lanes));
        } else {
            memcpy(t.zero.at, &nonzero, sizeof nonzero);
            t.zero.at += sizeof nonzero;
        }
        nonzero &= lanes;
        words = _mm512_maskz_compress_epi32(nonzero, words);
        _mm256_storeu_si256((__m256i *)(void *)(t.lower + 2 * t.literals),
                            _mm512_cvtepi32_epi16(words));
        _mm256_storeu_si256(
            (__m256i *)(void *)(t.upper + t.literals),
            _mm512_cvtepi32_epi16(_mm512_srli_epi32(words, 16)));
        t.literals += (unsigned)__builtin_popcount(nonzero);
    }
    *to = t;
    *from = i;
}

KERF_V4 static void
take_v4(struct taking *t, size_t *from, bool same, bool above)
{
    if (above)
        take_sixteens(t, from, true, true);
    else if (same)
        take_sixteens(t, from, true, false);
    else
        take_sixteens(t, from, false, false);
}

#endif

static void
take(struct taking *t, bool same, bool above)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        size_t first = above ? (t->width + 7) / 8 * 8 : same ? 8 : 0;

        for (; i < first && i < t->count; i += 8)
            take_eight(t, i, same, above);
        if (kerf_cpu_is_v4())
            take_v4(t, &i, same, above);
        take_v3(t, &i, same, above);
    }
#endif
    for (; i < t->count; i += 8)
        take_eight(t, i, same, above);
}

struct range {
    uint16_t least, greatest, all; /* without the sign; or-ed, with it */
};

KERF_INLINE struct range
range_of(const uint16_t *upper, size_t n)
{
    struct range r = {.least = 0x7fff};

    for (size_t i = 0; i < n; i++) {
        uint16_t v = upper[i] & 0x7fff;

        r.least = v < r.least ? v : r.least;
        r.greatest = v > r.greatest ? v : r.greatest;
        r.all |= upper[i];
    }
    return r;
}

KERF_V3 static struct range
range_of_v3(const uint16_t *upper, size_t n)
{
    return range_of(upper, n);
}

KERF_INLINE void
split(const struct exact_form *f, const uint16_t *restrict upper, size_t n,
      uint8_t *restrict symbol, uint8_t *restrict beside)
{
    const unsigned more = f->more;
    const unsigned left = EXACT_MANTISSA - more;
    const uint16_t below = (uint16_t)((1u << left) - 1);
    /* exponent and bits of the mantissa count in opposite directions */
    const uint16_t top = (uint16_t)(f->top << more);
    const uint16_t bits = (uint16_t)((1u << more) - 1);

    for (size_t i = 0; i < n; i++) {
        uint16_t v = upper[i];
        uint16_t size = (uint16_t)((v & 0x7fff) >> left);

        symbol[i] = (uint8_t)((top - (size & (uint16_t)~bits)) | (size & bits));
        beside[i] = (uint8_t)((v & below) | (uint16_t)(v >> 15 << left));
    }
}

KERF_V3 static void
split_v3(const struct exact_form *f, const uint16_t *upper, size_t n,
         uint8_t *symbol, uint8_t *beside)
{
    split(f, upper, n, symbol, beside);
}

#if defined(__x86_64__)

/* Returns how many are done. */
KERF_V4 static size_t
split_v4(const struct exact_form *f, const uint16_t *upper, size_t n,
         uint8_t *symbol, uint8_t *beside)
{
    const unsigned left = EXACT_MANTISSA - f->more;
    const __m512i no_sign = _mm512_set1_epi16(0x7fff);
    const __m512i below = _mm512_set1_epi16((short)((1u << left) - 1));
    const __m512i top = _mm512_set1_epi16((short)(f->top << f->more));
    const __m512i bits = _mm512_set1_epi16((short)((1u << f->more) - 1));
    const __m128i by = _mm_cvtsi32_si128((int)left);
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m512i v = _mm512_loadu_si512(upper + i);
        __m512i size = _mm512_srl_epi16(_mm512_and_si512(v, no_sign), by);
        __m512i s = _mm512_or_si512(
            _mm512_sub_epi16(top, _mm512_andnot_si512(bits, size)),
            _mm512_and_si512(size, bits));
        __m512i b =
            _mm512_or_si512(_mm512_and_si512(v, below),
                            _mm512_sll_epi16(_mm512_srli_epi16(v, 15), by));
        __m256i out = _mm512_cvtepi16_epi8(s);

        memcpy(symbol + i, &out, sizeof out);
        out = _mm512_cvtepi16_epi8(b);
        memcpy(beside + i, &out, sizeof out);
    }
    return i;
}

#endif

static void
split_all(const struct exact_form *f, const uint16_t *upper, size_t n,
          uint8_t *symbol, uint8_t *beside)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v4())
        i = split_v4(f, upper, n, symbol, beside);
#endif
    if (kerf_cpu_is_v3())
        split_v3(f, upper + i, n - i, symbol + i, beside + i);
    else
        split(f, upper + i, n - i, symbol + i, beside + i);
}

/* `rest` bits of each of eight bytes, as so many bytes. */
KERF_INLINE uint64_t
squeeze(uint64_t v, unsigned rest)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++)
        out |= (v >> 8 * i & ((1u << rest) - 1)) << rest * i;
    return out;
}

#if defined(__x86_64__)
KERF_V3 static void
squeeze_v3(uint8_t *out, const uint8_t *beside, size_t n, unsigned rest)
{
    uint64_t where = EACH_BYTE * ((1u << rest) - 1);

    for (size_t i = 0; i < n; i += 8) {
        uint64_t v;

        memcpy(&v, beside + i, sizeof v);
        v = _pext_u64(v, where);
        memcpy(out, &v, sizeof v);
        out += rest;
    }
}
#endif

/* Eight bytes at a time: behind the end of out up to 8 are written to. */
static void
squeeze_all(uint8_t *out, uint8_t *beside, size_t n, unsigned rest)
{
    memset(beside + n, 0, 8);
#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        squeeze_v3(out, beside, n, rest);
        return;
    }
#endif
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v;

        memcpy(&v, beside + i, sizeof v);
        v = squeeze(v, rest);
        memcpy(out, &v, sizeof v);
        out += rest;
    }
}

/* How the literals' upper halves are coded: all that flags do not say yet. */
static unsigned
choose_form(struct exact_form *f, unsigned flags, const uint16_t *upper,
            size_t n)
{
    struct range r =
        kerf_cpu_is_v3() ? range_of_v3(upper, n) : range_of(upper, n);
    unsigned top = r.greatest >> EXACT_MANTISSA;
    unsigned down = n == 0 ? 0 : top - (r.least >> EXACT_MANTISSA);
    unsigned more = 0;

    while (more < MORE_MOST && (down + 1) << (more + 1) <= SYMBOLS_FAST)
        more++;
    flags |= more << EXACT_MORE_SHIFT;
    if (r.all >> 15 != 0)
        flags |= EXACT_SIGNS;
    *f = exact_form_of(flags, top);
    return flags;
}

void
kerf_exact_put(kerf_wr *w, const float *x, size_t count, size_t width,
               uint8_t *scratch)
{
    struct exact_parts p = kerf_exact_lay_out(scratch, count);
    unsigned flags = look(x, count, width);
    struct taking t = {.x = x,
                       .count = count,
                       .width = width,
                       .lower = w->at + 8,
                       .upper = p.upper,
                       .same = p.same,
                       .above = {.at = p.above},
                       .zero = {.at = p.zero}};
    struct exact_form f;
    uint8_t *spare;
    size_t rest_len;

    if (w->left < 8 + 2 * (count + 16)) {
        w->bad = true;
        return;
    }
    take(&t, (flags & EXACT_SAME) != 0, (flags & EXACT_ABOVE) != 0);
    flags = choose_form(&f, flags, p.upper, t.literals);
    kerf_wr_u8(w, (uint8_t)flags);
    kerf_wr_u8(w, (uint8_t)f.top);
    kerf_wr_u16(w, f.above ? (uint16_t)width : 0);
    kerf_wr_u32(w, (uint32_t)t.literals);
    w->at += 2 * t.literals; /* they are there */
    w->left -= 2 * t.literals;
    split_all(&f, p.upper, t.literals, p.symbol, p.beside);
    rest_len = exact_rest_len(&f, t.literals);
    if (w->left < rest_len + 8) {
        w->bad = true;
        return;
    }
    squeeze_all(w->at, p.beside, t.literals, f.rest);
    w->at += rest_len;
    w->left -= rest_len;
    spare = (uint8_t *)p.upper; /* is no longer needed */
    kerf_coded_put(w, p.symbol, t.literals, spare);
    if (f.same)
        kerf_coded_put(w, p.same, (count + 7) / 8, spare);
    if (f.above)
        kerf_coded_put(w, p.above, end_bits(&t.above, p.above), spare);
    kerf_coded_put(w, p.zero, end_bits(&t.zero, p.zero), spare);
}
