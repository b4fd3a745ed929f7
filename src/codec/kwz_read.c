#include "codec/kwz_own.h"

#include <stdlib.h>

/* What may come next. */
enum state {
    AT_HEAD,
    AT_FIRST, /* a FILE, or blocks of the only file */
    IN_FILE,  /* its blocks */
    AT_SUM,
    AT_NEXT, /* behind a file: another FILE, or the INDEX */
    AT_END,
};

struct kerf_kwz_reader {
    enum state state;
    bool named, has_sum;
    uint64_t at;                            /* of the container's bytes */
    uint64_t bytes, blocks, chain, checked; /* of the file */
    uint64_t files;
    kerf_kwz_file file;
};

uint64_t
kerf_kwz_check(const uint8_t *data, size_t len, uint64_t offset)
{
    return kerf_xxh3_seed(data, len, offset);
}

bool
kerf_kwz_is_named(const uint8_t *data, size_t len)
{
    return len > KERF_KWZ_HEAD_LEN && (data[KERF_KWZ_HEAD_LEN] == KWZ_FILE ||
                                       data[KERF_KWZ_HEAD_LEN] == KWZ_INDEX);
}

kerf_err
kerf_kwz_reader_new(kerf_kwz_reader **out)
{
    kerf_kwz_reader *kr = calloc(1, sizeof *kr);

    if (kr == NULL)
        return KERF_ENOMEM;
    *out = kr;
    return KERF_OK;
}

void
kerf_kwz_reader_free(kerf_kwz_reader *kr)
{
    free(kr);
}

bool
kerf_kwz_is_whole(const kerf_kwz_reader *kr)
{
    /* One file of one block has no index. */
    return kr->state == AT_END ||
           (kr->state == AT_NEXT && !kr->named && !kr->has_sum);
}

static kerf_err
damaged(kerf_detail *why, const kerf_kwz_reader *kr, const char *what)
{
    return kerf_fail(why, KERF_ECORRUPT, "at byte %llu: %s",
                     (unsigned long long)kr->at, what);
}

static kerf_err
read_head(kerf_kwz_reader *kr, kerf_rd *r, kerf_detail *why)
{
    const uint8_t *magic = kerf_rd_bytes(r, KERF_KWZ_HEAD_LEN);

    if (memcmp(magic, KERF_KWZ_MAGIC, 3) != 0)
        return kerf_fail(why, KERF_ECORRUPT, "this is not a .kwz file");
    if (magic[3] != KERF_KWZ_VERSION)
        return kerf_fail(why, KERF_EVERSION,
                         "the .kwz is of version %u, this kerf reads %d",
                         magic[3], KERF_KWZ_VERSION);
    kr->state = AT_FIRST;
    kr->at += KERF_KWZ_HEAD_LEN;
    return KERF_OK;
}

bool
kerf_kwz_block_head(kerf_rd *r, kerf_kwz_block *b)
{
    uint8_t tag = kerf_rd_u8(r);
    unsigned kind = tag & ~(unsigned)KWZ_LAST;
    uint64_t len = kerf_rd_varint(r);
    uint64_t data_len = kind == KERF_BLOCK_STORED ? len : kerf_rd_varint(r);
    uint32_t check = kerf_rd_u32(r);

    /* What is longer is refused by its len, and cannot be that of a block. */
    *b = (kerf_kwz_block){
        .kind = (kerf_block_kind)kind,
        .is_last = (tag & KWZ_LAST) != 0,
        .len = len <= KERF_BLOCK_MOST ? (size_t)len : SIZE_MAX,
        .data_len = data_len <= len ? (size_t)data_len : SIZE_MAX,
        .check = check};
    return !r->bad && kind >= KERF_BLOCK_STORED && kind <= KERF_BLOCK_DEFLATE;
}

/* The payload of a record that is not a block. */
static kerf_err
read_payload(const kerf_kwz_reader *kr, kerf_rd *r, kerf_rd *payload,
             size_t *need, kerf_detail *why)
{
    size_t before = r->left;
    uint64_t len = kerf_rd_varint(r);
    const uint8_t *data;

    *need = KERF_VARINT_MOST + 1;
    if (r->bad)
        return KERF_EAGAIN;
    if (len > KERF_BLOCK_MOST)
        return damaged(why, kr, "a record of an impossible length");
    *need = 1 + (before - r->left) + (size_t)len + KWZ_CHECK_LEN;
    data = kerf_rd_bytes(r, (size_t)len);
    *payload = (kerf_rd){.at = data, .left = (size_t)len};
    if (kerf_rd_u32(r) != (data != NULL ? (uint32_t)kerf_xxh3(data, len) : 0) &&
        !r->bad)
        return damaged(why, kr, "a record's check does not match");
    return r->bad ? KERF_EAGAIN : KERF_OK;
}

static kerf_err
take_file(kerf_kwz_reader *kr, kerf_rd *p, kerf_detail *why)
{
    uint64_t mode = kerf_rd_varint(p);
    uint64_t mtime = kerf_rd_varint(p);

    if (p->bad || mode > UINT32_MAX || p->left == 0 ||
        p->left >= sizeof kr->file.name || memchr(p->at, 0, p->left) != NULL)
        return damaged(why, kr, "a damaged file record");
    if (++kr->files > KERF_KWZ_FILES_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "more than %u files",
                         KERF_KWZ_FILES_MOST);
    kr->file.mode = (uint32_t)mode;
    kr->file.mtime = (int64_t)(mtime >> 1 ^ (mtime & 1 ? ~(uint64_t)0 : 0));
    memcpy(kr->file.name, p->at, p->left);
    kr->file.name[p->left] = '\0';
    kr->named = true;
    kr->bytes = kr->blocks = kr->chain = kr->checked = 0;
    kr->state = IN_FILE;
    return KERF_OK;
}

static kerf_err
take_sum(kerf_kwz_reader *kr, kerf_rd *p, kerf_detail *why)
{
    uint64_t bytes = kerf_rd_u64(p);
    uint64_t chain = kerf_rd_u64(p);

    if (p->bad || p->left > 0 || bytes != kr->bytes ||
        kr->checked != kr->blocks || chain != kr->chain)
        return damaged(why, kr, "the file's sum does not match");
    kr->has_sum = true;
    kr->state = AT_NEXT;
    return KERF_OK;
}

/* An index says how its bytes can be found; whoever reads all needs only to
 * know that it is there. */
static kerf_err
take_index(kerf_kwz_reader *kr, kerf_rd *r, kerf_detail *why)
{
    uint64_t at = kerf_rd_u64(r);
    const uint8_t *end = kerf_rd_bytes(r, 4);

    if (r->bad)
        return KERF_EAGAIN;
    if (at != kr->at || memcmp(end, KWZ_TRAILER, 4) != 0)
        return damaged(why, kr, "the end is damaged");
    kr->state = AT_END;
    return KERF_OK;
}

static kerf_err
next_other(kerf_kwz_reader *kr, kerf_rd *r, uint8_t tag, kerf_kwz_record *out,
           size_t *need, kerf_detail *why)
{
    const bool between = kr->state == AT_FIRST || kr->state == AT_NEXT;
    kerf_rd payload;
    kerf_err err;

    if (!((tag == KWZ_FILE && between &&
           (kr->state == AT_FIRST || kr->named)) ||
          (tag == KWZ_SUM && kr->state == AT_SUM) ||
          (tag == KWZ_INDEX &&
           (kr->state == AT_NEXT || kr->state == AT_FIRST))))
        return damaged(why, kr, "an unknown or misplaced record");
    err = read_payload(kr, r, &payload, need, why);
    if (err != KERF_OK)
        return err;
    if (tag == KWZ_FILE) {
        out->kind = KERF_KWZ_FILE;
        out->file = &kr->file;
        return take_file(kr, &payload, why);
    }
    if (tag == KWZ_SUM) {
        out->kind = KERF_KWZ_SUM;
        return take_sum(kr, &payload, why);
    }
    out->kind = KERF_KWZ_INDEX;
    *need += KWZ_TRAILER_LEN;
    return take_index(kr, r, why);
}

static kerf_err
next_block(kerf_kwz_reader *kr, kerf_rd *r, kerf_kwz_record *out, size_t *need,
           kerf_detail *why)
{
    size_t before = r->left;
    kerf_kwz_block *b = &out->block;

    if (kr->state != AT_FIRST && kr->state != IN_FILE)
        return damaged(why, kr, "a block behind the last one");
    *need = KERF_KWZ_RECORD_HEAD;
    if (!kerf_kwz_block_head(r, b))
        return KERF_EAGAIN;
    if (b->len > KERF_BLOCK_MOST || b->data_len > b->len ||
        (b->len == 0 && !(b->is_last && kr->bytes == 0)))
        return damaged(why, kr, "a block of an impossible length");
    if (kr->bytes + b->len > KERF_KWZ_BYTES_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "a file of more than 64 GiB");
    *need = before - r->left + b->data_len;
    b->data = kerf_rd_bytes(r, b->data_len);
    if (r->bad)
        return KERF_EAGAIN;
    out->kind = KERF_KWZ_BLOCK;
    b->offset = kr->bytes;
    kr->bytes += b->len;
    kr->blocks++;
    kr->state = IN_FILE;
    if (b->is_last)
        kr->state = kr->blocks > 1 ? AT_SUM : AT_NEXT;
    return KERF_OK;
}

kerf_err
kerf_kwz_next(kerf_kwz_reader *kr, kerf_rd *r, kerf_kwz_record *out,
              size_t *need, kerf_detail *why)
{
    kerf_err err = KERF_OK;
    kerf_rd before;

    *need = KERF_KWZ_HEAD_LEN + 1;
    if (kr->state == AT_HEAD && r->left >= KERF_KWZ_HEAD_LEN)
        err = read_head(kr, r, why);
    if (err != KERF_OK || kr->state == AT_HEAD)
        return err != KERF_OK ? err : KERF_EAGAIN;
    before = *r;
    *need = 1;
    if (r->left == 0)
        return KERF_EAGAIN;
    if (kr->state == AT_END)
        return damaged(why, kr, "bytes behind the end");
    switch (*r->at & ~KWZ_LAST) {
    case KERF_BLOCK_STORED:
    case KERF_BLOCK_ZSTD:
    case KERF_BLOCK_WORDS:
    case KERF_BLOCK_DEFLATE:
        err = next_block(kr, r, out, need, why);
        break;
    default:
        err = next_other(kr, r, kerf_rd_u8(r), out, need, why);
    }
    if (err == KERF_EAGAIN)
        *r = before;
    else
        kr->at += before.left - r->left;
    return err;
}

kerf_err
kerf_kwz_checked(kerf_kwz_reader *kr, const kerf_kwz_block *block,
                 uint64_t hash, kerf_detail *why)
{
    if ((uint32_t)hash != block->check) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "the block at byte %llu of the file is damaged: its "
                         "check does not match",
                         (unsigned long long)block->offset);
    }
    kr->chain = kwz_chain(kr->chain, hash);
    kr->checked++;
    return KERF_OK;
}
