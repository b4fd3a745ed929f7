#include "codec/exact_own.h"

#include "codec/coded.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A mask that is being read; 8 bytes behind its end can be. */
struct bits {
    const uint8_t *from;
    size_t at; /* bits */
};

/* n <= 16 */
KERF_INLINE unsigned
take_bits(struct bits *b, unsigned n)
{
    const uint8_t *at = b->from + b->at / 8;
    uint32_t v = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;

    v >>= b->at % 8;
    b->at += n;
    return v & ((1u << n) - 1);
}

struct giving {
    float *x;
    size_t count, width;
    const uint8_t *lower; /* halves of literals */
    const uint16_t *upper;
    size_t literals, at; /* so many, and how many are taken */
    const uint8_t *same;
    struct bits above, zero;
};

/* Eight floats, or what is left of them. */
KERF_INLINE void
give_eight(struct giving *g, size_t i, bool same, bool above)
{
    for (size_t k = 0; k < 8 && i + k < g->count; k++) {
        uint32_t word = 0;
        uint16_t half;

        if (same && (g->same[i / 8] >> k & 1) == 0) {
            word = exact_word(g->x, i + k, 1);
        } else if (above && take_bits(&g->above, 1) == 0) {
            word = exact_word(g->x, i + k, g->width);
        } else if (take_bits(&g->zero, 1) != 0) {
            memcpy(&half, g->lower + 2 * g->at, sizeof half);
            word = (uint32_t)g->upper[g->at++] << 16 | half;
        }
        g->x[i + k] = kerf_float_of(word);
    }
}

#if defined(__x86_64__)

/* A lane's mask for each bit of eight. */
KERF_INLINE KERF_V3 __m256i
lanes_of(uint64_t each_byte)
{
    return _mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)each_byte));
}

/* The next literals in the lanes that the mask has, zeros in the others. */
KERF_INLINE KERF_V3 __m256i
get_halves(struct giving *g, unsigned lanes)
{
    uint64_t where = _pdep_u64(lanes, EACH_BYTE) * 255;
    uint64_t order = _pdep_u64(LANES, where);
    uint8_t end[16] = {0};
    const uint8_t *from = g->lower + 2 * g->at;
    __m128i lower, upper;
    __m256i v;

    if (g->literals - g->at < 8) {
        memcpy(end, from, 2 * (g->literals - g->at));
        from = end;
    }
    memcpy(&lower, from, sizeof lower);
    memcpy(&upper, g->upper + g->at, sizeof upper);
    g->at += (unsigned)__builtin_popcount(lanes);
    v = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_unpacklo_epi16(lower, upper)),
        _mm_unpackhi_epi16(lower, upper), 1);
    v = _mm256_permutevar8x32_epi32(
        v, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)order)));
    return _mm256_and_si256(v, lanes_of(where));
}

/* Lanes that the mask does not have become as the one before them. */
KERF_INLINE KERF_V3 __m256i
fill(__m256i v, unsigned lanes, const float *before)
{
    uint64_t bits = _pdep_u64(lanes, EACH_BYTE);
    uint64_t has = _pext_u64(LANES, bits * 255); /* lanes of the mask */
    uint64_t sums = bits * EACH_BYTE;
    __m128i rank = /* in it, of the last one up to each lane; -1: none */
        _mm_sub_epi8(_mm_cvtsi64_si128((long long)sums), _mm_set1_epi8(1));
    __m128i from = _mm_shuffle_epi8(_mm_cvtsi64_si128((long long)has), rank);
    __m256i filled = _mm256_permutevar8x32_epi32(v, _mm256_cvtepu8_epi32(from));

    return _mm256_blendv_epi8(filled,
                              _mm256_set1_epi32((int)kerf_float_bits(*before)),
                              _mm256_cvtepi8_epi32(rank));
}

KERF_INLINE KERF_V3 void
give_vectors(struct giving *to, size_t *from, bool same, bool above)
{
    struct giving g = *to;
    size_t i = *from;

    for (; i + 8 <= g.count; i += 8) {
        unsigned lanes = same ? g.same[i / 8] : 255;
        unsigned own = lanes; /* not as the one before, nor as that above */
        unsigned nonzero;
        __m256i v;

        if (above)
            own = _pdep_u32(
                take_bits(&g.above, (unsigned)__builtin_popcount(lanes)),
                lanes);
        nonzero = _pdep_u32(
            take_bits(&g.zero, (unsigned)__builtin_popcount(own)), own);
        v = get_halves(&g, nonzero);
        if (above) {
            __m256i up;

            memcpy(&up, g.x + i - g.width, sizeof up);
            v = _mm256_blendv_epi8(
                v, up, lanes_of(_pdep_u64(lanes & ~own, EACH_BYTE) * 255));
        }
        if (same)
            v = fill(v, lanes, g.x + i - 1);
        memcpy(g.x + i, &v, sizeof v);
    }
    *to = g;
    *from = i;
}

KERF_V3 static void
give_v3(struct giving *g, size_t *from, bool same, bool above)
{
    if (above)
        give_vectors(g, from, true, true);
    else if (same)
        give_vectors(g, from, true, false);
    else
        give_vectors(g, from, false, false);
}

/* As fill(). */
KERF_INLINE KERF_V4 __m512i
fill_sixteen(__m512i v, __mmask16 lanes, const float *before)
{
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i up_to = _mm512_sub_epi32(
        _mm512_sllv_epi32(_mm512_set1_epi32(2), lane), _mm512_set1_epi32(1));
    __m512i rank =
        _mm512_popcnt_epi32(_mm512_and_si512(_mm512_set1_epi32(lanes), up_to));
    __m512i from =
        _mm512_permutexvar_epi32(_mm512_sub_epi32(rank, _mm512_set1_epi32(1)),
                                 _mm512_maskz_compress_epi32(lanes, lane));

    return _mm512_mask_set1_epi32(_mm512_permutexvar_epi32(from, v),
                                  _mm512_testn_epi32_mask(rank, rank),
                                  (int)kerf_float_bits(*before));
}

KERF_INLINE KERF_V4 void
give_sixteens(struct giving *to, size_t *from, bool same, bool above)
{
    struct giving g = *to;
    size_t i = *from;

    for (; i + 16 <= g.count; i += 16) {
        __mmask16 lanes = 0xffff;
        unsigned own;
        unsigned nonzero;
        unsigned n;
        __m512i v;
        __m512i upper;

        if (same)
            memcpy(&lanes, g.same + i / 8, sizeof lanes);
        own = lanes;
        if (above)
            own = _pdep_u32(
                take_bits(&g.above, (unsigned)__builtin_popcount(lanes)),
                lanes);
        nonzero = _pdep_u32(
            take_bits(&g.zero, (unsigned)__builtin_popcount(own)), own);
        n = (unsigned)__builtin_popcount(nonzero);
        v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(
            (__mmask16)((1u << n) - 1), g.lower + 2 * g.at));
        upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(
            (const __m256i *)(const void *)(g.upper + g.at)));
        g.at += n;
        v = _mm512_or_si512(v, _mm512_slli_epi32(upper, 16));
        v = _mm512_maskz_expand_epi32((__mmask16)nonzero, v);
        if (above)
            v = _mm512_mask_loadu_epi32(v, (__mmask16)(lanes & ~own),
                                        g.x + i - g.width);
        if (same)
            v = fill_sixteen(v, lanes, g.x + i - 1);
        _mm512_storeu_si512(g.x + i, v);
    }
    *to = g;
    *from = i;
}

KERF_V4 static void
give_v4(struct giving *g, size_t *from, bool same, bool above)
{
    if (above)
        give_sixteens(g, from, true, true);
    else if (same)
        give_sixteens(g, from, true, false);
    else
        give_sixteens(g, from, false, false);
}

#endif

static void
give(struct giving *g, bool same, bool above)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3() && (!above || g->width >= EXACT_ROW_LEAST)) {
        size_t first = above ? (g->width + 7) / 8 * 8 : same ? 8 : 0;

        for (; i < first && i < g->count; i += 8)
            give_eight(g, i, same, above);
        if (kerf_cpu_is_v4() && (!above || g->width >= 16))
            give_v4(g, &i, same, above);
        give_v3(g, &i, same, above);
    }
#endif
    for (; i < g->count; i += 8)
        give_eight(g, i, same, above);
}

KERF_INLINE uint64_t
spread(uint64_t v, unsigned rest)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++)
        out |= (v >> rest * i & ((1u << rest) - 1)) << 8 * i;
    return out;
}

#if defined(__x86_64__)
KERF_V3 static size_t
spread_v3(uint8_t *beside, const uint8_t *in, size_t in_len, size_t n,
          unsigned rest)
{
    uint64_t where = EACH_BYTE * ((1u << rest) - 1);
    size_t i = 0;

    for (; i < n && in_len >= 8; i += 8) {
        uint64_t v;

        memcpy(&v, in, sizeof v);
        v = _pdep_u64(v, where);
        memcpy(beside + i, &v, sizeof v);
        in += rest;
        in_len -= rest;
    }
    return i;
}
#endif

static void
spread_all(uint8_t *beside, const uint8_t *in, size_t in_len, size_t n,
           unsigned rest)
{
    size_t i = 0;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3())
        i = spread_v3(beside, in, in_len, n, rest);
#endif
    for (; i < n; i += 8) {
        size_t at = i / 8 * rest;
        uint64_t v = 0;

        memcpy(&v, in + at, in_len - at < 8 ? in_len - at : 8);
        v = spread(v, rest);
        memcpy(beside + i, &v, sizeof v);
    }
}

/* Returns the greatest symbol. */
KERF_INLINE unsigned
join(const struct exact_form *f, uint16_t *restrict upper, size_t n,
     const uint8_t *restrict symbol, const uint8_t *restrict beside)
{
    const unsigned more = f->more;
    const unsigned left = EXACT_MANTISSA - more;
    const uint16_t below = (uint16_t)((1u << left) - 1);
    const uint16_t top = (uint16_t)(f->top << more);
    const uint16_t bits = (uint16_t)((1u << more) - 1);
    uint8_t most = 0;

    for (size_t i = 0; i < n; i++) {
        uint16_t s = symbol[i];
        uint16_t b = beside[i];
        uint16_t size = (uint16_t)((top - (s & (uint16_t)~bits)) | (s & bits));

        most = symbol[i] > most ? symbol[i] : most;
        upper[i] = (uint16_t)((uint16_t)(size << left) | (b & below) |
                              (uint16_t)(b >> left << 15));
    }
    return most;
}

KERF_V3 static unsigned
join_v3(const struct exact_form *f, uint16_t *upper, size_t n,
        const uint8_t *symbol, const uint8_t *beside)
{
    return join(f, upper, n, symbol, beside);
}

#if defined(__x86_64__)

/* *done: how many are. */
KERF_V4 static unsigned
join_v4(const struct exact_form *f, uint16_t *upper, size_t n,
        const uint8_t *symbol, const uint8_t *beside, size_t *done)
{
    const unsigned left = EXACT_MANTISSA - f->more;
    const __m512i below = _mm512_set1_epi16((short)((1u << left) - 1));
    const __m512i top = _mm512_set1_epi16((short)(f->top << f->more));
    const __m512i bits = _mm512_set1_epi16((short)((1u << f->more) - 1));
    const __m128i by = _mm_cvtsi32_si128((int)left);
    __m512i most = _mm512_setzero_si512();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m256i in;
        __m512i s, b, size;

        memcpy(&in, symbol + i, sizeof in);
        s = _mm512_cvtepu8_epi16(in);
        memcpy(&in, beside + i, sizeof in);
        b = _mm512_cvtepu8_epi16(in);
        most = _mm512_max_epu16(most, s);
        size =
            _mm512_or_si512(_mm512_sub_epi16(top, _mm512_andnot_si512(bits, s)),
                            _mm512_and_si512(s, bits));
        size = _mm512_or_si512(_mm512_sll_epi16(size, by),
                               _mm512_and_si512(b, below));
        b = _mm512_slli_epi16(_mm512_srl_epi16(b, by), 15);
        _mm512_storeu_si512(upper + i, _mm512_or_si512(size, b));
    }
    *done = i;
    return _mm512_reduce_max_epu32(
        _mm512_max_epu32(_mm512_and_si512(most, _mm512_set1_epi32(0xffff)),
                         _mm512_srli_epi32(most, 16)));
}

#endif

/* Returns the greatest symbol. */
static unsigned
join_all(const struct exact_form *f, uint16_t *upper, size_t n,
         const uint8_t *symbol, const uint8_t *beside)
{
    size_t i = 0;
    unsigned most = 0;
    unsigned other;

#if defined(__x86_64__)
    if (kerf_cpu_is_v4())
        most = join_v4(f, upper, n, symbol, beside, &i);
#endif
    other = kerf_cpu_is_v3()
                ? join_v3(f, upper + i, n - i, symbol + i, beside + i)
                : join(f, upper + i, n - i, symbol + i, beside + i);
    return other > most ? other : most;
}

KERF_INLINE size_t
count_bits(const uint8_t *mask, size_t bytes)
{
    size_t n = 0;

    for (size_t i = 0; i < bytes; i += 8) { /* with zeros behind the end */
        uint64_t x;

        memcpy(&x, mask + i, sizeof x);
        n += (unsigned)__builtin_popcountll(x);
    }
    return n;
}

KERF_V3 static size_t
count_bits_v3(const uint8_t *mask, size_t bytes)
{
    return count_bits(mask, bytes);
}

/* A mask of `count` bits, zeros behind them. How many are set; false: it is
 * none. */
static bool
get_mask(kerf_rd *r, uint8_t *mask, size_t count, size_t *set)
{
    size_t bytes = (count + 7) / 8;
    const uint8_t *got = kerf_coded_get(r, mask, bytes);

    if (got == NULL)
        return false;
    if (got != mask)
        memcpy(mask, got, bytes);
    memset(mask + bytes, 0, 8);
    *set =
        kerf_cpu_is_v3() ? count_bits_v3(mask, bytes) : count_bits(mask, bytes);
    return count % 8 == 0 || mask[bytes - 1] >> count % 8 == 0;
}

/* False: not so many literals. */
static bool
get_upper(kerf_rd *r, const struct exact_form *f, struct exact_parts *p,
          size_t literals)
{
    size_t rest_len = exact_rest_len(f, literals);
    const uint8_t *rest = kerf_rd_bytes(r, rest_len);
    const uint8_t *symbol;
    unsigned most;

    if (rest == NULL)
        return false;
    symbol = kerf_coded_get(r, p->symbol, literals);
    if (symbol == NULL)
        return false;
    spread_all(p->beside, rest, rest_len, literals, f->rest);
    most = join_all(f, p->upper, literals, symbol, p->beside);
    return most >> f->more <= f->top;
}

bool
kerf_exact_get(kerf_rd *r, float *x, size_t count, uint8_t *scratch)
{
    struct exact_parts p = kerf_exact_lay_out(scratch, count);
    unsigned flags = kerf_rd_u8(r);
    unsigned top = kerf_rd_u8(r);
    size_t width = kerf_rd_u16(r);
    size_t literals = kerf_rd_u32(r);
    struct exact_form f = exact_form_of(flags, top);
    struct giving g = {.x = x,
                       .count = count,
                       .width = width,
                       .upper = p.upper,
                       .literals = literals,
                       .same = p.same,
                       .above = {.from = p.above},
                       .zero = {.from = p.zero}};
    size_t left = count;

    if (r->bad || (flags & ~(unsigned)EXACT_MOST) != 0 || literals > count ||
        f.above != (width != 0) || (f.above && !f.same))
        return false;
    g.lower = kerf_rd_bytes(r, 2 * literals);
    if (g.lower == NULL || !get_upper(r, &f, &p, literals) ||
        (f.same && !get_mask(r, p.same, left, &left)) ||
        (f.above && !get_mask(r, p.above, left, &left)) ||
        !get_mask(r, p.zero, left, &left) || left != literals || r->left != 0)
        return false;
    give(&g, f.same, f.above);
    return true;
}
