/* What words look like, from samples: what is worth to be tried on them. */
#include "codec/words_own.h"

#include <string.h>

#define SEEN_SLOTS 2048u
#define GRID_PLACES 4u  /* that are looked at */
#define GRID_SAMPLE 16u /* words that must be on one grid */
#define GRID_SAMPLE_MOST 64u
#define COLUMNS_LEAST 16u
#define ROWS_LEAST 8u
#define SAMPLE 512u /* words looked at for repeats */
/* Of so few, other ways take much of the time, and mostly in vain: more must
 * repeat to try them. */
#define FEW_BYTES 65536u

/* A memcpy() of 8 bytes at most, of lengths that compilers see. */
static inline uint64_t
load_word(const uint8_t *at, unsigned width)
{
    uint64_t v8 = 0;
    uint32_t v4;
    uint16_t v2;

    switch (width) {
    case 8:
        memcpy(&v8, at, sizeof v8);
        return v8;
    case 4:
        memcpy(&v4, at, sizeof v4);
        return v4;
    case 2:
        memcpy(&v2, at, sizeof v2);
        return v2;
    default:
        return *at;
    }
}

/* Words from here and there, in ascending order. */
struct cursor {
    const uint8_t *at; /* of the stretch's words */
    const kerf_stretch *stretch;
    size_t begin; /* bytes of words before it */
};

static struct cursor
begin_at(const uint8_t *base, const kerf_where *where)
{
    return (struct cursor){.at = base + where->stretch->gap,
                           .stretch = where->stretch};
}

/* Bytes from .. from + len of the words to `to`. */
static void
pick(struct cursor *c, uint8_t *to, size_t from, size_t len)
{
    while (len > 0) {
        size_t skip = from - c->begin;
        size_t words = c->stretch->words;
        size_t part;

        if (skip >= words) {
            c->at += words;
            c->begin += words;
            c->stretch++;
            c->at += c->stretch->gap;
            continue;
        }
        part = words - skip < len ? words - skip : len;
        memcpy(to, c->at + skip, part);
        to += part;
        from += part;
        len -= part;
    }
}

typedef uint16_t seen_bytes[KERF_PLANES_MOST][256];

/* Counts the bytes of n words, plane by plane. */
static inline __attribute__((always_inline)) void
see(seen_bytes seen, const uint8_t *words, size_t n, unsigned width,
    bool rotated)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word = load_word(words + i * width, width);

        if (rotated) /* as plane.c does: the sign is noise, too */
            word = word << 1 | word >> (8 * width - 1);
#pragma GCC unroll 8
        for (unsigned k = 0; k < width; k++)
            seen[k][word >> 8 * k & 0xFF]++;
    }
}

unsigned
kerf_words_noise(const uint8_t *base, const kerf_where *where, kerf_words_as as)
{
    enum { RUN = HUF_SAMPLES / HUF_SAMPLE_RUNS };
    seen_bytes seen;
    uint8_t run[RUN * KERF_PLANES_MOST] = {0};
    struct cursor c = begin_at(base, where);
    size_t count = where->len / as.width;
    unsigned noisy = 0;

    if (count < HUF_SAMPLES)
        return 0;
    memset(seen, 0, sizeof seen[0] * as.width);
    for (size_t r = 0; r < HUF_SAMPLE_RUNS; r++) {
        size_t from = (count - RUN) / (HUF_SAMPLE_RUNS - 1) * r;

        pick(&c, run, from * as.width, (size_t)RUN * as.width);
        if (as.width == 4 && as.rotated)
            see(seen, run, RUN, 4, true);
        else
            see(seen, run, RUN, as.width, as.rotated);
    }
    while (noisy < as.width && kerf_huf_is_noise(seen[noisy]))
        noisy++;
    return noisy;
}

/* How many of SAMPLE words are there again? Of trained floats about none: 1 in
 * 1000 by chance. */
static size_t
count_repeats(const uint8_t *base, const kerf_where *where, unsigned width)
{
    uint32_t seen[SEEN_SLOTS] = {0};
    uint8_t sample[SAMPLE * KERF_PLANES_MOST] = {0};
    struct cursor c = begin_at(base, where);
    size_t count = where->len / width;
    size_t n = count < SAMPLE ? count : SAMPLE;
    size_t again = 0;

    pick(&c, sample, (count - n) / 2 * width, n * width);
    for (size_t i = 0; i < n; i++) {
        uint64_t word = load_word(sample + i * width, width);
        uint32_t tag, *slot;

        word = (word + 1) * 0x9E3779B97F4A7C15u;
        tag = (uint32_t)word | 1;
        slot = &seen[(word >> 32) % SEEN_SLOTS];
        again += *slot == tag;
        *slot = tag;
    }
    return n < SAMPLE ? again * SAMPLE / (n + 1) : again;
}

/* Are they on a grid? Some places of n words are looked at, since a channel may
 * end within one; `least` of them must be. */
static bool
is_grid(const uint8_t *base, const kerf_where *where, size_t n, unsigned least)
{
    uint8_t sample[4 * GRID_SAMPLE_MOST];
    struct cursor c = begin_at(base, where);
    size_t count = where->len / 4;
    unsigned hits = 0;

    for (size_t i = 0; i < GRID_PLACES && count >= 16 * n; i++) {
        pick(&c, sample, (count - n) / GRID_PLACES * i * 4, 4 * n);
        hits += kerf_grid_may(sample, n);
        if (i + 1 == least && hits == 0 && least > 1)
            return false; /* as for nearly all weights: the rest is spared */
    }
    return hits >= least;
}

/* The same of columns, where there are enough of them and of rows. */
static bool
is_column_grid(const uint8_t *base, const kerf_where *where, size_t columns)
{
    uint8_t sample[4 * GRID_SAMPLE];
    const kerf_stretch *s = where->stretch; /* the tensor, or a part of it */
    size_t rows = columns >= COLUMNS_LEAST ? s->words / 4 / columns : 0;
    unsigned hits = 0;

    if (rows < ROWS_LEAST)
        return false;
    rows = rows < GRID_SAMPLE ? rows : GRID_SAMPLE;
    base += s->gap;
    for (size_t i = 0; i < GRID_PLACES && (i < 1 || hits > 0); i++) {
        size_t column = (columns - 1) / GRID_PLACES * (i + 1);

        for (size_t k = 0; k < rows; k++)
            memcpy(sample + 4 * k, base + 4 * (k * columns + column), 4);
        hits += kerf_grid_may(sample, rows);
    }
    return hits > 1;
}

struct kerf_looks
kerf_words_look(const uint8_t *base, const kerf_where *where, kerf_words_as as)
{
    size_t again = as.rotated ? count_repeats(base, where, as.width) : SAMPLE;
    bool few = where->len < FEW_BYTES;
    size_t least = few && as.rotated ? SAMPLE / 8 : SAMPLE / 20;
    struct kerf_looks looks = {.few = few && as.width == 4,
                               .repeat = again > least,
                               .often = again > SAMPLE / 4};

    if (as.width != 4 || !as.rotated)
        return looks;
    /* Fine steps are seen in longer samples only, but their words repeat. */
    looks.grid = is_grid(base, where, GRID_SAMPLE, 2) ||
                 (looks.repeat && is_grid(base, where, GRID_SAMPLE_MOST, 1));
    looks.columns = !looks.grid && is_column_grid(base, where, as.columns);
    return looks;
}
