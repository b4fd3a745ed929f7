#include "codec/lz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* The head that decoding puts before the blocks: the magic number, "one
 * segment, the length in 4 bytes", the length. */
#define HEAD_LEN 9

/* Made when it is needed: one way only, mostly, and of many files neither. */
struct kerf_lz {
    ZSTD_CCtx *zip;
    ZSTD_DCtx *unzip;
    uint8_t *frame; /* decoding: with its head */
    size_t room;
};

void
kerf_lz_free(kerf_lz *lz)
{
    if (lz == NULL)
        return;
    (void)ZSTD_freeCCtx(lz->zip);
    (void)ZSTD_freeDCtx(lz->unzip);
    free(lz->frame);
    free(lz);
}

kerf_err
kerf_lz_new(kerf_lz **out)
{
    kerf_lz *lz = calloc(1, sizeof *lz);

    if (lz == NULL)
        return KERF_ENOMEM;
    *out = lz;
    return KERF_OK;
}

/* Of a frame that zstd made: RFC 8878, 3.1.1.1. */
static size_t
head_len(const uint8_t *frame)
{
    static const size_t length_lens[4] = {0, 2, 4, 8};
    uint8_t descriptor = frame[4];
    bool one_segment = (descriptor & 0x20) != 0;
    size_t length_len = length_lens[descriptor >> 6];

    if (one_segment && length_len == 0)
        length_len = 1;
    return length_len + (one_segment ? 5 : 6); /* else a byte for the window */
}

size_t
kerf_zstd_encode(kerf_lz *lz, uint8_t *out, size_t room, const uint8_t *in,
                 size_t len, int level)
{
    size_t head;
    size_t n;

    if (lz->zip == NULL)
        lz->zip = ZSTD_createCCtx();
    if (lz->zip == NULL)
        return 0;
    (void)ZSTD_CCtx_setParameter(lz->zip, ZSTD_c_compressionLevel, level);
    n = ZSTD_compress2(lz->zip, out, room, in, len);
    if (ZSTD_isError(n) || n < 5 || n < head_len(out))
        return 0;
    head = head_len(out);
    memmove(out, out + head, n - head);
    return n - head;
}

kerf_err
kerf_zstd_decode(kerf_lz *lz, uint8_t *out, size_t len, const uint8_t *in,
                 size_t in_len)
{
    const uint8_t head[HEAD_LEN] = {0x28,
                                    0xB5,
                                    0x2F,
                                    0xFD,
                                    0xA0,
                                    (uint8_t)len,
                                    (uint8_t)(len >> 8),
                                    (uint8_t)(len >> 16),
                                    (uint8_t)(len >> 24)};

    if (len > UINT32_MAX || in_len > UINT32_MAX)
        return KERF_ECORRUPT;
    if (lz->unzip == NULL)
        lz->unzip = ZSTD_createDCtx();
    if (lz->unzip == NULL)
        return KERF_ENOMEM;
    if (lz->room < HEAD_LEN + in_len) {
        uint8_t *grown = realloc(lz->frame, HEAD_LEN + in_len);

        if (grown == NULL)
            return KERF_ENOMEM;
        lz->frame = grown;
        lz->room = HEAD_LEN + in_len;
    }
    memcpy(lz->frame, head, HEAD_LEN);
    memcpy(lz->frame + HEAD_LEN, in, in_len);
    in_len += HEAD_LEN;
    /* One frame: zstd would take others behind it. */
    if (ZSTD_findFrameCompressedSize(lz->frame, in_len) != in_len ||
        ZSTD_decompressDCtx(lz->unzip, out, len, lz->frame, in_len) != len)
        return KERF_ECORRUPT;
    return KERF_OK;
}

size_t
kerf_deflate_encode(uint8_t *out, size_t room, const uint8_t *in, size_t len)
{
    const int bits = -15; /* no head, no check */
    z_stream z = {.next_out = out, .avail_out = (uInt)room};
    size_t n = 0;

    if (len > UINT32_MAX || room > UINT32_MAX ||
        deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    z.next_in = (z_const Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    if (deflate(&z, Z_FINISH) == Z_STREAM_END)
        n = room - z.avail_out;
    (void)deflateEnd(&z);
    return n;
}

kerf_err
kerf_deflate_decode(uint8_t *out, size_t len, const uint8_t *in, size_t in_len)
{
    const int bits = -15;
    z_stream z = {.next_out = out, .avail_out = (uInt)len};
    bool ok;

    if (len > UINT32_MAX || in_len > UINT32_MAX)
        return KERF_ECORRUPT;
    if (inflateInit2(&z, bits) != Z_OK)
        return KERF_ENOMEM;
    z.next_in = (z_const Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)in_len;
    ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 &&
         z.avail_out == 0;
    (void)inflateEnd(&z);
    return ok ? KERF_OK : KERF_ECORRUPT;
}
