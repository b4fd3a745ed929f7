#include "codec/words_own.h"

#include <stdlib.h>
#include <string.h>

/* For len bytes of words: planes, also of a dictionary's values and of what
 * zstd makes; and what stands in their place (dict.c, grid.c). */
#define PLANES_ROOM(len) ((len) + 2048)
#define OTHER_ROOM(len) (2 * (len) + 8192)

/* The first byte of what stands for words. */
enum method {
    STORED = 0,
    PLANES = 1,
    ZSTD = 2,
    DICT = 3,
    GRID = 4,
    COLUMNS = 5, /* as GRID, column by column */
};

/* Scratch memory that grows to what is needed. */
struct room {
    uint8_t *at;
    size_t len;
};

/* Most runs are planes at once, of one stretch: all but the planes is made when
 * it is needed. */
struct kerf_coder {
    kerf_lz *lz; /* borrowed */
    kerf_dict *dict;
    kerf_grid *grid;
    struct room planes;
    struct room other;  /* a second attempt, beside the first */
    struct room words;  /* of several stretches */
    struct room turned; /* column by column */
};

void
kerf_coder_free(kerf_coder *coder)
{
    if (coder == NULL)
        return;
    kerf_dict_free(coder->dict);
    kerf_grid_free(coder->grid);
    free(coder->planes.at);
    free(coder->other.at);
    free(coder->words.at);
    free(coder->turned.at);
    free(coder);
}

kerf_err
kerf_coder_new(kerf_coder **out, kerf_lz *lz)
{
    kerf_coder *c = calloc(1, sizeof *c);

    if (c == NULL)
        return KERF_ENOMEM;
    c->lz = lz;
    *out = c;
    return KERF_OK;
}

static bool
dict_room(kerf_coder *c)
{
    return c->dict != NULL || kerf_dict_new(&c->dict) == KERF_OK;
}

static bool
grid_room(kerf_coder *c)
{
    return c->grid != NULL || kerf_grid_new(&c->grid) == KERF_OK;
}

/* Room for len bytes, of any contents. */
static bool
make_room(struct room *room, size_t len)
{
    if (len <= room->len)
        return true;
    free(room->at);
    room->at = malloc(len);
    room->len = room->at != NULL ? len : 0;
    return room->at != NULL;
}

static void
put_u24(uint8_t *at, size_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
}

size_t
kerf_huf_put(uint8_t *out, const uint8_t *in, size_t n)
{
    size_t len = n > 0 ? kerf_huf_encode(out + 3, in, n) : 0;

    put_u24(out, len);
    return 3 + len;
}

const uint8_t *
kerf_huf_take(uint8_t *out, size_t n, kerf_rd *r)
{
    size_t len = kerf_rd_u16(r);
    const uint8_t *in;

    len |= (size_t)kerf_rd_u8(r) << 16;
    in = kerf_rd_bytes(r, len);
    if (r->bad)
        return NULL;
    if (n == 0)
        return len == 0 ? out : NULL;
    return kerf_huf_decode(out, n, in, len);
}

void
kerf_words_gather(uint8_t *to, const uint8_t *base, const kerf_where *where)
{
    for (size_t i = 0; i < where->count; i++) {
        base += where->stretch[i].gap;
        memcpy(to, base, where->stretch[i].words);
        to += where->stretch[i].words;
        base += where->stretch[i].words;
    }
}

void
kerf_words_scatter(uint8_t *base, const kerf_where *where, const uint8_t *words)
{
    for (size_t i = 0; i < where->count; i++) {
        base += where->stretch[i].gap;
        memcpy(base, words, where->stretch[i].words);
        words += where->stretch[i].words;
        base += where->stretch[i].words;
    }
}

size_t
kerf_planes_encode(uint8_t *scratch, uint8_t *out, const uint8_t *base,
                   const kerf_where *where, kerf_words_as as)
{
    uint8_t *plane[KERF_PLANES_MOST];
    uint8_t *part[KERF_PLANES_MOST];
    size_t count = where->len / as.width;
    unsigned noisy = kerf_words_noise(base, where, as);
    uint8_t *at = out;

    /* Noise goes where it is to stay; the rest is coded from scratch memory. */
    for (unsigned k = 0; k < noisy; k++) {
        put_u24(at, count + 1);
        at[3] = HUF_STORED;
        plane[k] = at + 4;
        at += 4 + count;
    }
    for (unsigned k = noisy; k < as.width; k++)
        plane[k] = scratch + (k - noisy) * count;
    memcpy(part, plane, sizeof *part * as.width);
    for (size_t i = 0; i < where->count; i++) {
        const kerf_stretch *s = &where->stretch[i];

        base += s->gap;
        kerf_plane_split(part, base, s->words / as.width, as.width, as.rotated);
        base += s->words;
        for (unsigned k = 0; k < as.width; k++)
            part[k] += s->words / as.width;
    }
    for (unsigned k = noisy; k < as.width; k++)
        at += kerf_huf_put(at, plane[k], count);
    return (size_t)(at - out);
}

bool
kerf_planes_decode(uint8_t *scratch, uint8_t *base, const kerf_where *where,
                   kerf_words_as as, kerf_rd *r)
{
    const uint8_t *plane[KERF_PLANES_MOST];
    size_t count = where->len / as.width;

    for (unsigned k = 0; k < as.width; k++) {
        plane[k] = kerf_huf_take(scratch + k * count, count, r);
        if (plane[k] == NULL)
            return false;
    }
    for (size_t i = 0; i < where->count; i++) {
        const kerf_stretch *s = &where->stretch[i];

        base += s->gap;
        kerf_plane_merge(base, plane, s->words / as.width, as.width,
                         as.rotated);
        base += s->words;
        for (unsigned k = 0; k < as.width; k++)
            plane[k] += s->words / as.width;
    }
    return true;
}

size_t
kerf_words_put(uint8_t *scratch, uint8_t *out, const uint32_t *word,
               size_t count, bool rotated)
{
    const kerf_stretch s = {.words = (uint32_t)(4 * count)};
    const kerf_where where = {.stretch = &s, .count = 1, .len = 4 * count};
    const kerf_words_as as = {.width = 4, .rotated = rotated};

    return kerf_planes_encode(scratch, out, (const uint8_t *)word, &where, as);
}

bool
kerf_words_take(uint8_t *scratch, uint32_t *word, size_t count, bool rotated,
                kerf_rd *r)
{
    const kerf_stretch s = {.words = (uint32_t)(4 * count)};
    const kerf_where where = {.stretch = &s, .count = 1, .len = 4 * count};
    const kerf_words_as as = {.width = 4, .rotated = rotated};

    return kerf_planes_decode(scratch, (uint8_t *)word, &where, as, r);
}

/* All first words of a row, all second ones ..., or back: the last row may not
 * be whole. */
static void
turn(uint8_t *to, const uint8_t *in, size_t count, size_t columns, bool back)
{
    size_t at = 0;

    for (size_t c = 0; c < columns; c++) {
        for (size_t i = c; i < count; i += columns, at++) {
            size_t from = back ? at : i;

            memcpy(to + 4 * (back ? i : at), in + 4 * from, 4);
        }
    }
}

/* Words of 4 bytes by a dictionary or on a grid, in coder->other.at; 0: nothing
 * below `most`. */
static size_t
encode_values(kerf_coder *c, const uint8_t *in, size_t count,
              const struct kerf_looks *looks, size_t most, enum method *method)
{
    size_t dict = 0;
    size_t grid = 0;

    if (looks->repeat && dict_room(c))
        dict = kerf_dict_encode(c->dict, c->planes.at, c->other.at, in, count,
                                most);
    *method = DICT;
    if (!looks->grid || !grid_room(c))
        return dict;
    grid = kerf_grid_encode(c->grid, c->planes.at, c->other.at, in, count,
                            dict > 0 ? dict : most);
    if (grid > 0) {
        *method = GRID;
        return grid;
    }
    if (dict > 0) /* once more, since the grid has taken its place */
        dict = kerf_dict_encode(c->dict, c->planes.at, c->other.at, in, count,
                                most);
    return dict;
}

/* On a grid for each column, in c->other; 0: nothing below `most`. */
static size_t
encode_columns(kerf_coder *c, const uint8_t *in, size_t len, uint32_t columns,
               size_t most)
{
    kerf_wr w;
    size_t n;

    if (!make_room(&c->turned, len) || !grid_room(c))
        return 0;
    w = (kerf_wr){.at = c->other.at, .left = KERF_VARINT_MOST};
    turn(c->turned.at, in, len / 4, columns, false);
    kerf_wr_varint(&w, columns);
    n = kerf_grid_encode(c->grid, c->planes.at, w.at, c->turned.at, len / 4,
                         most);
    n += n > 0 ? (size_t)(w.at - c->other.at) : 0;
    return n < most ? n : 0;
}

/* By zstd, in c->other; 0: nothing below `most`. The planes are lost. */
static size_t
encode_zipped(kerf_coder *c, const uint8_t *in, size_t len, int level,
              size_t most, enum method *method)
{
    size_t n = kerf_zstd_encode(c->lz, c->planes.at, most + KERF_ZSTD_HEAD, in,
                                len, level);

    if (n == 0 || n >= most)
        return 0;
    memcpy(c->other.at, c->planes.at, n); /* what was there was longer */
    *method = ZSTD;
    return n;
}

/* What may do better than planes, in c->other; 0: nothing below `most`. */
static size_t
encode_other(kerf_coder *c, const uint8_t *in, size_t len, kerf_words_as as,
             const struct kerf_looks *looks, int level, size_t most,
             enum method *method)
{
    size_t best = 0;
    size_t zipped;

    if (looks->columns) {
        best = encode_columns(c, in, len, as.columns, most);
        *method = COLUMNS;
        if (best > 0)
            return best; /* others see no more than single words */
    }
    if (looks->few && looks->often) { /* constants, mostly */
        best = encode_zipped(c, in, len, level, most, method);
        if (best > 0 && best < most / 3)
            return best;
    }
    best =
        as.width == 4 ? encode_values(c, in, len / 4, looks, most, method) : 0;
    if (best == 0 && looks->few && !looks->often)
        return 0;
    zipped = encode_zipped(c, in, len, level, best > 0 ? best : most, method);
    return zipped > 0 ? zipped : best;
}

/* The words in one piece: where they are, or a copy. NULL: no memory. */
static const uint8_t *
in_one_piece(kerf_coder *c, const uint8_t *base, const kerf_where *where)
{
    if (where->count == 1)
        return base + where->stretch->gap;
    if (!make_room(&c->words, where->len))
        return NULL;
    kerf_words_gather(c->words.at, base, where);
    return c->words.at;
}

size_t
kerf_words_encode(kerf_coder *coder, uint8_t *out, const uint8_t *base,
                  const kerf_where *where, kerf_words_as as, int level)
{
    size_t n = where->len + 1; /* without memory, too */
    struct kerf_looks looks = kerf_words_look(base, where, as);

    if (make_room(&coder->planes, PLANES_ROOM(where->len)))
        n = kerf_planes_encode(coder->planes.at, out + 1, base, where, as);
    out[0] = PLANES;
    if (n > where->len) {
        out[0] = STORED;
        kerf_words_gather(out + 1, base, where);
        n = where->len;
    }
    if (coder->planes.at != NULL && n > 1 &&
        (looks.repeat || looks.grid || looks.columns)) {
        const uint8_t *in = in_one_piece(coder, base, where);
        enum method method = PLANES;
        size_t other = 0;

        if (in != NULL && make_room(&coder->other, OTHER_ROOM(where->len))) {
            other = encode_other(coder, in, where->len, as, &looks, level, n,
                                 &method);
        }
        if (other > 0) {
            out[0] = (uint8_t)method;
            memcpy(out + 1, coder->other.at, other);
            n = other;
        }
    }
    return 1 + n;
}

static kerf_err
sound(bool ok)
{
    return ok ? KERF_OK : KERF_ECORRUPT;
}

static kerf_err
decode_columns(kerf_coder *c, uint8_t *out, size_t len, kerf_words_as as,
               kerf_rd r)
{
    uint64_t columns = kerf_rd_varint(&r);

    if (as.width != 4 || !as.rotated || r.bad || columns == 0 ||
        columns > len / 4)
        return KERF_ECORRUPT;
    if (!make_room(&c->turned, len) || !grid_room(c))
        return KERF_ENOMEM;
    if (!kerf_grid_decode(c->grid, c->planes.at, c->turned.at, len / 4, r.at,
                          r.left))
        return KERF_ECORRUPT;
    turn(out, c->turned.at, len / 4, (size_t)columns, true);
    return KERF_OK;
}

/* Methods that give words in one piece. */
static kerf_err
decode_other(kerf_coder *c, uint8_t *out, size_t len, kerf_words_as as,
             uint8_t method, const kerf_rd *r)
{
    switch (method) {
    case STORED:
        if (r->left != len)
            return KERF_ECORRUPT;
        memcpy(out, r->at, len);
        return KERF_OK;
    case ZSTD:
        return kerf_zstd_decode(c->lz, out, len, r->at, r->left);
    case DICT:
        if (as.width != 4)
            return KERF_ECORRUPT;
        if (!dict_room(c))
            return KERF_ENOMEM;
        return sound(kerf_dict_decode(c->dict, c->planes.at, out, len / 4,
                                      r->at, r->left));
    case GRID:
        if (as.width != 4 || !as.rotated)
            return KERF_ECORRUPT;
        if (!grid_room(c))
            return KERF_ENOMEM;
        return sound(kerf_grid_decode(c->grid, c->planes.at, out, len / 4,
                                      r->at, r->left));
    case COLUMNS:
        return decode_columns(c, out, len, as, *r);
    default:
        return KERF_ECORRUPT;
    }
}

kerf_err
kerf_words_decode(kerf_coder *coder, uint8_t *base, const kerf_where *where,
                  kerf_words_as as, const uint8_t *in, size_t in_len)
{
    kerf_rd r = {.at = in, .left = in_len};
    uint8_t method = kerf_rd_u8(&r);
    kerf_err err;

    if (r.bad || where->len == 0 || where->len / as.width > KERF_WORDS_MOST)
        return KERF_ECORRUPT;
    for (size_t i = 0; i < where->count; i++) {
        if (where->stretch[i].words % as.width != 0)
            return KERF_ECORRUPT;
    }
    if (!make_room(&coder->planes, PLANES_ROOM(where->len)))
        return KERF_ENOMEM;
    if (method == PLANES)
        return sound(
            kerf_planes_decode(coder->planes.at, base, where, as, &r) &&
            r.left == 0);
    if (where->count == 1)
        return decode_other(coder, base + where->stretch->gap, where->len, as,
                            method, &r);
    if (!make_room(&coder->words, where->len))
        return KERF_ENOMEM;
    err = decode_other(coder, coder->words.at, where->len, as, method, &r);
    if (err == KERF_OK)
        kerf_words_scatter(base, where, coder->words.at);
    return err;
}
