/*
 * By their top bytes: the groups begin as ranges of the mean, equally many
 * words in each; then each stretch goes where its own bytes would cost least by
 * the codes of a group, and the codes are made anew, some times. Bits are
 * counted in whole numbers, so that every machine makes the same of a file.
 */
#include "codec/group.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_STRETCHES 16u
#define BINS 32u          /* top bytes from the largest down; less are one */
#define LOOKED_AT 128u    /* words of a long stretch */
#define FEW 16u           /* of them, for a first look */
#define ROUNDS 2          /* of assigning */
#define GROUP_LEAST 1024u /* words: fewer do not pay for their codes */
#define GROUP_COST 60u    /* bytes: a head for each plane, code lengths */
#define UNIT 256u         /* of a bit */
#define GROUPS KERF_GROUPS_MOST

struct ranked {
    uint32_t mean; /* of its bins, times UNIT */
    uint32_t stretch;
};

struct kerf_group_scratch {
    int16_t seen[KERF_GROUP_STRETCHES][BINS]; /* times, about */
    uint32_t words[KERF_GROUP_STRETCHES];     /* their sum */
    struct ranked ranked[KERF_GROUP_STRETCHES];
    uint32_t sum[GROUPS][BINS], all[GROUPS];
    int16_t cost[GROUPS][BINS]; /* UNIT: a bit */
};

const size_t kerf_group_scratch_size = sizeof(struct kerf_group_scratch);

/* The binary logarithm of x > 0, times UNIT; straight between powers of two. */
static uint32_t
log2_of(uint32_t x)
{
    unsigned whole = 31u - (unsigned)__builtin_clz(x);

    return whole * UNIT + (uint32_t)((((uint64_t)x << 8) >> whole) & 0xFF);
}

static uint8_t
top_byte(const uint8_t *word, kerf_words_as as)
{
    uint8_t top = word[as.width - 1];

    /* As it is when the word is turned. */
    return as.rotated ? (uint8_t)((unsigned)top << 1 | word[as.width - 2] >> 7)
                      : top;
}

/* Counts a stretch, in bins from the highest byte down. */
static void
look_at(kerf_group_scratch *g, size_t i, const uint8_t *at, size_t words,
        kerf_words_as as, uint8_t highest)
{
    size_t step = (words + LOOKED_AT - 1) / LOOKED_AT;
    uint32_t seen[BINS] = {0};
    uint32_t bins = 0;

    g->words[i] = 0;
    for (size_t k = 0; k < words; k += step) {
        uint8_t top = top_byte(at, as);
        unsigned bin = top < highest ? (unsigned)highest - top : 0;

        bin = bin < BINS ? bin : BINS - 1;
        seen[bin] += (uint32_t)step;
        g->words[i] += (uint32_t)step;
        bins += bin;
        at += step * as.width;
    }
    for (size_t b = 0; b < BINS; b++)
        g->seen[i][b] = (int16_t)(seen[b] < INT16_MAX ? seen[b] : INT16_MAX);
    g->ranked[i] = (struct ranked){
        .mean = words > 0 ? (uint32_t)((size_t)bins * UNIT * step / words) : 0,
        .stretch = (uint32_t)i};
}

/* About the highest top byte there is. */
static uint8_t
highest_byte(const uint8_t *base, const kerf_where *where, kerf_words_as as)
{
    uint8_t highest = 0;

    for (size_t i = 0; i < where->count; i++) {
        size_t words = where->stretch[i].words / as.width;

        base += where->stretch[i].gap;
        for (size_t k = 0; k < words && k < FEW; k++) {
            uint8_t top = top_byte(base + k * as.width, as);

            highest = top > highest ? top : highest;
        }
        base += where->stretch[i].words;
    }
    return highest;
}

static int
by_mean(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->mean != y->mean)
        return x->mean < y->mean ? -1 : 1;
    return x->stretch < y->stretch ? -1 : x->stretch > y->stretch;
}

static void
begin(kerf_group_scratch *g, uint8_t *group, size_t count, uint64_t words)
{
    uint64_t before = 0;

    qsort(g->ranked, count, sizeof g->ranked[0], by_mean);
    for (size_t r = 0; r < count; r++) {
        size_t i = g->ranked[r].stretch;

        /* By its middle. */
        group[i] =
            (uint8_t)((2 * before + g->words[i]) * GROUPS / (2 * words + 1));
        before += g->words[i];
    }
}

/* What a top byte costs in each group; groups that are too small are no more.
 * Returns the bits of all in their groups, times UNIT. */
static uint64_t
make_costs(kerf_group_scratch *g, const uint8_t *group, size_t count)
{
    uint64_t bits = 0;

    memset(g->sum, 0, sizeof g->sum);
    memset(g->all, 0, sizeof g->all);
    for (size_t i = 0; i < count; i++) {
        uint32_t *sum = g->sum[group[i]];
        const int16_t *seen = g->seen[i];

        g->all[group[i]] += g->words[i];
        for (size_t b = 0; b < BINS; b++)
            sum[b] += (uint16_t)seen[b];
    }
    for (size_t k = 0; k < GROUPS; k++) {
        uint32_t all = log2_of(16 * g->all[k] + BINS);

        for (size_t b = 0; b < BINS; b++) {
            g->cost[k][b] = (int16_t)(all - log2_of(16 * g->sum[k][b] + 1));
            bits += (uint64_t)g->sum[k][b] * (uint16_t)g->cost[k][b];
        }
    }
    return bits;
}

/* Each stretch to the group that takes it for least. */
static void
assign(const kerf_group_scratch *g, uint8_t *group, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t least = INT32_MAX;

        for (uint8_t k = 0; k < GROUPS; k++) {
            int32_t bits = 0; /* of 2^16 words of less than 2^13 each */

            if (g->all[k] < GROUP_LEAST)
                continue;
            for (size_t b = 0; b < BINS; b++)
                bits += g->seen[i][b] * g->cost[k][b];
            if (bits < least) {
                least = bits;
                group[i] = k;
            }
        }
    }
}

/* Numbers without those that nothing is in; returns how many. */
static unsigned
renumber(uint8_t *group, size_t count)
{
    uint8_t number[GROUPS];
    bool used[GROUPS] = {false};
    uint8_t n = 0;

    for (size_t i = 0; i < count; i++)
        used[group[i]] = true;
    for (size_t k = 0; k < GROUPS; k++) {
        number[k] = n;
        n = (uint8_t)(n + used[k]);
    }
    for (size_t i = 0; i < count; i++)
        group[i] = number[group[i]];
    return n;
}

unsigned
kerf_group(kerf_group_scratch *g, uint8_t *group, const uint8_t *base,
           const kerf_where *where, kerf_words_as as)
{
    size_t count = where->count;
    uint64_t words = 0;
    uint64_t together, apart;
    unsigned groups;
    uint8_t highest;

    if (count < LEAST_STRETCHES || count > KERF_GROUP_STRETCHES ||
        !as.rotated || as.width < 2 ||
        where->len / as.width < (size_t)2 * GROUP_LEAST)
        return 1;
    highest = highest_byte(base, where, as);
    for (size_t i = 0; i < count; i++) {
        base += where->stretch[i].gap;
        look_at(g, i, base, where->stretch[i].words / as.width, as, highest);
        base += where->stretch[i].words;
        words += g->words[i];
    }
    memset(group, 0, count);
    together = make_costs(g, group, count);
    begin(g, group, count, words);
    for (int round = 0; round < ROUNDS; round++) {
        (void)make_costs(g, group, count);
        assign(g, group, count);
    }
    groups = renumber(group, count);
    apart = make_costs(g, group, count);
    apart += (uint64_t)UNIT * 8 * ((size_t)GROUP_COST * groups + count / 3);
    return apart < together ? groups : 1;
}
