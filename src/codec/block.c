#include "codec/block.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

/* The first byte of a block of words. */
enum {
    AS_WIDTH = 3, /* log2 */
    AS_ROTATED = 4,
    AS_SIDE = 8,  /* stretches and gaps follow, else all is words */
    AS_SAME = 16, /* then how far back the same words are */
    AS_KNOWN = 31,
};

#define STRETCHES_MOST 65536u

struct kerf_block_coder {
    kerf_coder *coder;
    uint8_t *words; /* gathered: KERF_WORDS_BYTES_MOST */
    uint8_t *side;
    size_t side_room;
};

/* zstd levels for ours; what is not weights is worth some time. */
static const int zstd_level[10] = {3, 1, 3, 5, 7, 9, 12, 15, 18, 19};

void
kerf_block_coder_free(kerf_block_coder *bc)
{
    if (bc == NULL)
        return;
    kerf_coder_free(bc->coder);
    free(bc->words);
    free(bc->side);
    free(bc);
}

kerf_err
kerf_block_coder_new(kerf_block_coder **out)
{
    kerf_block_coder *bc = calloc(1, sizeof *bc);
    kerf_err err = KERF_ENOMEM;

    if (bc == NULL)
        return KERF_ENOMEM;
    bc->words = malloc(KERF_WORDS_BYTES_MOST);
    if (bc->words != NULL)
        err = kerf_coder_new(&bc->coder);
    if (err != KERF_OK) {
        kerf_block_coder_free(bc);
        return err;
    }
    *out = bc;
    return KERF_OK;
}

static bool
side_room(kerf_block_coder *bc, size_t room)
{
    uint8_t *grown;

    if (room <= bc->side_room)
        return true;
    grown = realloc(bc->side, room);
    if (grown == NULL)
        return false;
    bc->side = grown;
    bc->side_room = room;
    return true;
}

/* Lengths of the stretches and the bytes of the gaps, to bc->side; the words to
 * bc->words. Returns the length of the side, 0: no memory. */
static size_t
gather(kerf_block_coder *bc, const kerf_block *b, const kerf_stretch *stretch,
       const uint8_t *data, size_t *words)
{
    size_t room = KERF_VARINT_MOST * (1 + 2 * b->stretch_count);
    const uint8_t *from = data + b->offset;
    kerf_wr w;

    *words = 0;
    for (size_t i = 0; i < b->stretch_count; i++)
        room += stretch[i].gap;
    if (!side_room(bc, room))
        return 0;
    w = (kerf_wr){.at = bc->side, .left = room};
    kerf_wr_varint(&w, b->stretch_count);
    for (size_t i = 0; i < b->stretch_count; i++) {
        kerf_wr_varint(&w, stretch[i].gap);
        kerf_wr_varint(&w, stretch[i].words);
    }
    for (size_t i = 0; i < b->stretch_count; i++) {
        kerf_wr_bytes(&w, from, stretch[i].gap);
        from += stretch[i].gap;
        memcpy(bc->words + *words, from, stretch[i].words);
        *words += stretch[i].words;
        from += stretch[i].words;
    }
    return w.bad ? 0 : (size_t)(w.at - bc->side);
}

/* Length, packed length (the same: stored), bytes. */
static size_t
put_side(kerf_block_coder *bc, uint8_t *out, size_t len, int level)
{
    kerf_wr w = {.at = out, .left = (size_t)2 * KERF_VARINT_MOST};
    uint8_t lengths[2 * KERF_VARINT_MOST];
    size_t packed = kerf_zstd_encode(bc->coder, out + sizeof lengths, len + 3,
                                     bc->side, len, zstd_level[level]);

    kerf_wr_varint(&w, len);
    kerf_wr_varint(&w, packed > 0 ? packed : len);
    if (packed > 0)
        memmove(w.at, out + sizeof lengths, packed);
    else
        memcpy(w.at, bc->side, len);
    return (size_t)(w.at - out) + (packed > 0 ? packed : len);
}

static size_t
encode_words(kerf_block_coder *bc, uint8_t *out, const kerf_plan *plan,
             const kerf_block *b, const uint8_t *data, int level)
{
    const kerf_stretch *stretch = plan->stretch + b->stretch_first;
    const uint8_t *words = data + b->offset;
    size_t len = b->len;
    uint8_t *at = out + 1;

    out[0] = (uint8_t)((unsigned)__builtin_ctz(b->as.width) |
                       (b->as.rotated ? AS_ROTATED : 0u));
    if (b->stretch_count != 1 || stretch->gap > 0) {
        size_t side = gather(bc, b, stretch, data, &len);

        if (side == 0 || len == 0 || side > b->len ||
            b->stretch_count > STRETCHES_MOST)
            return 0;
        out[0] |= AS_SIDE;
        at += put_side(bc, at, side, level);
        words = bc->words;
    }
    if (b->same_as < b->offset && kerf_plan_one_piece(plan, b) == len) {
        kerf_wr w = {.at = at, .left = KERF_VARINT_MOST};

        out[0] |= AS_SAME;
        kerf_wr_varint(&w, b->offset - b->same_as);
        return (size_t)(w.at - out);
    }
    at +=
        kerf_words_encode(bc->coder, at, words, len, b->as, zstd_level[level]);
    return (size_t)(at - out);
}

size_t
kerf_block_encode(kerf_block_coder *bc, uint8_t *out, const kerf_plan *plan,
                  size_t i, const uint8_t *data, int level,
                  kerf_block_kind *kind)
{
    const kerf_block *b = &plan->block[i];
    size_t n = 0;

    if (b->as.width > 0) {
        *kind = KERF_BLOCK_WORDS;
        n = encode_words(bc, out, plan, b, data, level);
    }
    if (n == 0 && b->len > 0) {
        *kind = KERF_BLOCK_ZSTD;
        n = kerf_zstd_encode(bc->coder, out, b->len + 3, data + b->offset,
                             b->len, zstd_level[level]);
    }
    if (n == 0 || n >= b->len) {
        *kind = KERF_BLOCK_STORED;
        memcpy(out, data + b->offset, b->len);
        n = b->len;
    }
    return n;
}

bool
kerf_block_is_same(kerf_block_kind kind, const uint8_t *in, size_t in_len)
{
    return kind == KERF_BLOCK_WORDS && in_len > 0 && (in[0] & AS_SAME) != 0;
}

/* The side to bc->side; its length or 0: damaged. */
static size_t
take_side(kerf_block_coder *bc, kerf_rd *r)
{
    uint64_t len = kerf_rd_varint(r);
    uint64_t packed = kerf_rd_varint(r);
    const uint8_t *in;

    if (r->bad || len == 0 || len > KERF_BLOCK_MOST || packed > r->left ||
        !side_room(bc, (size_t)len))
        return 0;
    in = kerf_rd_bytes(r, (size_t)packed);
    if (packed == len)
        memcpy(bc->side, in, (size_t)len);
    else if (!kerf_zstd_decode(bc->coder, bc->side, (size_t)len, in,
                               (size_t)packed))
        return 0;
    return (size_t)len;
}

/* The stretches as they are said: their words in all, and whether all are
 * exactly len bytes, with side left at the bytes of the gaps. */
static bool
sum_stretches(kerf_rd *side, size_t len, size_t *words)
{
    uint64_t count = kerf_rd_varint(side);
    uint64_t gaps = 0;
    uint64_t sum = 0;

    if (count > STRETCHES_MOST)
        return false;
    for (uint64_t i = 0; i < count && !side->bad; i++) {
        uint64_t gap = kerf_rd_varint(side);
        uint64_t part = kerf_rd_varint(side);

        if (gap > len || part > len)
            return false;
        gaps += gap;
        sum += part;
    }
    *words = (size_t)sum;
    return !side->bad && gaps + sum == len && gaps == side->left;
}

/* Words and gaps to where they belong; sum_stretches() was content. */
static void
scatter(uint8_t *out, kerf_rd side, const uint8_t *gap, const uint8_t *words)
{
    uint64_t count = kerf_rd_varint(&side);

    for (uint64_t i = 0; i < count; i++) {
        size_t gap_len = (size_t)kerf_rd_varint(&side);
        size_t len = (size_t)kerf_rd_varint(&side);

        memcpy(out, gap, gap_len);
        memcpy(out + gap_len, words, len);
        out += gap_len + len;
        gap += gap_len;
        words += len;
    }
}

struct earlier {
    uint64_t offset; /* of this block */
    kerf_recall *recall;
    void *ctx;
};

static kerf_err
take_same(uint8_t *out, size_t len, kerf_rd *r, const struct earlier *e)
{
    uint64_t back = kerf_rd_varint(r);

    if (r->bad || r->left > 0 || back > e->offset || back < len)
        return KERF_ECORRUPT;
    if (e->recall == NULL)
        return KERF_ENOTSUP;
    return e->recall(e->ctx, e->offset - back, out, len) ? KERF_OK : KERF_EIO;
}

static kerf_err
decode_words(kerf_block_coder *bc, uint8_t *out, size_t len, kerf_rd *r,
             const struct earlier *e)
{
    uint8_t how = kerf_rd_u8(r);
    kerf_words_as as = {.width = 1u << (how & AS_WIDTH),
                        .rotated = (how & AS_ROTATED) != 0};
    size_t words_len = len;
    uint8_t *words = out;
    kerf_rd side = {0}, gaps = {0};
    kerf_err err;

    if (r->bad || how > AS_KNOWN)
        return KERF_ECORRUPT;
    if (how & AS_SIDE) {
        side = (kerf_rd){.left = take_side(bc, r)};
        side.at = bc->side;
        gaps = side;
        if (side.left == 0 || !sum_stretches(&gaps, len, &words_len) ||
            words_len > KERF_WORDS_BYTES_MOST)
            return KERF_ECORRUPT;
        words = bc->words;
    }
    if (how & AS_SAME) {
        err = words_len <= KERF_WORDS_BYTES_MOST
                  ? take_same(words, words_len, r, e)
                  : KERF_ECORRUPT;
    } else {
        err =
            kerf_words_decode(bc->coder, words, words_len, as, r->at, r->left);
    }
    if (err == KERF_OK && (how & AS_SIDE))
        scatter(out, side, gaps.at, words);
    return err;
}

kerf_err
kerf_block_decode(kerf_block_coder *bc, uint8_t *out, size_t len,
                  kerf_block_kind kind, const uint8_t *in, size_t in_len,
                  uint64_t offset, kerf_recall *recall, void *ctx)
{
    struct earlier e = {.offset = offset, .recall = recall, .ctx = ctx};
    kerf_rd r = {.at = in, .left = in_len};

    switch (kind) {
    case KERF_BLOCK_STORED:
        if (in_len != len)
            return KERF_ECORRUPT;
        if (len > 0) /* an empty file's block may have no memory at all */
            memcpy(out, in, len);
        return KERF_OK;
    case KERF_BLOCK_ZSTD:
        return kerf_zstd_decode(bc->coder, out, len, in, in_len)
                   ? KERF_OK
                   : KERF_ECORRUPT;
    case KERF_BLOCK_WORDS:
        return decode_words(bc, out, len, &r, &e);
    default:
        return KERF_ECORRUPT;
    }
}
