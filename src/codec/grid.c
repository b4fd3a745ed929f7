/*
 * Weights that were rounded to even steps and are kept as floats again: each is
 * a whole number of its channel's steps away from zero, or from another base.
 * Where channels begin is not known: the words are taken in pieces, each as
 * long as one step fits.
 *
 *     varint pieces; for each: varint words, f32 base, f32 step; then four
 *     parts: two byte blocks of the lower and the upper half of a number for
 *     each word; for each number when it is first in its piece, how far its
 *     float is from base + number * step (planes); the words that stand apart
 *     (planes, rotated).
 *
 * A number is twice the steps, plus 1 under a minus; 65535: the word stands
 * apart. The same number is the same float all over its piece.
 */
#include "codec/words_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define APART 65535u
#define STEPS_MOST 32766.0
#define WINDOW 64u /* words in which a step is looked for, at first */
#define WINDOW_LEAST 8u
#define DIVISORS 4 /* the least difference may be so many steps */
#define NEAR 0.2   /* of a step: so far a word may be, to find out the step */
#define ROUNDING 0x1p-22 /* of base and word: so far, once it is known */
#define PIECES_MOST (KERF_WORDS_MOST / WINDOW_LEAST)
#define EARLY 1024u /* words after which half must be on a grid */

struct kerf_grid {
    uint8_t low[KERF_WORDS_MOST], high[KERF_WORDS_MOST];
    uint32_t apart[KERF_WORDS_MOST];
    uint32_t off[KERF_WORDS_MOST]; /* of numbers when they are first */
    uint32_t value[APART];         /* of a number in the piece */
    uint16_t seen_in[APART];       /* the piece; 0: none */
};

struct grid {
    double base, step;
};

kerf_err
kerf_grid_new(kerf_grid **out)
{
    *out = malloc(sizeof **out);
    return *out != NULL ? KERF_OK : KERF_ENOMEM;
}

void
kerf_grid_free(kerf_grid *g)
{
    free(g);
}

#define SIGN 0x80000000u

/* The float of a number; the product is exact, so that no machine rounds it in
 * another way. */
static uint32_t
value_of(const struct grid *grid, uint32_t number)
{
    double steps = (double)(number >> 1);
    double x = (number & 1 ? -steps : steps) * grid->step;

    /* -0 stays what it is without a base. */
    return kerf_float_bits((float)(grid->base == 0 ? x : x + grid->base));
}

/* False: the word is not near the grid. */
static inline bool
number_of(const struct grid *grid, double per_step, uint32_t word,
          uint32_t *number)
{
    double x = (double)kerf_float_of(word);
    double k = (x - grid->base) * per_step;
    double steps = fabs(k);
    double rounding = (fabs(x) + fabs(grid->base)) * per_step * ROUNDING;
    uint32_t whole;

    if (!(steps <= STEPS_MOST)) /* NaN, too */
        return false;
    whole = (uint32_t)(steps + 0.5);
    *number = whole << 1 | (k < 0 || (k == 0 && word >> 31));
    return fabs(steps - whole) <= rounding;
}

static void
sort(float *value, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        float v = value[i];
        size_t at = i;

        for (; at > 0 && value[at - 1] > v; at--)
            value[at] = value[at - 1];
        value[at] = v;
    }
}

/* Improves the step by ever larger distances from the base, which are ever
 * larger whole numbers of steps. False: one is not. */
static bool
refine(const float *ascending, size_t n, struct grid *grid)
{
    for (size_t i = 0; i < n; i++) {
        double x = fabs((double)ascending[i] - grid->base);
        double k = x / grid->step;
        double whole = floor(k + 0.5);

        if (x == 0)
            continue;
        if (!(whole >= 1 && whole <= STEPS_MOST && fabs(k - whole) <= NEAR))
            return false;
        grid->step = x / whole;
    }
    return true;
}

/* Words from the first on that are near the grid; *exact: those of a window
 * that are just on it. */
static size_t
count_near(const uint8_t *in, size_t count, const struct grid *grid,
           size_t *exact)
{
    double per_step = 1 / grid->step;
    size_t i = 0;

    *exact = 0;
    for (; i < count; i++) {
        uint32_t word = kerf_word_at(in, i);
        uint32_t number;

        if (!number_of(grid, per_step, word, &number))
            break;
        if (i < WINDOW)
            *exact += value_of(grid, number) == word;
    }
    return i;
}

/* A step is a float: of those around, the one that gives most words exactly. */
static bool
round_step(const uint8_t *in, size_t n, struct grid *grid)
{
    uint32_t bits = kerf_float_bits((float)grid->step);
    double best = 0;
    size_t most = 0;

    for (uint32_t near = bits - 2; near != bits + 3; near++) {
        struct grid g = {.base = grid->base,
                         .step = (double)kerf_float_of(near)};
        size_t exact;

        if (!(g.step > 0) || count_near(in, n, &g, &exact) < n)
            continue;
        if (best == 0 || exact > most) {
            most = exact;
            best = g.step;
        }
    }
    grid->step = best;
    return best > 0;
}

/* The grid that in[0..n) are on, of distances from the base, ascending. */
static bool
find_from(const uint8_t *in, size_t n, const float *ascending, size_t count,
          struct grid *grid)
{
    double least = fabs((double)ascending[0] - grid->base);

    for (size_t i = 1; i < count; i++) {
        double d = (double)ascending[i] - (double)ascending[i - 1];

        if (d > 0 && (d < least || least == 0))
            least = d;
    }
    for (int divisor = 1; divisor <= DIVISORS && least > 0; divisor++) {
        grid->step = least / divisor;
        if (refine(ascending, count, grid) && round_step(in, n, grid))
            return true;
    }
    return false;
}

/* A grid that all of in[0..n) are on, n <= WINDOW. */
static bool
find_grid(const uint8_t *in, size_t n, struct grid *grid)
{
    float value[WINDOW];
    size_t count = 0;

    *grid = (struct grid){.step = 1}; /* zeros are on any */
    for (size_t i = 0; i < n; i++) {
        float x = kerf_float_of(kerf_word_at(in, i));

        if (!isfinite(x))
            return false;
        if (x != 0)
            value[count++] = fabsf(x);
    }
    if (count == 0)
        return true;
    sort(value, count);
    if (find_from(in, n, value, count, grid))
        return true;
    for (size_t i = 0; i < n; i++)
        value[i] = kerf_float_of(kerf_word_at(in, i));
    sort(value, n);
    grid->base = (double)value[0];
    return find_from(in, n, value, n, grid);
}

/* The longest piece from in on with one grid; step 0: its words stand apart. */
static size_t
find_piece(const uint8_t *in, size_t count, struct grid *grid)
{
    size_t exact;

    for (size_t n = WINDOW; n >= WINDOW_LEAST; n /= 2) {
        if (n <= count && find_grid(in, n, grid))
            return count_near(in, count, grid, &exact);
    }
    *grid = (struct grid){0};
    return count < WINDOW_LEAST ? count : WINDOW_LEAST;
}

bool
kerf_grid_may(const uint8_t *in, size_t count)
{
    struct grid grid;
    uint32_t one = 0;
    bool differ = false;

    count = count < WINDOW ? count : WINDOW;
    for (size_t i = 0; i < count; i++) {
        uint32_t word = kerf_word_at(in, i);

        if ((word & ~SIGN) == 0)
            continue;
        differ = differ || (one != 0 && word != one);
        one = word;
    }
    return differ && find_grid(in, count, &grid);
}

/* Small numbers of either sign become small ones without. */
static uint32_t
fold(uint32_t off)
{
    return off << 1 ^ (off >> 31 ? 0xFFFFFFFFu : 0);
}

static uint32_t
unfold(uint32_t folded)
{
    return folded >> 1 ^ (folded & 1 ? 0xFFFFFFFFu : 0);
}

struct counts {
    size_t pieces, aparts, offs;
};

/* Numbers of one piece, the words from `from` on. */
static void
number_piece(kerf_grid *g, size_t from, const uint8_t *in, size_t count,
             const struct grid *grid, struct counts *n)
{
    double per_step = grid->step > 0 ? 1 / grid->step : 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t word = kerf_word_at(in, i);
        uint32_t number = APART;

        if (grid->step == 0 || !number_of(grid, per_step, word, &number))
            number = APART;
        if (number != APART && g->seen_in[number] != n->pieces) {
            g->seen_in[number] = (uint16_t)n->pieces;
            g->value[number] = word;
            g->off[n->offs++] =
                fold(kerf_key_of(word) - kerf_key_of(value_of(grid, number)));
        }
        if (number != APART && g->value[number] != word)
            number = APART;
        if (number == APART)
            g->apart[n->aparts++] = word;
        g->low[from + i] = (uint8_t)number;
        g->high[from + i] = (uint8_t)(number >> 8);
    }
}

size_t
kerf_grid_encode(kerf_grid *g, uint8_t *scratch, uint8_t *out,
                 const uint8_t *in, size_t count, size_t most)
{
    struct counts n = {0};
    kerf_wr w = {.at = out + KERF_VARINT_MOST, .left = most};
    kerf_wr head = {.at = out, .left = KERF_VARINT_MOST};
    uint8_t *at;

    memset(g->seen_in, 0, sizeof g->seen_in);
    for (size_t from = 0; from < count;) {
        struct grid grid;
        size_t words = find_piece(in + 4 * from, count - from, &grid);

        n.pieces++;
        number_piece(g, from, in + 4 * from, words, &grid, &n);
        kerf_wr_varint(&w, words);
        kerf_wr_u32(&w, kerf_float_bits((float)grid.base));
        kerf_wr_u32(&w, kerf_float_bits((float)grid.step));
        from += words;
        if (w.bad || n.pieces > PIECES_MOST ||
            (from >= EARLY && n.aparts > from / 2))
            return 0;
    }
    kerf_wr_varint(&head, n.pieces);
    memmove(head.at, out + KERF_VARINT_MOST,
            (size_t)(w.at - out) - KERF_VARINT_MOST);
    at = w.at - KERF_VARINT_MOST + (head.at - out);
    at += kerf_huf_put(at, g->low, count);
    at += kerf_huf_put(at, g->high, count);
    at += kerf_words_put(scratch, at, g->off, n.offs, false);
    at += kerf_words_put(scratch, at, g->apart, n.aparts, true);
    return (size_t)(at - out) < most ? (size_t)(at - out) : 0;
}

/* Checks that the pieces are of count words in all, and leaves r behind them.
 */
static bool
sum_pieces(kerf_rd *r, uint64_t pieces, size_t count)
{
    size_t sum = 0;

    for (uint64_t i = 0; i < pieces; i++) {
        uint64_t n = kerf_rd_varint(r);

        (void)kerf_rd_u64(r); /* base and step */
        if (n > count - sum)
            return false;
        sum += (size_t)n;
    }
    return sum == count && !r->bad;
}

/* Words of one piece; at: how much was taken of what count_parts() counted. */
static void
decode_piece(kerf_grid *g, uint8_t *out, const uint8_t *low,
             const uint8_t *high, size_t count, const struct grid *grid,
             struct counts *at)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t number = low[i] | (uint32_t)high[i] << 8;
        uint32_t word;

        if (number == APART) {
            word = g->apart[at->aparts++];
        } else {
            if (g->seen_in[number] != at->pieces) {
                g->seen_in[number] = (uint16_t)at->pieces;
                g->value[number] =
                    kerf_word_of(kerf_key_of(value_of(grid, number)) +
                                 unfold(g->off[at->offs++]));
            }
            word = g->value[number];
        }
        memcpy(out + 4 * i, &word, sizeof word);
    }
}

/* How many offs and words apart the numbers need. */
static void
count_parts(kerf_grid *g, kerf_rd piece, const uint8_t *low,
            const uint8_t *high, struct counts *all)
{
    size_t from = 0;

    memset(g->seen_in, 0, sizeof g->seen_in);
    for (size_t p = 1; p <= all->pieces; p++) {
        size_t n = (size_t)kerf_rd_varint(&piece);

        (void)kerf_rd_u64(&piece);
        for (size_t i = from; i < from + n; i++) {
            uint32_t number = low[i] | (uint32_t)high[i] << 8;

            if (number == APART) {
                all->aparts++;
            } else if (g->seen_in[number] != p) {
                g->seen_in[number] = (uint16_t)p;
                all->offs++;
            }
        }
        from += n;
    }
    memset(g->seen_in, 0, sizeof g->seen_in);
}

bool
kerf_grid_decode(kerf_grid *g, uint8_t *scratch, uint8_t *out, size_t count,
                 const uint8_t *in, size_t len)
{
    kerf_rd r = {.at = in, .left = len};
    uint64_t pieces = kerf_rd_varint(&r);
    kerf_rd piece = r;
    struct counts all = {.pieces = (size_t)pieces};
    struct counts at = {0};
    const uint8_t *low, *high;
    size_t from = 0;

    if (pieces > PIECES_MOST || !sum_pieces(&r, pieces, count))
        return false;
    low = kerf_huf_take(g->low, count, &r);
    high = low != NULL ? kerf_huf_take(g->high, count, &r) : NULL;
    if (high == NULL)
        return false;
    count_parts(g, piece, low, high, &all);
    if (!kerf_words_take(scratch, g->off, all.offs, false, &r) ||
        !kerf_words_take(scratch, g->apart, all.aparts, true, &r) || r.left > 0)
        return false;
    while (at.pieces < all.pieces) {
        size_t n = (size_t)kerf_rd_varint(&piece);
        struct grid grid = {.base = (double)kerf_float_of(kerf_rd_u32(&piece))};

        grid.step = (double)kerf_float_of(kerf_rd_u32(&piece));
        at.pieces++;
        decode_piece(g, out + 4 * from, low + from, high + from, n, &grid, &at);
        from += n;
    }
    return true;
}
