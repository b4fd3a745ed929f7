#include "codec/kwz_own.h"

#include <stdlib.h>

struct growing {
    uint8_t *data;
    size_t len, room;
};

struct kerf_kwz_writer {
    bool named;
    uint64_t at; /* bytes given out so far */
    struct growing record, blocks, index;
    size_t files;
    char name[KERF_KWZ_NAME_MOST]; /* of the file being written */
    uint64_t first;                /* where its first block begins */
    uint64_t block_count, bytes, chain;
};

kerf_err
kerf_kwz_writer_new(kerf_kwz_writer **out, bool named)
{
    kerf_kwz_writer *kw = calloc(1, sizeof *kw);

    if (kw == NULL)
        return KERF_ENOMEM;
    kw->named = named;
    *out = kw;
    return KERF_OK;
}

void
kerf_kwz_writer_free(kerf_kwz_writer *kw)
{
    if (kw == NULL)
        return;
    free(kw->record.data);
    free(kw->blocks.data);
    free(kw->index.data);
    free(kw);
}

/* A cursor on `more` new bytes at the end, which end_growth() takes back what
 * was not written of; bad: no memory. */
static kerf_wr
grow(struct growing *g, size_t more)
{
    if (g->len + more > g->room) {
        size_t room = 2 * (g->len + more);
        uint8_t *grown = realloc(g->data, room);

        if (grown == NULL)
            return (kerf_wr){.bad = true};
        g->data = grown;
        g->room = room;
    }
    g->len += more;
    return (kerf_wr){.at = g->data + g->len - more, .left = more};
}

static kerf_err
end_growth(struct growing *g, const kerf_wr *w)
{
    g->len -= w->left;
    return w->bad ? KERF_ENOMEM : KERF_OK;
}

static kerf_err
give(kerf_kwz_writer *kw, const kerf_wr *w, kerf_kwz_bytes *out)
{
    kerf_err err = end_growth(&kw->record, w);

    if (err != KERF_OK)
        return err;
    *out = (kerf_kwz_bytes){.data = kw->record.data, .len = kw->record.len};
    kw->at += out->len;
    return KERF_OK;
}

static kerf_wr
begin_record(kerf_kwz_writer *kw, size_t most)
{
    kw->record.len = 0;
    return grow(&kw->record, most);
}

kerf_kwz_bytes
kerf_kwz_put_head(kerf_kwz_writer *kw)
{
    static const uint8_t head[KERF_KWZ_HEAD_LEN] = {'K', 'W', 'Z',
                                                    KERF_KWZ_VERSION};

    kw->at += sizeof head;
    return (kerf_kwz_bytes){.data = head, .len = sizeof head};
}

/* Tag, length, payload, and the payload's check. */
static void
put_checked(kerf_wr *w, uint8_t tag, const uint8_t *data, size_t len)
{
    kerf_wr_u8(w, tag);
    kerf_wr_varint(w, len);
    kerf_wr_bytes(w, data, len);
    kerf_wr_u32(w, (uint32_t)kerf_xxh3(data, len));
}

kerf_err
kerf_kwz_put_file(kerf_kwz_writer *kw, const kerf_kwz_file *file,
                  kerf_kwz_bytes *out)
{
    uint8_t payload[KERF_KWZ_NAME_MOST + (size_t)2 * KERF_VARINT_MOST];
    kerf_wr p = {.at = payload, .left = sizeof payload};
    size_t name_len = strlen(file->name);
    kerf_wr w;

    if (name_len + 1 > sizeof file->name || kw->files >= KERF_KWZ_FILES_MOST)
        return KERF_ETOOBIG;
    kerf_wr_varint(&p, file->mode);
    kerf_wr_varint(&p, (uint64_t)file->mtime << 1 ^
                           (file->mtime < 0 ? ~(uint64_t)0 : 0));
    kerf_wr_bytes(&p, file->name, name_len);
    memcpy(kw->name, file->name, name_len + 1);
    w = begin_record(kw, sizeof payload + KERF_KWZ_RECORD_HEAD);
    put_checked(&w, KWZ_FILE, payload, (size_t)(p.at - payload));
    return give(kw, &w, out);
}

kerf_err
kerf_kwz_put_block(kerf_kwz_writer *kw, const kerf_kwz_block *block,
                   uint64_t hash, kerf_kwz_bytes *out)
{
    kerf_wr w = begin_record(kw, KERF_KWZ_RECORD_HEAD);
    kerf_wr b = grow(&kw->blocks, (size_t)2 * KERF_VARINT_MOST);
    kerf_err err;

    if (kw->block_count == 0)
        kw->first = kw->at;
    kerf_wr_u8(&w, (uint8_t)((unsigned)block->kind |
                             (block->is_last ? KWZ_LAST : 0u)));
    kerf_wr_varint(&w, block->len);
    if (block->kind != KERF_BLOCK_STORED)
        kerf_wr_varint(&w, block->data_len);
    kerf_wr_u32(&w, (uint32_t)hash);
    err = give(kw, &w, out);
    if (err != KERF_OK)
        return err;
    kerf_wr_varint(&b, out->len + block->data_len);
    kerf_wr_varint(&b, block->len);
    kw->at += block->data_len;
    kw->block_count++;
    kw->bytes += block->len;
    kw->chain = kwz_chain(kw->chain, hash);
    return end_growth(&kw->blocks, &b);
}

size_t
kerf_kwz_block_head_most(size_t len)
{
    uint8_t varint[KERF_VARINT_MOST];
    kerf_wr w = {.at = varint, .left = sizeof varint};

    kerf_wr_varint(&w, len);
    return 1 + 2 * (size_t)(w.at - varint) + KWZ_CHECK_LEN;
}

/* The file's part of the index. */
static kerf_err
index_file(kerf_kwz_writer *kw, const kerf_segment *segments, size_t count)
{
    size_t name_len = strlen(kw->name);
    size_t end = 0;
    kerf_wr w = grow(&kw->index,
                     name_len + kw->blocks.len + (size_t)4 * KERF_VARINT_MOST +
                         count * ((size_t)2 * KERF_VARINT_MOST + 1));

    kerf_wr_varint(&w, name_len);
    kerf_wr_bytes(&w, kw->name, name_len);
    kerf_wr_varint(&w, kw->first);
    kerf_wr_varint(&w, kw->block_count);
    kerf_wr_bytes(&w, kw->blocks.data, kw->blocks.len);
    kerf_wr_varint(&w, count);
    for (size_t i = 0; i < count; i++) {
        kerf_wr_varint(&w, segments[i].offset - end);
        kerf_wr_varint(&w, segments[i].len);
        kerf_wr_u8(&w, (uint8_t)segments[i].dtype);
        end = segments[i].offset + segments[i].len;
    }
    return end_growth(&kw->index, &w);
}

kerf_err
kerf_kwz_end_file(kerf_kwz_writer *kw, const kerf_segment *segments,
                  size_t count, kerf_kwz_bytes *out)
{
    kerf_err err = index_file(kw, segments, count);

    *out = (kerf_kwz_bytes){0};
    if (err == KERF_OK && kw->block_count > 1) {
        uint8_t payload[KWZ_SUM_LEN];
        kerf_wr p = {.at = payload, .left = sizeof payload};
        kerf_wr w = begin_record(kw, sizeof payload + KERF_KWZ_RECORD_HEAD);

        kerf_wr_u64(&p, kw->bytes);
        kerf_wr_u64(&p, kw->chain);
        put_checked(&w, KWZ_SUM, payload, sizeof payload);
        err = give(kw, &w, out);
        kw->named = true; /* there will be an index */
    }
    kw->files++;
    kw->block_count = kw->bytes = kw->chain = 0;
    kw->blocks.len = 0;
    return err;
}

kerf_err
kerf_kwz_end(kerf_kwz_writer *kw, kerf_kwz_bytes *out)
{
    uint64_t at = kw->at;
    uint8_t count[KERF_VARINT_MOST];
    kerf_wr c = {.at = count, .left = sizeof count};
    size_t count_len;
    struct growing all = {0};
    kerf_wr w;
    kerf_err err;

    *out = (kerf_kwz_bytes){0};
    if (!kw->named)
        return KERF_OK;
    kerf_wr_varint(&c, kw->files);
    count_len = (size_t)(c.at - count);
    if (count_len + kw->index.len > KERF_BLOCK_MOST)
        return KERF_ETOOBIG;
    w = grow(&all, count_len + kw->index.len);
    kerf_wr_bytes(&w, count, count_len);
    kerf_wr_bytes(&w, kw->index.data, kw->index.len);
    err = end_growth(&all, &w);
    if (err != KERF_OK)
        goto out;
    w = begin_record(kw, all.len + KERF_KWZ_RECORD_HEAD + KWZ_TRAILER_LEN);
    put_checked(&w, KWZ_INDEX, all.data, all.len);
    kerf_wr_u64(&w, at);
    kerf_wr_bytes(&w, KWZ_TRAILER, 4);
    err = give(kw, &w, out);
out:
    free(all.data);
    return err;
}
