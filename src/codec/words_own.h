/*
 * words_own.h - between words.c, looks.c, dict.c and grid.c. Threads: as
 * words.h.
 */
#ifndef KERF_CODEC_WORDS_OWN_H
#define KERF_CODEC_WORDS_OWN_H

#include "base/bytes.h"
#include "codec/huf_own.h"
#include "codec/plane.h"
#include "codec/words.h"

#include <string.h>

/* Word i of an array of words of 4 bytes, at any address. */
static inline uint32_t
kerf_word_at(const uint8_t *in, size_t i)
{
    uint32_t word;

    memcpy(&word, in + 4 * i, sizeof word);
    return word;
}

/* Keys order as the floats do, so that neighbours differ little. */
static inline uint32_t
kerf_key_of(uint32_t word)
{
    return word ^ (word >> 31 ? 0xFFFFFFFFu : 0x80000000u);
}

static inline uint32_t
kerf_word_of(uint32_t key)
{
    return key ^ (key >> 31 ? 0x80000000u : 0xFFFFFFFFu);
}

/* How many of the lowest planes are noise: mantissas, mostly. */
unsigned kerf_words_noise(const uint8_t *base, const kerf_where *where,
                          kerf_words_as as);

/* What words look like. */
struct kerf_looks {
    bool few;     /* words of 4 bytes: most ways take too long for them */
    bool repeat;  /* values come back; */
    bool often;   /* ... a quarter of them or more */
    bool grid;    /* whole numbers of steps; */
    bool columns; /* ... of as.columns columns, each by itself */
};
struct kerf_looks kerf_words_look(const uint8_t *base, const kerf_where *where,
                                  kerf_words_as as);

/* All planes of the words, each a length (u24) and a byte block, at out, which
 * has room for them as they are and 24 bytes more for each plane. */
size_t kerf_planes_encode(uint8_t *scratch, uint8_t *out, const uint8_t *base,
                          const kerf_where *where, kerf_words_as as);
/* Takes them from r; scratch has room for them. False: damaged. */
bool kerf_planes_decode(uint8_t *scratch, uint8_t *base,
                        const kerf_where *where, kerf_words_as as, kerf_rd *r);

/* The same of an array of words of 4 bytes. */
size_t kerf_words_put(uint8_t *scratch, uint8_t *out, const uint32_t *word,
                      size_t count, bool rotated);
bool kerf_words_take(uint8_t *scratch, uint32_t *word, size_t count,
                     bool rotated, kerf_rd *r);

/* A byte block of n bytes behind its length (u24). */
size_t kerf_huf_put(uint8_t *out, const uint8_t *in, size_t n);
const uint8_t *kerf_huf_take(uint8_t *out, size_t n, kerf_rd *r);

typedef struct kerf_dict kerf_dict; /* scratch of dict.c */

KERF_NODISCARD kerf_err kerf_dict_new(kerf_dict **out);
void kerf_dict_free(kerf_dict *d); /* accepts NULL */
/* count words of 4 bytes by their repeated values; 0: not below `most`
 * bytes. out has room for 5 * count + 4096. */
size_t kerf_dict_encode(kerf_dict *d, uint8_t *scratch, uint8_t *out,
                        const uint8_t *in, size_t count, size_t most);
bool kerf_dict_decode(kerf_dict *d, uint8_t *scratch, uint8_t *out,
                      size_t count, const uint8_t *in, size_t len);

typedef struct kerf_grid kerf_grid; /* scratch of grid.c */

KERF_NODISCARD kerf_err kerf_grid_new(kerf_grid **out);
void kerf_grid_free(kerf_grid *g); /* accepts NULL */
/* Whether these few words look like whole numbers of a step, and are not but
 * zeros and one value. */
bool kerf_grid_may(const uint8_t *in, size_t count);
/* As the functions of dict.c. out has room for 8 * count + 4096. */
size_t kerf_grid_encode(kerf_grid *g, uint8_t *scratch, uint8_t *out,
                        const uint8_t *in, size_t count, size_t most);
bool kerf_grid_decode(kerf_grid *g, uint8_t *scratch, uint8_t *out,
                      size_t count, const uint8_t *in, size_t len);

#endif
