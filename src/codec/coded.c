#include "codec/coded.h"

#include "codec/huf.h"

#define LEN_LESS 2 /* no block is shorter */

/* One block by way of spare. */
static void
put_by(kerf_wr *w, const uint8_t *v, size_t n, uint8_t *spare)
{
    size_t len;

    if (spare == NULL) {
        w->bad = true;
        return;
    }
    len = kerf_huf_encode(spare, v, n);
    kerf_wr_u16(w, (uint16_t)(len - LEN_LESS));
    kerf_wr_bytes(w, spare, len);
}

void
kerf_coded_put(kerf_wr *w, const uint8_t *v, size_t n, uint8_t *spare)
{
    for (size_t at = 0; at < n; at += KERF_HUF_MOST) {
        size_t part = n - at < KERF_HUF_MOST ? n - at : KERF_HUF_MOST;
        size_t len;

        if (w->left < KERF_HUF_ROOM(part) + 2) {
            put_by(w, v + at, part, spare);
            continue;
        }
        len = kerf_huf_encode(w->at + 2, v + at, part);
        kerf_wr_u16(w, (uint16_t)(len - LEN_LESS));
        w->at += len;
        w->left -= len;
    }
}

const uint8_t *
kerf_coded_get(kerf_rd *r, uint8_t *out, size_t n)
{
    const uint8_t *got = out;

    for (size_t at = 0; at < n; at += KERF_HUF_MOST) {
        size_t part = n - at < KERF_HUF_MOST ? n - at : KERF_HUF_MOST;
        size_t len = (size_t)kerf_rd_u16(r) + LEN_LESS;
        const uint8_t *block = kerf_rd_bytes(r, len);

        if (block == NULL)
            return NULL;
        got = kerf_huf_decode(out + at, part, block, len);
        if (got == NULL)
            return NULL;
        if (part == n)
            return got;
        if (got != out + at)
            memcpy(out + at, got, part);
    }
    return out;
}
