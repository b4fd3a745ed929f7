#include "codec/cpu.h"
#include "codec/huf_own.h"

#include <stdbool.h>
#include <string.h>

#define SYMBOLS 256
#define LEAST_GAIN 32    /* of the bytes: for less, decoding takes too long */
#define MANY 16384       /* symbols: more tables pay for being cleared */
#define SAMPLE_FROM 4096 /* a look at less takes too long beside it */
#define LEAST_ROWS 512   /* less than this does not pay for filling them */

struct nibbles {
    uint8_t v[SYMBOLS + 2]; /* one to a symbol at most, and the end */
    size_t n;
};

/* Ascending counts of the symbols that are there. */
struct ranked {
    uint32_t count[SYMBOLS];
    uint8_t symbol[SYMBOLS];
    size_t n;
};

static bool is_even(const uint32_t count[SYMBOLS], size_t n);
static void take_sample(uint16_t count[SYMBOLS], const uint8_t *in, size_t n);
static void count_symbols(uint32_t count[SYMBOLS], const uint8_t *in, size_t n);
static void rank(struct ranked *r, const uint32_t count[SYMBOLS]);
static void choose_lengths(uint8_t len[SYMBOLS], struct ranked *r);
static size_t put_lengths(uint8_t *out, const uint8_t len[SYMBOLS]);
static void make_codes(struct huf_code code[SYMBOLS],
                       const uint8_t len[SYMBOLS]);
static size_t put_stream(uint8_t *out, const uint8_t *in, size_t n,
                         const struct huf_code code[SYMBOLS],
                         const struct huf_rows *rows);

static size_t
store(uint8_t *out, const uint8_t *in, size_t n)
{
    out[0] = HUF_STORED;
    memcpy(out + 1, in, n);
    return n + 1;
}

static size_t
coded_len(const uint32_t count[SYMBOLS], const uint8_t len[SYMBOLS])
{
    size_t bits = 0;

    for (size_t s = 0; s < SYMBOLS; s++)
        bits += (size_t)count[s] * len[s];
    return bits / 8 + HUF_STREAMS; /* each stream ends with a whole byte */
}

size_t
kerf_huf_encode(uint8_t *out, const uint8_t *in, size_t n)
{
    uint32_t count[SYMBOLS];
    uint16_t sample[SYMBOLS] = {0};
    size_t counted = 0;
    uint8_t len[SYMBOLS], lengths[SYMBOLS];
    struct huf_code code[SYMBOLS];
    struct huf_rows rows;
    const struct huf_rows *fast = NULL;
    struct ranked ranked = {.n = 0};
    size_t share = huf_share(n);
    size_t lengths_len;
    uint8_t *at;

    memset(count, 0, sizeof count);
    if (n >= SAMPLE_FROM) {
        take_sample(sample, in, n);
        if (kerf_huf_is_noise(sample))
            return store(out, in, n);
        counted = kerf_huf_count_near(count, in, n, sample);
    }
    count_symbols(count, in + counted, n - counted);
    if (count[in[0]] == n) {
        out[0] = HUF_RUN;
        out[1] = in[0];
        return 2;
    }
    if (n < HUF_LEAST_CODED || (n < HUF_SAMPLES && is_even(count, n)))
        return store(out, in, n);
    rank(&ranked, count);
    choose_lengths(len, &ranked);
    lengths_len = put_lengths(lengths, len);
    if (HUF_HEAD_LEN + lengths_len + coded_len(count, len) >=
        n - n / LEAST_GAIN)
        return store(out, in, n);

    make_codes(code, len);
    if (n >= LEAST_ROWS && kerf_huf_rows(&rows, code))
        fast = &rows;
    out[0] = HUF_CODED;
    memcpy(out + HUF_HEAD_LEN, lengths, lengths_len);
    at = out + HUF_HEAD_LEN + lengths_len;
    for (size_t i = 0; i < HUF_STREAMS; i++) {
        size_t part = i + 1 < HUF_STREAMS ? share : n - i * share;
        size_t bytes = put_stream(at, in + i * share, part, code, fast);

        if (i + 1 < HUF_STREAMS) {
            out[1 + 2 * i] = (uint8_t)bytes;
            out[2 + 2 * i] = (uint8_t)(bytes >> 8);
        }
        at += bytes;
    }
    return (size_t)(at - out);
}

/* The sum of squared counts tells it without logarithms. */
bool
kerf_huf_is_noise(const uint16_t count[SYMBOLS])
{
    const uint32_t even = HUF_SAMPLES * HUF_SAMPLES / SYMBOLS;
    uint32_t squares = 0;

    for (size_t s = 0; s < SYMBOLS; s++)
        squares += (uint32_t)count[s] * count[s];
    return squares < HUF_SAMPLES + even + even / 4;
}

/* As noise, for few bytes: the code lengths of as many symbols would take more
 * than codes gain. */
static bool
is_even(const uint32_t count[SYMBOLS], size_t n)
{
    size_t even = n * n / SYMBOLS;
    size_t squares = 0;

    for (size_t s = 0; s < SYMBOLS; s++)
        squares += (size_t)count[s] * count[s];
    return squares < n + even + even / 4;
}

static void
take_sample(uint16_t count[SYMBOLS], const uint8_t *in, size_t n)
{
    const size_t run = HUF_SAMPLES / HUF_SAMPLE_RUNS;
    uint16_t other[SYMBOLS] = {0}; /* as in count_symbols() */

    for (size_t r = 0; r < HUF_SAMPLE_RUNS; r++) {
        const uint8_t *from = in + (n - run) / (HUF_SAMPLE_RUNS - 1) * r;

        for (size_t i = 0; i < run; i += 2) {
            count[from[i]]++;
            other[from[i + 1]]++;
        }
    }
    for (size_t s = 0; s < SYMBOLS; s++)
        count[s] = (uint16_t)(count[s] + other[s]);
}

/* Several tables: the same byte again need not wait for itself. */
#define PARTS 8

KERF_INLINE void
count_all(uint32_t count[SYMBOLS], const uint8_t *in, size_t n,
          const unsigned parts)
{
    uint32_t part[PARTS][SYMBOLS];
    size_t i = 0;

    memset(part, 0, parts * sizeof part[0]);
    for (; i + 8 <= n; i += 8) {
        uint64_t v;

        memcpy(&v, in + i, sizeof v);
#pragma GCC unroll 8
        for (unsigned k = 0; k < 8; k++)
            part[k % parts][v >> 8 * k & 0xFF]++;
    }
    for (; i < n; i++)
        part[0][in[i]]++;
    for (unsigned k = 0; k < parts; k++) {
        for (size_t s = 0; s < SYMBOLS; s++)
            count[s] += part[k][s];
    }
}

KERF_V3 static void
count_v3(uint32_t count[SYMBOLS], const uint8_t *in, size_t n)
{
    if (n >= MANY)
        count_all(count, in, n, PARTS);
    else
        count_all(count, in, n, PARTS / 2);
}

static void
count_symbols(uint32_t count[SYMBOLS], const uint8_t *in, size_t n)
{
    if (n < SYMBOLS / 4) { /* the tables would take longer */
        for (size_t i = 0; i < n; i++)
            count[in[i]]++;
    } else if (kerf_cpu_is_v3()) {
        count_v3(count, in, n);
    } else {
        count_all(count, in, n, PARTS / 2);
    }
}

/* One pass of a radix sort by the byte at `shift`, which is `most` at most. */
static void
sort_pass(uint32_t *to, const uint32_t *from, size_t n, unsigned shift,
          unsigned most)
{
    size_t start[SYMBOLS + 1];

    memset(start, 0, (most + 2) * sizeof *start);
    for (size_t i = 0; i < n; i++)
        start[(from[i] >> shift & 0xFF) + 1]++;
    for (size_t b = 0; b < most; b++)
        start[b + 1] += start[b];
    for (size_t i = 0; i < n; i++)
        to[start[from[i] >> shift & 0xFF]++] = from[i];
}

static void
rank(struct ranked *r, const uint32_t count[SYMBOLS])
{
    uint32_t key[SYMBOLS], other[SYMBOLS]; /* count, symbol */
    uint32_t most = 0;

    r->n = 0;
    for (uint32_t s = 0; s < SYMBOLS; s++) {
        key[r->n] = count[s] << 8 | s; /* two are there: < KERF_HUF_MOST */
        r->n += count[s] > 0;
        most |= count[s];
    }
    sort_pass(other, key, r->n, 8, most >> 8 != 0 ? 255 : most);
    if (most >> 8 != 0)
        sort_pass(key, other, r->n, 16, most >> 8);
    for (size_t i = 0; i < r->n; i++) {
        uint32_t k = most >> 8 != 0 ? key[i] : other[i];

        r->count[i] = k >> 8;
        r->symbol[i] = (uint8_t)k;
    }
}

/* Depth of each leaf in place of its count (Moffat and Katajainen, "In-place
 * calculation of minimum-redundancy codes"); a holds ascending counts. */
static void
huffman_depths(uint32_t *a, size_t n)
{
    size_t root = 0;
    size_t leaf = 2;
    size_t avail = 1;
    size_t used = 0;
    uint32_t depth = 0;

    a[0] += a[1];
    for (size_t next = 1; next + 1 < n; next++) {
        uint32_t sum = 0;

        for (int child = 0; child < 2; child++) {
            if (leaf >= n || (root < next && a[root] < a[leaf])) {
                sum += a[root];
                a[root++] = (uint32_t)next; /* its parent */
            } else {
                sum += a[leaf++];
            }
        }
        a[next] = sum;
    }
    a[n - 2] = 0;
    for (size_t i = n - 2; i-- > 0;)
        a[i] = a[a[i]] + 1; /* parents to depths */
    root = n - 1;           /* inner nodes not looked at yet */
    leaf = n;               /* leaves without a depth yet */
    while (avail > 0) {
        while (root > 0 && a[root - 1] == depth) {
            used++;
            root--;
        }
        while (avail > used) {
            a[--leaf] = depth;
            avail--;
        }
        avail = 2 * used;
        depth++;
        used = 0;
    }
}

/* Code lengths of at most HUF_BITS, the shortest for the most frequent. */
static void
choose_lengths(uint8_t len[SYMBOLS], struct ranked *r)
{
    size_t with[HUF_BITS + 1] = {0}; /* symbols with this length */
    size_t room = 0; /* of 1 << HUF_BITS, taken by the codes so far */
    size_t at = r->n;

    memset(len, 0, SYMBOLS);
    huffman_depths(r->count, r->n);
    for (size_t i = 0; i < r->n; i++)
        with[r->count[i] < HUF_BITS ? r->count[i] : HUF_BITS]++;
    for (size_t b = 1; b <= HUF_BITS; b++)
        room += with[b] << (HUF_BITS - b);
    /* Cutting the deepest takes too much room: a leaf above makes way for
     * itself and one of the deepest, until all fit exactly. */
    while (room > 1u << HUF_BITS) {
        size_t b = HUF_BITS - 1;

        while (with[b] == 0)
            b--;
        with[b]--;
        with[b + 1] += 2;
        with[HUF_BITS]--;
        room--;
    }
    for (uint8_t b = 1; b <= HUF_BITS; b++) {
        for (size_t i = 0; i < with[b]; i++)
            len[r->symbol[--at]] = b;
    }
}

static void
put_nibble(struct nibbles *to, size_t v)
{
    to->v[to->n++] = (uint8_t)v;
}

/* A run of symbols without a code; returns how many are left of it. */
static size_t
put_absent(struct nibbles *to, size_t run)
{
    if (run >= 18) {
        size_t r = run - 18 < 255 ? run - 18 : 255;

        put_nibble(to, HUF_ABSENT_8);
        put_nibble(to, r >> 4);
        put_nibble(to, r & 15);
        return run - 18 - r;
    }
    if (run >= 2) {
        put_nibble(to, HUF_ABSENT_4);
        put_nibble(to, run - 2);
        return 0;
    }
    put_nibble(to, HUF_ABSENT);
    return 0;
}

static size_t
put_lengths(uint8_t *out, const uint8_t len[SYMBOLS])
{
    struct nibbles to;
    size_t end = SYMBOLS;
    size_t s = 0;

    to.n = 0;
    while (len[end - 1] == 0)
        end--;
    while (s < end) {
        size_t run = 1;

        while (s + run < end && len[s + run] == len[s])
            run++;
        if (len[s] == 0) {
            for (size_t left = run; left > 0;)
                left = put_absent(&to, left);
        } else {
            size_t more = run - 1 < 18 ? run - 1 : 18;

            run = 1;
            put_nibble(&to, len[s]);
            if (more >= 3) {
                put_nibble(&to, HUF_LIKE_LAST);
                put_nibble(&to, more - 3);
                run += more;
            }
        }
        s += run;
    }
    put_nibble(&to, HUF_END);
    to.v[to.n] = 0; /* the other half of the last byte */
    for (size_t i = 0; i < to.n; i += 2)
        out[i / 2] = (uint8_t)(to.v[i] << 4 | to.v[i + 1]);
    return (to.n + 1) / 2;
}

/* Canonical: by length, then by symbol. */
static void
make_codes(struct huf_code code[SYMBOLS], const uint8_t len[SYMBOLS])
{
    struct huf_order order;
    uint16_t bits = 0;
    size_t at = 0;

    kerf_huf_order(&order, len);
    memset(code, 0, SYMBOLS * sizeof *code);
    for (uint16_t b = 1; b <= HUF_BITS; b++) {
        bits = (uint16_t)(bits << 1);
        for (size_t i = 0; i < order.with[b]; i++)
            code[order.symbol[at++]] = (struct huf_code){bits++, b};
    }
}

KERF_INLINE void
store_be64(uint8_t *at, uint64_t v)
{
    v = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(v) : v;
    memcpy(at, &v, sizeof v);
}

/* Codes one after the other, the first bit the highest of a byte. rows: NULL,
 * or the same codes. */
KERF_INLINE void
put_four(struct huf_end *e, const uint8_t in[4],
         const struct huf_code code[SYMBOLS])
{
    struct huf_code a = code[in[0]], b = code[in[1]];
    struct huf_code c = code[in[2]], d = code[in[3]];
    uint64_t ab = (uint64_t)a.bits << b.len | b.bits;
    uint64_t cd = (uint64_t)c.bits << d.len | d.bits;
    unsigned cd_len = (unsigned)c.len + d.len;
    unsigned len = (unsigned)a.len + b.len + cd_len;

    e->acc = e->acc << len | ab << cd_len | cd; /* 7 + 4 * 11 bits fit */
    e->bits += len;
    store_be64(e->at, e->acc << (64 - e->bits));
    e->at += e->bits >> 3;
    e->bits &= 7;
}

/* Returns how many of n are put. */
KERF_INLINE size_t
put_fours(struct huf_end *end, const uint8_t *in, size_t n,
          const struct huf_code code[SYMBOLS])
{
    struct huf_end e = *end;
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        put_four(&e, in + i, code);
    *end = e;
    return i;
}

KERF_V3 static size_t
put_fours_v3(struct huf_end *end, const uint8_t *in, size_t n,
             const struct huf_code code[SYMBOLS])
{
    return put_fours(end, in, n, code);
}

static size_t
put_stream(uint8_t *out, const uint8_t *in, size_t n,
           const struct huf_code code[SYMBOLS], const struct huf_rows *rows)
{
    struct huf_end e = {.at = out};
    size_t i = 0;

    if (rows != NULL)
        i = kerf_huf_put_rows(&e, in, n, rows);
    else if (kerf_cpu_is_v3())
        i = put_fours_v3(&e, in, n, code);
    else
        i = put_fours(&e, in, n, code);
    for (; n - i >= 4; i += 4)
        put_four(&e, in + i, code);
    for (; i < n; i++) {
        e.acc = e.acc << code[in[i]].len | code[in[i]].bits;
        e.bits += code[in[i]].len;
    }
    if (e.bits > 0)
        store_be64(e.at, e.acc << (64 - e.bits));
    return (size_t)(e.at - out) + (e.bits + 7) / 8;
}
