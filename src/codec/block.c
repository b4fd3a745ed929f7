#include "codec/block.h"

#include "base/bytes.h"
#include "codec/group.h"

#include <stdlib.h>
#include <string.h>

/* The first byte of a block of words. */
enum {
    AS_WIDTH = 3, /* log2 */
    AS_ROTATED = 4,
    AS_SIDE = 8,    /* stretches and gaps follow, else all is words */
    AS_SAME = 16,   /* then how far back the same words are */
    AS_GROUPS = 32, /* the side says of each stretch which */
    AS_KNOWN = 63,
};

#define STRETCHES_MOST 65536u

/* zstd's level from which on bytes are worth more time, the longest block of
 * them for which it is never saved, and the bytes of a trial. */
#define THOROUGH 7
#define SHORT ((size_t)1 << 20)
#define PROBE ((size_t)64 << 10)

#define SIZE_LEN_MOST 4u /* bytes of a varint below 2^28, as all in a block */

/* A side that is shorter is kept as it is: zstd would gain next to nothing. */
#define SIDE_PACKED 64u

struct kerf_block_coder {
    kerf_lz *lz;
    kerf_coder *coder;
    uint8_t *side;
    size_t side_room;
    kerf_stretch *stretch; /* decoding: what the side says */
    size_t stretch_room;
    kerf_group_scratch *scratch;             /* encoding */
    uint8_t group[KERF_GROUP_STRETCHES];     /* of each stretch */
    kerf_stretch part[KERF_GROUP_STRETCHES]; /* those of one group */
};

/* zstd's level for ours. What is not weights is worth some time, but not what
 * little of it there is among weights, which would take most of the time. */
static int
zstd_level(const kerf_plan *plan, int level)
{
    static const int levels[10] = {3, 1, 3, 5, 7, 9, 12, 15, 18, 19};

    if (plan->is_weights && level < 7)
        return 3;
    return levels[level < 9 ? level : 9];
}

void
kerf_block_coder_free(kerf_block_coder *bc)
{
    if (bc == NULL)
        return;
    kerf_coder_free(bc->coder);
    kerf_lz_free(bc->lz);
    free(bc->side);
    free(bc->stretch);
    free(bc->scratch);
    free(bc);
}

kerf_err
kerf_block_coder_new(kerf_block_coder **out)
{
    kerf_block_coder *bc = calloc(1, sizeof *bc);
    kerf_err err;

    if (bc == NULL)
        return KERF_ENOMEM;
    err = kerf_lz_new(&bc->lz);
    if (err == KERF_OK)
        err = kerf_coder_new(&bc->coder, bc->lz);
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

/* How many groups the stretches are in, by bc->group. */
static unsigned
make_groups(kerf_block_coder *bc, const uint8_t *base, const kerf_where *where,
            kerf_words_as as)
{
    if (bc->scratch == NULL)
        bc->scratch = malloc(kerf_group_scratch_size);
    return bc->scratch != NULL
               ? kerf_group(bc->scratch, bc->group, base, where, as)
               : 1;
}

/* The stretches of group k, by bc->part; what is of others is in the gaps. */
static kerf_where
take_group(kerf_block_coder *bc, const kerf_where *all, unsigned k)
{
    kerf_where where = {.stretch = bc->part};
    uint32_t gap = 0;

    for (size_t i = 0; i < all->count; i++) {
        const kerf_stretch *s = &all->stretch[i];

        gap += s->gap;
        if (bc->group[i] != k || s->words == 0) {
            gap += s->words;
            continue;
        }
        bc->part[where.count++] = (kerf_stretch){.gap = gap, .words = s->words};
        where.len += s->words;
        gap = 0;
    }
    return where;
}

/* Lengths of the stretches, their groups where there are several, and the bytes
 * of the gaps, to bc->side. Returns the length of the side, 0: no memory. */
static size_t
make_side(kerf_block_coder *bc, const kerf_where *where, const uint8_t *base,
          unsigned groups)
{
    size_t room = KERF_VARINT_MOST * (1 + 2 * where->count) + where->count;
    kerf_wr w;

    for (size_t i = 0; i < where->count; i++)
        room += where->stretch[i].gap;
    if (!side_room(bc, room))
        return 0;
    w = (kerf_wr){.at = bc->side, .left = room};
    kerf_wr_varint(&w, where->count);
    for (size_t i = 0; i < where->count; i++) {
        kerf_wr_varint(&w, where->stretch[i].gap);
        kerf_wr_varint(&w, where->stretch[i].words);
    }
    if (groups > 1)
        kerf_wr_bytes(&w, bc->group, where->count);
    for (size_t i = 0; i < where->count; i++) {
        kerf_wr_bytes(&w, base, where->stretch[i].gap);
        base += (size_t)where->stretch[i].gap + where->stretch[i].words;
    }
    return w.bad ? 0 : (size_t)(w.at - bc->side);
}

/* Length, packed length (the same: stored), bytes. */
static size_t
put_side(kerf_block_coder *bc, uint8_t *out, size_t len, int zstd_level)
{
    kerf_wr w = {.at = out, .left = (size_t)2 * KERF_VARINT_MOST};
    uint8_t lengths[2 * KERF_VARINT_MOST];
    size_t packed = 0;

    if (len >= SIDE_PACKED) {
        packed =
            kerf_zstd_encode(bc->lz, out + sizeof lengths, len + KERF_ZSTD_HEAD,
                             bc->side, len, zstd_level);
        packed = packed < len ? packed : 0;
    }
    kerf_wr_varint(&w, len);
    kerf_wr_varint(&w, packed > 0 ? packed : len);
    if (packed > 0)
        memmove(w.at, out + sizeof lengths, packed);
    else
        memcpy(w.at, bc->side, len);
    return (size_t)(w.at - out) + (packed > 0 ? packed : len);
}

static kerf_where
where_of(const kerf_stretch *stretch, size_t count)
{
    kerf_where where = {.stretch = stretch, .count = count};

    for (size_t i = 0; i < count; i++)
        where.len += stretch[i].words;
    return where;
}

/* The words of each group, behind their length. */
static size_t
encode_groups(kerf_block_coder *bc, uint8_t *out, const uint8_t *base,
              const kerf_where *where, kerf_words_as as, unsigned groups,
              int zstd_level)
{
    uint8_t *at = out;

    for (unsigned k = 0; k < groups; k++) {
        kerf_where part = take_group(bc, where, k);
        size_t n = kerf_words_encode(bc->coder, at + SIZE_LEN_MOST, base, &part,
                                     as, zstd_level);
        kerf_wr w = {.at = at, .left = SIZE_LEN_MOST};

        kerf_wr_varint(&w, n);
        memmove(w.at, at + SIZE_LEN_MOST, n);
        at = w.at + n;
    }
    return (size_t)(at - out);
}

static size_t
encode_words(kerf_block_coder *bc, uint8_t *out, const kerf_plan *plan,
             const kerf_block *b, const uint8_t *data, int level)
{
    const kerf_where where =
        where_of(plan->stretch + b->stretch_first, b->stretch_count);
    const uint8_t *base = data + b->offset;
    bool is_same = b->same_as < b->offset;
    unsigned groups = 1;
    uint8_t *at = out + 1;

    if (where.len == 0)
        return 0;
    level = zstd_level(plan, level);
    out[0] = (uint8_t)((unsigned)__builtin_ctz(b->as.width) |
                       (b->as.rotated ? AS_ROTATED : 0u));
    if (where.count > 1 && !is_same)
        groups = make_groups(bc, base, &where, b->as);
    if (where.count != 1 || where.stretch->gap > 0) {
        size_t side = make_side(bc, &where, base, groups);

        if (side == 0 || side > b->len || where.count > STRETCHES_MOST)
            return 0;
        out[0] |= AS_SIDE | (groups > 1 ? AS_GROUPS : 0);
        at += put_side(bc, at, side, level);
    }
    if (is_same) {
        kerf_wr w = {.at = at, .left = KERF_VARINT_MOST};

        out[0] |= AS_SAME;
        kerf_wr_varint(&w, b->offset - b->same_as);
        return (size_t)(w.at - out);
    }
    if (groups > 1)
        at += encode_groups(bc, at, base, &where, b->as, groups, level);
    else
        at += kerf_words_encode(bc->coder, at, base, &where, b->as, level);
    return (size_t)(at - out);
}

/* Whether deflate may do better than zstd has done: short blocks, and what
 * hardly repeats, as pictures do. */
static bool
may_deflate(uint8_t *scratch, const uint8_t *in, size_t len, size_t zipped)
{
    const uint8_t *probe = in + (len - PROBE) / 2;
    size_t n;

    if (len <= SHORT)
        return true;
    if (zipped < len - len / 8)
        return false;
    n = kerf_deflate_encode(scratch, PROBE, probe, PROBE);
    return n > 0 && n * len < zipped * PROBE;
}

/* Besides the bytes of some blocks: lengths and heads of their sides, their
 * stretches, and what words may need more. */
static size_t
more_room(size_t blocks, size_t stretches)
{
    return blocks * (512 + (size_t)KERF_GROUPS_MOST * 300) +
           (2 * SIZE_LEN_MOST + 1) * (stretches + blocks);
}

size_t
kerf_block_room(const kerf_plan *plan, size_t i)
{
    const kerf_block *b = &plan->block[i];

    return b->len + more_room(1, b->stretch_count);
}

size_t
kerf_block_room_before(const kerf_plan *plan, size_t i)
{
    const kerf_block *b = &plan->block[i];

    return b->offset + more_room(i, b->stretch_first);
}

size_t
kerf_block_room_most(const kerf_plan *plan)
{
    size_t most = 0;

    for (size_t i = 0; i < plan->block_count; i++) {
        size_t room = kerf_block_room(plan, i);

        most = room > most ? room : most;
    }
    return most;
}

/* By zstd, or by deflate where that is smaller. 0: neither makes it smaller. */
static size_t
encode_bytes(kerf_block_coder *bc, uint8_t *out, const kerf_plan *plan,
             const kerf_block *b, const uint8_t *data, int level,
             kerf_block_kind *kind)
{
    const uint8_t *in = data + b->offset;
    int best = zstd_level(plan, level);
    size_t n = 0;

    if (best >= THOROUGH && b->len <= PROBE)
        best = 19;
    *kind = KERF_BLOCK_ZSTD;
    n = kerf_zstd_encode(bc->lz, out, b->len + KERF_ZSTD_HEAD, in, b->len,
                         best);
    n = n > 0 && n < b->len ? n : b->len;
    if (best >= THOROUGH && side_room(bc, n > PROBE ? n : PROBE) &&
        may_deflate(bc->side, in, b->len, n)) {
        size_t deflated = kerf_deflate_encode(bc->side, n, in, b->len);

        if (deflated > 0 && deflated < n) {
            memcpy(out, bc->side, deflated);
            *kind = KERF_BLOCK_DEFLATE;
            n = deflated;
        }
    }
    return n < b->len ? n : 0;
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
    if (n == 0 && b->len > 0)
        n = encode_bytes(bc, out, plan, b, data, level, kind);
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

/* The side to bc->side, of which *side is then. */
static kerf_err
take_side(kerf_block_coder *bc, kerf_rd *r, kerf_rd *side)
{
    uint64_t len = kerf_rd_varint(r);
    uint64_t packed = kerf_rd_varint(r);
    const uint8_t *in;

    if (r->bad || len == 0 || len > KERF_BLOCK_MOST || packed > r->left)
        return KERF_ECORRUPT;
    if (!side_room(bc, (size_t)len))
        return KERF_ENOMEM;
    *side = (kerf_rd){.at = bc->side, .left = (size_t)len};
    in = kerf_rd_bytes(r, (size_t)packed);
    if (packed != len)
        return kerf_zstd_decode(bc->lz, bc->side, (size_t)len, in,
                                (size_t)packed);
    memcpy(bc->side, in, (size_t)len);
    return KERF_OK;
}

/* The stretches as they are said, to bc->stretch, with side left at the bytes
 * of the gaps, which are just enough. */
static kerf_err
take_stretches(kerf_block_coder *bc, kerf_rd *side, size_t len, bool grouped,
               kerf_where *where)
{
    uint64_t count = kerf_rd_varint(side);
    uint64_t gaps = 0;
    uint64_t words = 0;

    if (side->bad || count == 0 || count > STRETCHES_MOST ||
        count > side->left / 2 || (grouped && count > KERF_GROUP_STRETCHES))
        return KERF_ECORRUPT;
    if (count > bc->stretch_room) {
        kerf_stretch *grown =
            reallocarray(bc->stretch, (size_t)count, sizeof *grown);

        if (grown == NULL)
            return KERF_ENOMEM;
        bc->stretch = grown;
        bc->stretch_room = (size_t)count;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t gap = kerf_rd_varint(side);
        uint64_t part = kerf_rd_varint(side);

        if (gap > len || part > len)
            return KERF_ECORRUPT;
        gaps += gap;
        words += part;
        bc->stretch[i] =
            (kerf_stretch){.gap = (uint32_t)gap, .words = (uint32_t)part};
    }
    if (grouped) {
        const uint8_t *group = kerf_rd_bytes(side, (size_t)count);

        if (group != NULL)
            memcpy(bc->group, group, (size_t)count);
    }
    *where = (kerf_where){
        .stretch = bc->stretch, .count = (size_t)count, .len = (size_t)words};
    return !side->bad && gaps + words == len && gaps == side->left
               ? KERF_OK
               : KERF_ECORRUPT;
}

static void
put_gaps(uint8_t *base, const kerf_where *where, const uint8_t *gap)
{
    for (size_t i = 0; i < where->count; i++) {
        const kerf_stretch *s = &where->stretch[i];

        memcpy(base, gap, s->gap);
        gap += s->gap;
        base += (size_t)s->gap + s->words;
    }
}

struct earlier {
    uint64_t offset; /* of this block */
    kerf_recall *recall;
    void *ctx;
};

static kerf_err
take_same(uint8_t *out, const kerf_where *where, kerf_rd *r,
          const struct earlier *e)
{
    uint64_t back = kerf_rd_varint(r);

    if (r->bad || r->left > 0 || back > e->offset || back < where->len ||
        where->len > KERF_WORDS_BYTES_MOST || where->stretch->gap > 0 ||
        where->stretch->words != where->len)
        return KERF_ECORRUPT;
    if (e->recall == NULL)
        return KERF_ENOTSUP;
    return e->recall(e->ctx, e->offset - back, out, where->len) ? KERF_OK
                                                                : KERF_EIO;
}

/* All that r has left: as many groups as there are, none of which is empty. */
static kerf_err
decode_groups(kerf_block_coder *bc, uint8_t *out, const kerf_where *where,
              kerf_words_as as, kerf_rd *r)
{
    size_t len = 0;
    kerf_err err = KERF_OK;

    for (unsigned k = 0; r->left > 0 && err == KERF_OK; k++) {
        kerf_where part = take_group(bc, where, k);
        uint64_t n = kerf_rd_varint(r);
        const uint8_t *in = n <= r->left ? kerf_rd_bytes(r, (size_t)n) : NULL;

        if (r->bad || in == NULL || part.count == 0)
            return KERF_ECORRUPT;
        err = kerf_words_decode(bc->coder, out, &part, as, in, (size_t)n);
        len += part.len;
    }
    return err == KERF_OK && len != where->len ? KERF_ECORRUPT : err;
}

static kerf_err
decode_words(kerf_block_coder *bc, uint8_t *out, size_t len, kerf_rd *r,
             const struct earlier *e)
{
    uint8_t how = kerf_rd_u8(r);
    kerf_words_as as = {.width = 1u << (how & AS_WIDTH),
                        .rotated = (how & AS_ROTATED) != 0};
    kerf_stretch all = {.words = (uint32_t)len};
    kerf_where where = {.stretch = &all, .count = 1, .len = len};

    if (r->bad || how > AS_KNOWN ||
        ((how & AS_GROUPS) && (how & (AS_SIDE | AS_SAME)) != AS_SIDE))
        return KERF_ECORRUPT;
    if (how & AS_SIDE) {
        kerf_rd side;
        kerf_err err = take_side(bc, r, &side);

        if (err == KERF_OK)
            err =
                take_stretches(bc, &side, len, (how & AS_GROUPS) != 0, &where);
        if (err != KERF_OK)
            return err;
        put_gaps(out, &where, side.at);
    }
    if (how & AS_SAME)
        return take_same(out, &where, r, e);
    if (how & AS_GROUPS)
        return decode_groups(bc, out, &where, as, r);
    return kerf_words_decode(bc->coder, out, &where, as, r->at, r->left);
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
        return kerf_zstd_decode(bc->lz, out, len, in, in_len);
    case KERF_BLOCK_DEFLATE:
        return kerf_deflate_decode(out, len, in, in_len);
    case KERF_BLOCK_WORDS:
        return decode_words(bc, out, len, &r, &e);
    default:
        return KERF_ECORRUPT;
    }
}
