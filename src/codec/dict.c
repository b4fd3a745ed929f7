/*
 * Weights that were rounded to a grid, or pruned to zeros, have few values. The
 * words are taken in pieces of equal length (a channel has its own grid); each
 * piece has a dictionary of up to 255 values, and a word is a byte: which
 * value, or 255 for a word that is not in the dictionary and stands apart.
 *
 *     u8 log2 of the piece, u8 values of each piece, then three parts:
 *     the values of all pieces (planes of 4-byte steps from one to the next),
 *     the bytes (a byte block), the words that stand apart (planes, rotated).
 */
#include "codec/words_own.h"

#include <stdlib.h>
#include <string.h>

#define VALUES_MOST 255
#define APART 255
#define PIECE_LEAST 9 /* log2 of words */
#define PIECE_MOST 16
#define PIECES_FROM 8192u /* words that are tried in several pieces */
#define PIECES_MOST (KERF_WORDS_MOST >> PIECE_LEAST)
#define SLOTS 8192u /* of the table of values seen in a piece, at most */
#define SEEN_MOST (SLOTS / 2)

/* Empty while times is 0. */
struct slot {
    uint32_t key, times;
};

struct kerf_dict {
    uint32_t slots; /* in use: a power of two, twice the words of a piece */
    struct slot slot[SLOTS];
    struct slot seen[SEEN_MOST];
    uint8_t index_of[SLOTS];
    uint8_t values[PIECES_MOST]; /* how many, of each piece */
    uint32_t step[PIECES_MOST * VALUES_MOST];
    uint8_t index[KERF_WORDS_MOST];
    uint32_t apart[KERF_WORDS_MOST];
    uint32_t key[VALUES_MOST];
};

kerf_err
kerf_dict_new(kerf_dict **out)
{
    *out = malloc(sizeof **out);
    return *out != NULL ? KERF_OK : KERF_ENOMEM;
}

void
kerf_dict_free(kerf_dict *d)
{
    free(d);
}

/* An empty table for a piece. */
static void
clear_slots(kerf_dict *d, size_t count)
{
    d->slots = 1u << PIECE_LEAST;
    while (d->slots < SLOTS && d->slots < 2 * count)
        d->slots *= 2;
    memset(d->slot, 0, d->slots * sizeof d->slot[0]);
}

/* Where the key is, or would be. */
static uint32_t
find(const kerf_dict *d, uint32_t key)
{
    uint32_t at = (key * 0x9E3779B1u >> 19) & (d->slots - 1);

    while (d->slot[at].times > 0 && d->slot[at].key != key)
        at = (at + 1) & (d->slots - 1);
    return at;
}

static int
by_times(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    if (x->times != y->times)
        return x->times < y->times ? 1 : -1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int
by_key(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

/* The most frequent values of a piece, by key, in d->seen; returns how many.
 * Values first seen when the table is full are not counted. */
static size_t
choose_values(kerf_dict *d, const uint8_t *in, size_t count)
{
    size_t seen = 0;
    size_t n = 0;

    clear_slots(d, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t key = kerf_key_of(kerf_word_at(in, i));
        struct slot *s = &d->slot[find(d, key)];

        if (s->times == 0 && seen++ >= SEEN_MOST) {
            seen = SEEN_MOST;
            continue;
        }
        s->key = key;
        s->times++;
    }
    for (size_t i = 0; i < d->slots; i++) {
        if (d->slot[i].times > 1)
            d->seen[n++] = d->slot[i];
    }
    qsort(d->seen, n, sizeof d->seen[0], by_times);
    n = n < VALUES_MOST ? n : VALUES_MOST;
    qsort(d->seen, n, sizeof d->seen[0], by_key);
    return n;
}

/* Bytes for the words of a piece; returns how many stand apart. */
static size_t
index_piece(kerf_dict *d, uint8_t *index, uint32_t *apart, const uint8_t *in,
            size_t count, size_t values)
{
    size_t n = 0;

    clear_slots(d, count);
    for (size_t i = 0; i < values; i++) {
        uint32_t at = find(d, d->seen[i].key);

        d->slot[at] = d->seen[i];
        d->index_of[at] = (uint8_t)i;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t word = kerf_word_at(in, i);
        uint32_t at = find(d, kerf_key_of(word));

        index[i] = d->slot[at].times > 0 ? d->index_of[at] : APART;
        if (index[i] == APART)
            apart[n++] = word;
    }
    return n;
}

static size_t
encode_pieces(kerf_dict *d, uint8_t *scratch, uint8_t *out, const uint8_t *in,
              size_t count, unsigned log2)
{
    size_t piece = (size_t)1 << log2;
    size_t pieces = 0;
    size_t steps = 0;
    size_t aparts = 0;
    uint8_t *at = out;

    for (size_t from = 0; from < count; from += piece) {
        size_t n = count - from < piece ? count - from : piece;
        size_t values = choose_values(d, in + 4 * from, n);
        uint32_t last = 0;

        for (size_t i = 0; i < values; i++) {
            d->step[steps++] = d->seen[i].key - last;
            last = d->seen[i].key;
        }
        aparts += index_piece(d, d->index + from, d->apart + aparts,
                              in + 4 * from, n, values);
        d->values[pieces++] = (uint8_t)values;
    }
    *at++ = (uint8_t)log2;
    memcpy(at, d->values, pieces);
    at += pieces;
    at += kerf_words_put(scratch, at, d->step, steps, false);
    at += kerf_huf_put(at, d->index, count);
    at += kerf_words_put(scratch, at, d->apart, aparts, true);
    return (size_t)(at - out);
}

size_t
kerf_dict_encode(kerf_dict *d, uint8_t *scratch, uint8_t *out,
                 const uint8_t *in, size_t count, size_t most)
{
    static const uint8_t sizes[] = {PIECE_MOST, 12, 10, PIECE_LEAST};
    size_t best = most;
    uint8_t best_log2 = 0;
    uint8_t last = 0;

    for (size_t i = 0; i < sizeof sizes; i++) {
        size_t n;

        if (i > 0 && (count < PIECES_FROM || count <= (size_t)1 << sizes[i]))
            continue; /* not worth the time, or one piece again */
        last = sizes[i];
        n = encode_pieces(d, scratch, out, in, count, last);
        if (n < best) {
            best = n;
            best_log2 = last;
        }
    }
    if (best_log2 == 0)
        return 0;
    if (best_log2 != last)
        (void)encode_pieces(d, scratch, out, in, count, best_log2);
    return best;
}

static bool
decode_pieces(kerf_dict *d, uint8_t *out, size_t count, size_t piece,
              const uint8_t *values, const uint8_t *index, size_t aparts)
{
    size_t steps = 0;
    size_t apart = 0;

    for (size_t from = 0; from < count; from += piece) {
        size_t n = count - from < piece ? count - from : piece;
        uint32_t last = 0;

        /* A byte for each piece is there. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        for (size_t i = 0; i < *values; i++) {
            last += d->step[steps++];
            d->key[i] = kerf_word_of(last);
        }
        for (size_t i = from; i < from + n; i++) {
            uint32_t word;

            if (index[i] == APART && apart < aparts)
                word = d->apart[apart++];
            else if (index[i] < *values)
                word = d->key[index[i]];
            else
                return false;
            memcpy(out + 4 * i, &word, sizeof word);
        }
        values++;
    }
    return apart == aparts;
}

bool
kerf_dict_decode(kerf_dict *d, uint8_t *scratch, uint8_t *out, size_t count,
                 const uint8_t *in, size_t len)
{
    kerf_rd r = {.at = in, .left = len};
    unsigned log2 = kerf_rd_u8(&r);
    size_t piece = (size_t)1 << (log2 <= PIECE_MOST ? log2 : 0);
    size_t pieces = (count + piece - 1) / piece;
    size_t steps = 0;
    size_t aparts = 0;
    const uint8_t *values, *index;

    if (log2 < PIECE_LEAST || log2 > PIECE_MOST)
        return false;
    values = kerf_rd_bytes(&r, pieces);
    for (size_t i = 0; values != NULL && i < pieces; i++)
        steps += values[i];
    if (r.bad || !kerf_words_take(scratch, d->step, steps, false, &r))
        return false;
    index = kerf_huf_take(d->index, count, &r);
    for (size_t i = 0; index != NULL && i < count; i++)
        aparts += index[i] == APART;
    if (index == NULL || !kerf_words_take(scratch, d->apart, aparts, true, &r))
        return false;
    return decode_pieces(d, out, count, piece, values, index, aparts) &&
           r.left == 0;
}
