/* Packing and unpacking in memory, for tests of the container. */
#ifndef KERF_TESTS_KWZ_HELPERS_H
#define KERF_TESTS_KWZ_HELPERS_H

#include "codec/kwz.h"

#include <stdlib.h>
#include <string.h>

typedef struct kwz_buf {
    uint8_t *data;
    size_t len;
} kwz_buf;

static inline void
kwz_add(kwz_buf *b, const uint8_t *data, size_t len)
{
    b->data = realloc(b->data, b->len + len + 1);
    if (b->data == NULL)
        abort();
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static inline void
kwz_must(kerf_err err)
{
    if (err != KERF_OK)
        abort();
}

/* One for all inputs, as a thread of Kerf keeps one: its megabytes anew for
 * each of thousands take longer than what is tested. */
static inline kerf_block_coder *
kwz_coder(void)
{
    static kerf_block_coder *bc;

    if (bc == NULL)
        kwz_must(kerf_block_coder_new(&bc));
    return bc;
}

/* One file's records to b. */
static inline void
kwz_pack_file(kwz_buf *b, kerf_kwz_writer *kw, const uint8_t *data, size_t len,
              const kerf_segment *segments, size_t count)
{
    kerf_plan plan = {0};
    kerf_block_coder *bc = kwz_coder();
    uint8_t *out;
    kerf_kwz_bytes bytes;

    kwz_must(kerf_plan_make(&plan, data, len, segments, count));
    out = malloc(kerf_block_room_most(&plan));
    if (out == NULL)
        abort();
    for (size_t i = 0; i < plan.block_count; i++) {
        const kerf_block *p = &plan.block[i];
        kerf_kwz_block block = {.len = p->len,
                                .is_last = i + 1 == plan.block_count};

        block.data_len =
            kerf_block_encode(bc, out, &plan, i, data, 6, &block.kind);
        kwz_must(kerf_kwz_put_block(
            kw, &block, kerf_kwz_check(data + p->offset, p->len, p->offset),
            &bytes));
        kwz_add(b, bytes.data, bytes.len);
        kwz_add(b, out, block.data_len);
    }
    kwz_must(kerf_kwz_end_file(kw, segments, count, &bytes));
    kwz_add(b, bytes.data, bytes.len);
    kerf_plan_fini(&plan);
    free(out);
}

static inline kwz_buf
kwz_pack(const uint8_t *data, size_t len, const kerf_segment *segments,
         size_t count)
{
    kwz_buf b = {0};
    kerf_kwz_writer *kw = NULL;
    kerf_kwz_bytes bytes;

    kwz_must(kerf_kwz_writer_new(&kw, false));
    bytes = kerf_kwz_put_head(kw);
    kwz_add(&b, bytes.data, bytes.len);
    kwz_pack_file(&b, kw, data, len, segments, count);
    kwz_must(kerf_kwz_end(kw, &bytes));
    kwz_add(&b, bytes.data, bytes.len);
    kerf_kwz_writer_free(kw);
    return b;
}

static inline bool
kwz_recall(void *ctx, uint64_t offset, uint8_t *to, size_t len)
{
    const kwz_buf *b = ctx;

    if (offset > b->len || len > b->len - offset)
        return false;
    memcpy(to, b->data + offset, len);
    return true;
}

/* All files one after the other to out, at most `most` bytes. */
static inline kerf_err
kwz_unpack(kwz_buf *out, const uint8_t *data, size_t len, size_t most)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_kwz_reader *kr = NULL;
    kerf_block_coder *bc = kwz_coder();
    kerf_kwz_record record;
    kerf_err err;
    size_t need;

    kwz_must(kerf_kwz_reader_new(&kr));
    while ((err = kerf_kwz_next(kr, &r, &record, &need, NULL)) == KERF_OK) {
        const kerf_kwz_block *b = &record.block;
        uint8_t *block;

        if (record.kind != KERF_KWZ_BLOCK)
            continue;
        block = malloc(b->len + 1);
        if (block == NULL)
            abort();
        err = b->len > most - out->len ? KERF_ETOOBIG : KERF_OK;
        if (err == KERF_OK)
            err = kerf_block_decode(bc, block, b->len, b->kind, b->data,
                                    b->data_len, b->offset, kwz_recall, out);
        if (err == KERF_OK)
            err = kerf_kwz_checked(
                kr, b, kerf_kwz_check(block, b->len, b->offset), NULL);
        if (err == KERF_OK)
            kwz_add(out, block, b->len);
        free(block);
        if (err != KERF_OK)
            break;
    }
    if (err == KERF_EAGAIN)
        err = r.left == 0 && kerf_kwz_is_whole(kr) ? KERF_OK : KERF_ECORRUPT;
    kerf_kwz_reader_free(kr);
    return err;
}

#endif
