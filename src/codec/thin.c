#include "codec/thin.h"

#include "codec/coded.h"
#include "codec/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define PAD 64 /* literals are stored up to 64 at a time */
#define EACH_BYTE UINT64_C(0x0101010101010101)

/* A look at this many runs of so many numbers says how to go about it. */
#define LOOK_RUNS 8
#define LOOK_RUN 96
#define LOOKS ((size_t)LOOK_RUNS * LOOK_RUN)
#define LOOK_FROM 8193 /* numbers: below, looking takes too long */
#define DENSE_SHARE 32 /* fewer than this fraction are left out: no mask */

enum flags {
    FLAG_DELTAS = 1, /* literals are differences to the number before */
    FLAG_DENSE = 2,  /* no mask: every number is a literal */
};

size_t
kerf_thin_scratch(size_t count)
{
    return count + PAD + count / 8 + PAD;
}

static uint8_t *
mask_in(uint8_t *scratch, size_t count)
{
    return scratch + count + PAD;
}

/* What is coded of v[i]; 0: it is left out. */
KERF_INLINE uint8_t
literal_of(const uint8_t *v, size_t i, uint8_t common, bool deltas)
{
    if (!deltas)
        return (uint8_t)(v[i] - common);
    return (uint8_t)(v[i] - (i > 0 ? v[i - 1] : 0));
}

struct look {
    uint32_t seen[256];
};

/* How far the order-0 entropy is below the most there can be, in 1/256 bits and
 * about: n * log2(n) of each, half a percent off. The mask's and the literals'
 * entropies add up to that of all. */
KERF_INLINE uint32_t
gain_of(const struct look *l)
{
    uint32_t gain = 0;

    for (size_t s = 0; s < 256; s++) {
        uint32_t n = l->seen[s];
        uint32_t bits = kerf_float_bits((float)(int32_t)n) - (127u << 23);
        uint32_t x = bits >> 15 & 255; /* the mantissa, 0 to 1 */

        gain += n * ((bits >> 23 << 8) + x + (x * (256 - x) * 88 >> 16));
    }
    return gain;
}

KERF_V3 static uint32_t
gain_of_v3(const struct look *l)
{
    return gain_of(l);
}

static unsigned
choose_flags(const uint8_t *v, size_t count, uint8_t common)
{
    struct look plain = {{0}};
    struct look deltas = {{0}};
    const struct look *best = &plain;
    bool v3 = kerf_cpu_is_v3();
    unsigned flags = 0;

    if (count < LOOK_FROM)
        return 0;
    for (size_t r = 0; r < LOOK_RUNS; r++) {
        const uint8_t *at =
            v + 1 + (count - 1 - LOOK_RUN) / (LOOK_RUNS - 1) * r;

        for (const uint8_t *end = at + LOOK_RUN; at < end; at++) {
            plain.seen[(uint8_t)(*at - common)]++;
            deltas.seen[(uint8_t)(*at - at[-1])]++;
        }
    }
    /* Many equal neighbours make runs in the mask, beside the entropy. */
    if (v3 ? gain_of_v3(&deltas) > gain_of_v3(&plain)
           : gain_of(&deltas) > gain_of(&plain)) {
        flags |= FLAG_DELTAS;
        best = &deltas;
    }
    if (best->seen[0] < LOOKS / DENSE_SHARE)
        flags |= FLAG_DENSE;
    return flags;
}

struct thinning {
    const uint8_t *v;
    size_t count;
    uint8_t common;
    bool deltas, dense;
    uint8_t *mask, *lit;
};

/* From element i, which is the first of a byte of the mask, to the end. */
static uint8_t *
thin_rest(const struct thinning *t, size_t i, size_t end, uint8_t *lit)
{
    for (; i < end; i += 8) {
        unsigned bits = 0;

        for (size_t k = 0; k < 8 && i + k < end; k++) {
            uint8_t x = literal_of(t->v, i + k, t->common, t->deltas);

            *lit = x;
            lit += x != 0 || t->dense;
            bits |= (unsigned)(x != 0) << k;
        }
        t->mask[i / 8] = (uint8_t)bits;
    }
    return lit;
}

#if defined(__x86_64__)

KERF_INLINE KERF_V3 uint8_t *
keep_eight(uint8_t *lit, uint64_t x, uint64_t zeros)
{
    uint64_t kept = _pext_u64(x, ~zeros);

    memcpy(lit, &kept, sizeof kept);
    return lit + 8 - (unsigned)__builtin_popcountll(zeros) / 8;
}

/* From element *from on, 32 at a time. */
KERF_V3 static uint8_t *
thin_v3(const struct thinning *t, size_t *from, uint8_t *lit)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i common = _mm256_set1_epi8((char)t->common);
    size_t i = *from;

    for (; i + 32 <= t->count; i += 32) {
        __m256i x, last, zeros;
        uint32_t keep;

        memcpy(&x, t->v + i, sizeof x);
        memcpy(&last, t->v + i - (t->deltas ? 1 : 0), sizeof last);
        x = _mm256_sub_epi8(x, t->deltas ? last : common);
        if (t->dense) {
            memcpy(lit, &x, sizeof x);
            lit += sizeof x;
            continue;
        }
        zeros = _mm256_cmpeq_epi8(x, zero);
        keep = ~(uint32_t)_mm256_movemask_epi8(zeros);
        memcpy(t->mask + i / 8, &keep, sizeof keep);
        lit = keep_eight(lit, (uint64_t)_mm256_extract_epi64(x, 0),
                         (uint64_t)_mm256_extract_epi64(zeros, 0));
        lit = keep_eight(lit, (uint64_t)_mm256_extract_epi64(x, 1),
                         (uint64_t)_mm256_extract_epi64(zeros, 1));
        lit = keep_eight(lit, (uint64_t)_mm256_extract_epi64(x, 2),
                         (uint64_t)_mm256_extract_epi64(zeros, 2));
        lit = keep_eight(lit, (uint64_t)_mm256_extract_epi64(x, 3),
                         (uint64_t)_mm256_extract_epi64(zeros, 3));
    }
    *from = i;
    return lit;
}

/* 64 at a time. */
KERF_V4 static uint8_t *
thin_v4(const struct thinning *t, size_t *from, uint8_t *lit)
{
    const __m512i common = _mm512_set1_epi8((char)t->common);
    size_t i = *from;

    for (; i + 64 <= t->count; i += 64) {
        __m512i x = _mm512_loadu_si512(t->v + i);
        __mmask64 keep;

        x = _mm512_sub_epi8(x, t->deltas ? _mm512_loadu_si512(t->v + i - 1)
                                         : common);
        if (t->dense) {
            _mm512_storeu_si512(lit, x);
            lit += 64;
            continue;
        }
        keep = _mm512_test_epi8_mask(x, x);
        memcpy(t->mask + i / 8, &keep, sizeof keep);
        _mm512_storeu_si512(lit, _mm512_maskz_compress_epi8(keep, x));
        lit += __builtin_popcountll(keep);
    }
    *from = i;
    return lit;
}

#endif

static size_t
thin(const struct thinning *t)
{
    size_t i = 0;
    uint8_t *lit = t->lit;

#if defined(__x86_64__)
    if (kerf_cpu_is_v3() && t->count >= 8) {
        lit = thin_rest(t, 0, 8, lit); /* one of them has none before it */
        i = 8;
        if (kerf_cpu_is_v4())
            lit = thin_v4(t, &i, lit);
        lit = thin_v3(t, &i, lit);
    }
#endif
    return (size_t)(thin_rest(t, i, t->count, lit) - t->lit);
}

void
kerf_thin_put(kerf_wr *w, const uint8_t *v, size_t count, uint8_t common,
              uint8_t *scratch)
{
    unsigned flags = choose_flags(v, count, common);
    struct thinning t = {.v = v,
                         .count = count,
                         .common = common,
                         .deltas = (flags & FLAG_DELTAS) != 0,
                         .dense = (flags & FLAG_DENSE) != 0,
                         .mask = mask_in(scratch, count),
                         .lit = scratch};
    size_t literals = thin(&t);

    kerf_wr_u8(w, (uint8_t)flags);
    kerf_wr_u8(w, t.deltas ? 0 : common);
    if (!t.dense)
        kerf_coded_put(w, t.mask, (count + 7) / 8, NULL);
    kerf_coded_put(w, t.lit, literals, NULL);
}

/* Bits of the mask. */
KERF_INLINE size_t
count_bits(const uint8_t *mask, size_t bytes)
{
    size_t n = 0;
    size_t i = 0;

    for (; i + 8 <= bytes; i += 8) {
        uint64_t x;

        memcpy(&x, mask + i, sizeof x);
        n += (unsigned)__builtin_popcountll(x);
    }
    for (; i < bytes; i++)
        n += (unsigned)__builtin_popcount(mask[i]);
    return n;
}

KERF_V3 static size_t
count_bits_v3(const uint8_t *mask, size_t bytes)
{
    return count_bits(mask, bytes);
}

/* Literals to where the mask has them, zeros to where not. */
static void
spread_rest(uint8_t *v, size_t i, size_t count, const uint8_t *mask,
            const uint8_t *lit)
{
    for (; i < count; i++)
        v[i] = mask[i / 8] >> i % 8 & 1 ? *lit++ : 0;
}

/* Back to numbers: sums of differences. */
KERF_INLINE void
sum_up(uint8_t *v, size_t from, size_t count, uint8_t last)
{
    for (size_t i = from; i < count; i++)
        v[i] = last = (uint8_t)(last + v[i]);
}

KERF_INLINE void
add_all(uint8_t *v, size_t count, uint8_t common)
{
    for (size_t i = 0; i < count; i++)
        v[i] = (uint8_t)(v[i] + common);
}

#if defined(__x86_64__)

/* 64 at a time; returns how many are done. */
KERF_V4 static size_t
spread_v4(uint8_t *v, size_t count, const uint8_t *mask, const uint8_t **lit)
{
    size_t i = 0;

    for (; i + 64 <= count; i += 64) {
        __mmask64 where;
        __mmask64 first;
        __m512i x;

        memcpy(&where, mask + i / 8, sizeof where);
        first = _bzhi_u64(UINT64_MAX, (unsigned)__builtin_popcountll(where));
        x = _mm512_maskz_loadu_epi8(first, *lit);
        _mm512_storeu_si512(v + i, _mm512_maskz_expand_epi8(where, x));
        *lit += __builtin_popcountll(where);
    }
    return i;
}

KERF_V3 static void
spread_v3(uint8_t *v, size_t i, size_t count, const uint8_t *mask,
          const uint8_t *lit, const uint8_t *lit_end)
{
    for (; i + 8 <= count && lit_end - lit >= 8; i += 8) {
        uint64_t where = _pdep_u64(mask[i / 8], EACH_BYTE) * 255;
        uint64_t x;

        memcpy(&x, lit, sizeof x);
        x = _pdep_u64(x, where);
        memcpy(v + i, &x, sizeof x);
        lit += (unsigned)__builtin_popcount(mask[i / 8]);
    }
    spread_rest(v, i, count, mask, lit);
}

KERF_V3 static void
sum_up_v3(uint8_t *v, size_t count)
{
    const __m128i to_all = _mm_set1_epi8(15);
    __m128i last = _mm_setzero_si128();
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        __m128i x;

        memcpy(&x, v + i, sizeof x);
        x = _mm_add_epi8(x, _mm_slli_si128(x, 1));
        x = _mm_add_epi8(x, _mm_slli_si128(x, 2));
        x = _mm_add_epi8(x, _mm_slli_si128(x, 4));
        x = _mm_add_epi8(x, _mm_slli_si128(x, 8));
        x = _mm_add_epi8(x, last);
        memcpy(v + i, &x, sizeof x);
        last = _mm_shuffle_epi8(x, to_all);
    }
    sum_up(v, i, count, i > 0 ? v[i - 1] : 0);
}

KERF_V3 static void
add_all_v3(uint8_t *v, size_t count, uint8_t common)
{
    add_all(v, count, common);
}

#endif

static void
fatten(uint8_t *v, size_t count, const uint8_t *mask, const uint8_t *lit,
       size_t literals)
{
#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        const uint8_t *end = lit + literals;
        size_t i = kerf_cpu_is_v4() ? spread_v4(v, count, mask, &lit) : 0;

        spread_v3(v, i, count, mask, lit, end);
        return;
    }
#endif
    (void)literals;
    spread_rest(v, 0, count, mask, lit);
}

static void
undo(uint8_t *v, size_t count, uint8_t common, bool deltas)
{
#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        if (deltas)
            sum_up_v3(v, count);
        else if (common != 0)
            add_all_v3(v, count, common);
        return;
    }
#endif
    if (deltas)
        sum_up(v, 0, count, 0);
    else if (common != 0)
        add_all(v, count, common);
}

bool
kerf_thin_get(kerf_rd *r, uint8_t *v, size_t count, uint8_t *scratch)
{
    uint8_t flags = kerf_rd_u8(r);
    uint8_t common = kerf_rd_u8(r);
    bool deltas = (flags & FLAG_DELTAS) != 0;
    size_t bytes = (count + 7) / 8;
    size_t literals = count;
    const uint8_t *mask = NULL;
    const uint8_t *lit;

    if (r->bad || flags > (FLAG_DELTAS | FLAG_DENSE) || (deltas && common != 0))
        return false;
    if ((flags & FLAG_DENSE) == 0) {
        mask = kerf_coded_get(r, mask_in(scratch, count), bytes);
        if (mask == NULL ||
            (count % 8 != 0 && mask[bytes - 1] >> count % 8 != 0))
            return false;
        literals = kerf_cpu_is_v3() ? count_bits_v3(mask, bytes)
                                    : count_bits(mask, bytes);
    }
    lit = kerf_coded_get(r, mask == NULL ? v : scratch, literals);
    if (lit == NULL || r->left != 0)
        return false;
    if (mask != NULL)
        fatten(v, count, mask, lit, literals);
    else if (lit != v)
        memcpy(v, lit, count);
    undo(v, count, common, deltas);
    return true;
}
