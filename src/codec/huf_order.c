/* Symbols by the lengths of their codes: both coding and decoding need it for
 * each block, and for small ones it is a good part of what they take. */
#include "codec/huf_own.h"

#include "codec/cpu.h"

#include <string.h>

#define SYMBOLS 256

static void
order(struct huf_order *o, const uint8_t len[SYMBOLS])
{
    size_t next[HUF_BITS + 1];
    size_t at = 0;

    memset(o->with, 0, sizeof o->with);
    for (size_t s = 0; s < SYMBOLS; s++)
        o->with[len[s]]++;
    for (size_t b = 1; b <= HUF_BITS; b++) {
        next[b] = at;
        at += o->with[b];
    }
    o->n = at;
    for (size_t s = 0; s < SYMBOLS; s++) {
        if (len[s] > 0)
            o->symbol[next[len[s]]++] = (uint8_t)s;
    }
}

#if defined(__x86_64__)

#include <immintrin.h>

/* Each length is compared with 32 symbols at a time. */
KERF_V3 static void
order_v3(struct huf_order *o, const uint8_t len[SYMBOLS])
{
    uint8_t *to = o->symbol;
    __m256i all[SYMBOLS / 32];

    memcpy(all, len, sizeof all);
    o->with[0] = SYMBOLS;
    for (unsigned b = 1; b <= HUF_BITS; b++) {
        const __m256i is = _mm256_set1_epi8((char)b);
        const uint8_t *start = to;

        for (unsigned i = 0; i < SYMBOLS / 32; i++) {
            uint32_t found =
                (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(all[i], is));

            for (; found != 0; found &= found - 1)
                *to++ = (uint8_t)(32 * i + (unsigned)__builtin_ctz(found));
        }
        o->with[b] = (uint16_t)(to - start);
        o->with[0] = (uint16_t)(o->with[0] - o->with[b]);
    }
    o->n = (size_t)(to - o->symbol);
}

#endif

void
kerf_huf_order(struct huf_order *o, const uint8_t len[SYMBOLS])
{
#if defined(__x86_64__)
    if (kerf_cpu_is_v3()) {
        order_v3(o, len);
        return;
    }
#endif
    order(o, len);
}
