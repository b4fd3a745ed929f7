/*
 * The table says for the next 11 bits of a stream which symbols, one to four,
 * they begin with. A window holds 64 bits of the stream with a 1 as the lowest
 * bit: shifted left with what is used, that bit tells how much it was. After
 * five look-ups (55 bits) a window is filled again. Four windows at a time keep
 * the core busy, since each look-up waits for the one before it.
 */
#include "codec/cpu.h"
#include "codec/huf_own.h"

#include <stdbool.h>
#include <string.h>

#define TABLE_LEN (1u << HUF_BITS)
#define LOOKUPS 5                      /* in a filled window: 7 + 5 * 11 < 64 */
#define FILL_LEN 8                     /* bytes */
#define LENGTHS_MOST (256 * 3 / 2 + 2) /* bytes: up to three nibbles each */
#define ENTRY_MOST 4                   /* symbols */
#define FAST_FROM 256u    /* symbols: below, one by one is as fast */
#define TWOS_FROM 6144u   /* ... and below, only the table of ones pays */
#define TWOS_MOST_BITS 4u /* of a symbol; longer ones seldom come in twos */
#define FOURS_FROM \
    16384u /* ... and below this the table of twos pays, not of fours */

struct tables {
    uint16_t one[TABLE_LEN];  /* bits used 0..7, symbol */
    uint32_t two[TABLE_LEN];  /* symbols 0..15, bits 16..23, count 24..31 */
    uint64_t four[TABLE_LEN]; /* symbols 0..31, bits 32..39, count 40..47 */
};

struct stream {
    const uint8_t *in; /* of the window */
    unsigned used;     /* bits of the byte at in */
    uint8_t *out, *out_end;
    const uint8_t *in_end;
};

static bool read_lengths(uint8_t len[256], const uint8_t **in,
                         const uint8_t *end);
static bool fill_ones(uint16_t one[TABLE_LEN], const uint8_t len[256]);
static void fill_twos(struct tables *t);
static void fill_fours(struct tables *t);
static bool open_streams(struct stream s[HUF_STREAMS], uint8_t *out, size_t n,
                         const uint8_t *sizes, const uint8_t *in,
                         const uint8_t *end);
static void run_fast(struct stream s[HUF_STREAMS], const uint8_t *end,
                     const struct tables *t);
static void run_ones(struct stream s[HUF_STREAMS], const uint8_t *end,
                     const struct tables *t);
static bool finish(struct stream *s, const struct tables *t);

static bool
decode(uint8_t *out, size_t n, const uint8_t *in, const uint8_t *end)
{
    struct tables t;
    uint8_t len[256] = {0};
    struct stream s[HUF_STREAMS];
    const uint8_t *at = in + HUF_HEAD_LEN;
    bool ok = true;

    if (end - in < HUF_HEAD_LEN || n < HUF_LEAST_CODED ||
        !read_lengths(len, &at, end) || !fill_ones(t.one, len) ||
        !open_streams(s, out, n, in + 1, at, end))
        return false;
    if (n >= TWOS_FROM && 8 * (size_t)(end - at) < TWOS_MOST_BITS * n) {
        fill_twos(&t);
        if (n >= FOURS_FROM)
            fill_fours(&t);
        run_fast(s, end, &t);
    } else if (n >= FAST_FROM) {
        run_ones(s, end, &t);
    }
    for (size_t i = 0; i < HUF_STREAMS; i++)
        ok = finish(&s[i], &t) && ok;
    return ok;
}

const uint8_t *
kerf_huf_decode(uint8_t *out, size_t n, const uint8_t *in, size_t len)
{
    if (n == 0 || n > KERF_HUF_MOST || len == 0)
        return NULL;
    switch (in[0]) {
    case HUF_STORED:
        return len == n + 1 ? in + 1 : NULL;
    case HUF_RUN:
        if (len != 2)
            return NULL;
        memset(out, in[1], n);
        return out;
    case HUF_CODED:
        return decode(out, n, in, in + len) ? out : NULL;
    default:
        return NULL;
    }
}

/* The next 4 bits; HUF_END behind the end, which then fails as too short. */
static unsigned
take_nibble(const uint8_t *in, const uint8_t *end, size_t *at)
{
    size_t i = (*at)++;

    if (i / 2 >= (size_t)(end - in))
        return HUF_END;
    return i % 2 == 0 ? in[i / 2] >> 4 : in[i / 2] & 15u;
}

static bool
read_lengths(uint8_t len[256], const uint8_t **in, const uint8_t *end)
{
    size_t at = 0;
    size_t s = 0;

    for (;;) {
        unsigned v = take_nibble(*in, end, &at);
        size_t run = 1;
        uint8_t is = 0;

        if (v == HUF_END)
            break;
        if (v == HUF_ABSENT_4) {
            run = 2 + take_nibble(*in, end, &at);
        } else if (v == HUF_ABSENT_8) {
            run = 18 + (take_nibble(*in, end, &at) << 4);
            run += take_nibble(*in, end, &at);
        } else if (v == HUF_LIKE_LAST) {
            if (s == 0)
                return false;
            run = 3 + take_nibble(*in, end, &at);
            is = len[s - 1];
        } else {
            is = (uint8_t)v;
        }
        if (run > 256 - s)
            return false;
        memset(len + s, is, run);
        s += run;
    }
    at = (at + 1) / 2;
    if (at > (size_t)(end - *in))
        return false;
    *in += at;
    return true;
}

KERF_INLINE void
fill_span(uint16_t *at, size_t span, uint16_t entry)
{
    uint64_t four = entry * UINT64_C(0x0001000100010001);

    at[0] = entry;
    at[span - 1] = entry;
    for (size_t k = 0; k + 4 <= span; k += 4)
        memcpy(at + k, &four, sizeof four);
}

/* False unless the codes are complete: every 11 bits begin with one. */
static bool
fill_ones(uint16_t one[TABLE_LEN], const uint8_t len[256])
{
    struct huf_order order;
    const uint8_t *symbol = order.symbol;
    size_t room = 0;
    uint16_t *at = one;

    kerf_huf_order(&order, len);
    for (size_t b = 1; b <= HUF_BITS; b++)
        room += (size_t)order.with[b] * (TABLE_LEN >> b);
    if (room != TABLE_LEN)
        return false;
    for (size_t b = 1; b <= HUF_BITS; b++) {
        size_t span = TABLE_LEN >> b;

        for (size_t i = order.with[b]; i > 0; i--, at += span)
            fill_span(at, span, (uint16_t)((unsigned)*symbol++ << 8 | b));
    }
    return true;
}

/* As many codes as are whole within the 11 bits, up to two; as an entry of up
 * to four, too. */
static void
fill_twos(struct tables *t)
{
    for (uint32_t i = 0; i < TABLE_LEN; i++) {
        uint32_t a = t->one[i];
        uint32_t b = t->one[i << (a & 0xFF) & (TABLE_LEN - 1)];
        uint32_t bits = (a & 0xFF) + (b & 0xFF);
        uint32_t both = a >> 8 | (b & 0xFF00) | bits << 16 | 2u << 24;
        uint32_t only = a >> 8 | (a & 0xFF) << 16 | 1u << 24;

        t->two[i] = bits <= HUF_BITS ? both : only;
        t->four[i] = (t->two[i] & 0xFFFF) | (uint64_t)(t->two[i] >> 16) << 32;
    }
}

/* Two times two. */
static void
fill_fours(struct tables *t)
{
    for (uint32_t i = 0; i < TABLE_LEN; i++) {
        uint32_t a = t->two[i];
        uint32_t next = i << (a >> 16 & 0xFF) & (TABLE_LEN - 1);
        uint32_t b = t->two[next];
        uint32_t one = t->one[next];
        uint32_t one_too = one >> 8 | (one & 0xFF) << 16 | 1u << 24;
        uint32_t room = HUF_BITS - (a >> 16 & 0xFF);

        b = (b >> 16 & 0xFF) <= room ? b : one_too;
        b = (b >> 16 & 0xFF) <= room ? b : 0;
        /* Where only one symbol of `a` fits, none of b does. */
        t->four[i] = (a & 0xFFFF) | (b & 0xFFFF) << 16 |
                     (uint64_t)((a >> 16) + (b >> 16)) << 32;
    }
}

static bool
open_streams(struct stream s[HUF_STREAMS], uint8_t *out, size_t n,
             const uint8_t *sizes, const uint8_t *in, const uint8_t *end)
{
    size_t share = huf_share(n);

    if (share * (HUF_STREAMS - 1) > n)
        return false;
    for (size_t i = 0; i < HUF_STREAMS; i++) {
        size_t len = (size_t)(end - in);

        if (i + 1 < HUF_STREAMS) {
            size_t said = sizes[2 * i] | (size_t)sizes[2 * i + 1] << 8;

            if (said > len)
                return false;
            len = said;
        }
        s[i] = (struct stream){
            .in = in,
            .in_end = in + len,
            .out = out + i * share,
            .out_end = i + 1 < HUF_STREAMS ? out + (i + 1) * share : out + n};
        in += len;
    }
    return true;
}

static inline uint64_t
load_be64(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof v);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(v) : v;
}

/* Look-up and symbols of one stream; four bytes are stored, the count of them
 * is what the entry says. */
#define STEP(window, out)                                   \
    do {                                                    \
        uint64_t entry = four[(window) >> (64 - HUF_BITS)]; \
        uint32_t symbols = (uint32_t)entry;                 \
                                                            \
        memcpy((out), &symbols, sizeof symbols);            \
        (window) <<= entry >> 32 & 63;                      \
        (out) += entry >> 40;                               \
    } while (0)

#define FILL(window, in, used) ((window) = (load_be64(in) | 1) << (used))

/* Forgets what is used of the window: whole bytes, and bits of the next. */
#define ADVANCE(window, in, used)                          \
    do {                                                   \
        unsigned gone = (unsigned)__builtin_ctzll(window); \
                                                           \
        (in) += gone >> 3;                                 \
        (used) = gone & 7;                                 \
    } while (0)

/* One symbol. */
#define STEP_ONE(window, out)                                 \
    do {                                                      \
        unsigned entry = t->one[(window) >> (64 - HUF_BITS)]; \
                                                              \
        (out) = (uint8_t)(entry >> 8);                        \
        (window) <<= entry & 63;                              \
    } while (0)

/* How often a stream can fill and step without reading behind the block or
 * writing behind its own part. */
KERF_INLINE size_t
safe_rounds(const struct stream *s, const uint8_t *end)
{
    size_t in_left = (size_t)(end - s->in);
    size_t out_left = (size_t)(s->out_end - s->out);
    size_t in_rounds = in_left < FILL_LEN ? 0 : (in_left - FILL_LEN) / 7;
    size_t out_rounds = out_left / ((size_t)ENTRY_MOST * LOOKUPS);

    return in_rounds < out_rounds ? in_rounds : out_rounds;
}

KERF_INLINE void
run_four(struct stream s[HUF_STREAMS], const uint8_t *end,
         const uint64_t four[TABLE_LEN])
{
    const uint8_t *in0 = s[0].in, *in1 = s[1].in, *in2 = s[2].in,
                  *in3 = s[3].in;
    uint8_t *out0 = s[0].out, *out1 = s[1].out, *out2 = s[2].out,
            *out3 = s[3].out;
    uint64_t w0, w1, w2, w3;
    unsigned u0 = 0, u1 = 0, u2 = 0, u3 = 0;

    for (;;) {
        size_t rounds = safe_rounds(&s[0], end);

        for (size_t i = 1; i < HUF_STREAMS; i++) {
            size_t other = safe_rounds(&s[i], end);

            rounds = other < rounds ? other : rounds;
        }
        if (rounds == 0)
            break;
        for (; rounds > 0; rounds--) {
            FILL(w0, in0, u0);
            FILL(w1, in1, u1);
            FILL(w2, in2, u2);
            FILL(w3, in3, u3);
#pragma GCC unroll 5
            for (int i = 0; i < LOOKUPS; i++) {
                STEP(w0, out0);
                STEP(w1, out1);
                STEP(w2, out2);
                STEP(w3, out3);
            }
            ADVANCE(w0, in0, u0);
            ADVANCE(w1, in1, u1);
            ADVANCE(w2, in2, u2);
            ADVANCE(w3, in3, u3);
        }
        s[0].in = in0, s[1].in = in1, s[2].in = in2, s[3].in = in3;
        s[0].out = out0, s[1].out = out1, s[2].out = out2, s[3].out = out3;
    }
    s[0].used = u0, s[1].used = u1, s[2].used = u2, s[3].used = u3;
}

/* What one stream has more than those that were done first. */
KERF_INLINE void
run_one(struct stream *s, const uint8_t *end, const uint64_t four[TABLE_LEN])
{
    for (size_t rounds = safe_rounds(s, end); rounds > 0;
         rounds = safe_rounds(s, end)) {
        for (; rounds > 0; rounds--) {
            uint64_t window;

            FILL(window, s->in, s->used);
            for (int i = 0; i < LOOKUPS; i++)
                STEP(window, s->out);
            ADVANCE(window, s->in, s->used);
        }
    }
}

KERF_INLINE void
run(struct stream s[HUF_STREAMS], const uint8_t *end, const struct tables *t)
{
    run_four(s, end, t->four);
    for (size_t i = 0; i < HUF_STREAMS; i++)
        run_one(&s[i], end, t->four);
}

KERF_V3 static void
run_v3(struct stream s[HUF_STREAMS], const uint8_t *end, const struct tables *t)
{
    run(s, end, t);
}

static void
run_fast(struct stream s[HUF_STREAMS], const uint8_t *end,
         const struct tables *t)
{
    if (kerf_cpu_is_v3())
        run_v3(s, end, t);
    else
        run(s, end, t);
}

/* The same with one symbol each, as far as all four have input for it. */
KERF_INLINE void
run_singles(struct stream s[HUF_STREAMS], const uint8_t *end,
            const struct tables *t)
{
    const uint8_t *in0 = s[0].in, *in1 = s[1].in, *in2 = s[2].in,
                  *in3 = s[3].in;
    uint8_t *out0 = s[0].out, *out1 = s[1].out, *out2 = s[2].out,
            *out3 = s[3].out;
    uint64_t w0, w1, w2, w3;
    unsigned u0 = 0, u1 = 0, u2 = 0, u3 = 0;

    /* The last stream is the shortest, and is the next to the block's end. */
    for (size_t left = (size_t)(s[3].out_end - out3); left >= LOOKUPS;
         left -= LOOKUPS) {
        if (end - in3 < FILL_LEN || end - in2 < FILL_LEN ||
            end - in1 < FILL_LEN || end - in0 < FILL_LEN)
            break;
        FILL(w0, in0, u0);
        FILL(w1, in1, u1);
        FILL(w2, in2, u2);
        FILL(w3, in3, u3);
#pragma GCC unroll 5
        for (int i = 0; i < LOOKUPS; i++) {
            STEP_ONE(w0, out0[i]);
            STEP_ONE(w1, out1[i]);
            STEP_ONE(w2, out2[i]);
            STEP_ONE(w3, out3[i]);
        }
        out0 += LOOKUPS, out1 += LOOKUPS, out2 += LOOKUPS, out3 += LOOKUPS;
        ADVANCE(w0, in0, u0);
        ADVANCE(w1, in1, u1);
        ADVANCE(w2, in2, u2);
        ADVANCE(w3, in3, u3);
    }
    s[0].in = in0, s[1].in = in1, s[2].in = in2, s[3].in = in3;
    s[0].out = out0, s[1].out = out1, s[2].out = out2, s[3].out = out3;
    s[0].used = u0, s[1].used = u1, s[2].used = u2, s[3].used = u3;
}

KERF_V3 static void
run_singles_v3(struct stream s[HUF_STREAMS], const uint8_t *end,
               const struct tables *t)
{
    run_singles(s, end, t);
}

static void
run_ones(struct stream s[HUF_STREAMS], const uint8_t *end,
         const struct tables *t)
{
    if (kerf_cpu_is_v3())
        run_singles_v3(s, end, t);
    else
        run_singles(s, end, t);
}

/* 64 bits from in, zeros behind the stream's end. */
static uint64_t
load_end(const struct stream *s)
{
    uint64_t v = 0;

    if (s->in_end - s->in >= FILL_LEN)
        return load_be64(s->in);
    for (int i = 0; i < FILL_LEN; i++)
        v = v << 8 | (s->in + i < s->in_end ? s->in[i] : 0u);
    return v;
}

/* What is left of one stream, with every check. True: it ends where it says,
 * within the last byte, with zeros. */
static bool
finish(struct stream *s, const struct tables *t)
{
    while (s->out < s->out_end) {
        uint64_t window = (load_end(s) | 1) << s->used;
        unsigned gone;

        for (int i = 0; i < LOOKUPS && s->out < s->out_end; i++) {
            uint16_t entry = t->one[window >> (64 - HUF_BITS)];

            *s->out++ = (uint8_t)(entry >> 8);
            window <<= entry & 63;
        }
        gone = (unsigned)__builtin_ctzll(window);
        if (s->in > s->in_end || gone > 8 * (size_t)(s->in_end - s->in))
            return false; /* codes ran on behind the stream's end */
        s->in += gone >> 3;
        s->used = gone & 7;
    }
    if (s->used == 0)
        return s->in == s->in_end;
    return s->in_end - s->in == 1 && (uint8_t)(*s->in << s->used) == 0;
}
