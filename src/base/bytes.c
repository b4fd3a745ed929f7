#include "base/bytes.h"

#include <string.h>

const uint8_t *
kerf_rd_bytes(kerf_rd *r, size_t len)
{
    const uint8_t *at = r->at;

    if (r->bad || r->left < len) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    r->left -= len;
    return at;
}

static uint64_t
read_le(kerf_rd *r, size_t len)
{
    const uint8_t *at = kerf_rd_bytes(r, len);
    uint64_t v = 0;

    if (at == NULL)
        return 0;
    for (size_t i = len; i-- > 0;)
        v = v << 8 | at[i];
    return v;
}

uint8_t
kerf_rd_u8(kerf_rd *r)
{
    return (uint8_t)read_le(r, 1);
}

uint16_t
kerf_rd_u16(kerf_rd *r)
{
    return (uint16_t)read_le(r, 2);
}

uint32_t
kerf_rd_u32(kerf_rd *r)
{
    return (uint32_t)read_le(r, 4);
}

uint64_t
kerf_rd_u64(kerf_rd *r)
{
    return read_le(r, 8);
}

void
kerf_rd_str(kerf_rd *r, char *out, size_t cap)
{
    size_t len = kerf_rd_u16(r);
    const uint8_t *at = kerf_rd_bytes(r, len);

    out[0] = '\0';
    if (at == NULL)
        return;
    if (len >= cap || memchr(at, 0, len) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(out, at, len);
    out[len] = '\0';
}

static uint8_t *
take_room(kerf_wr *w, size_t len)
{
    uint8_t *at = w->at;

    if (w->bad || w->left < len) {
        w->bad = true;
        return NULL;
    }
    w->at += len;
    w->left -= len;
    return at;
}

static void
write_le(kerf_wr *w, uint64_t v, size_t len)
{
    uint8_t *at = take_room(w, len);

    for (size_t i = 0; at != NULL && i < len; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

void
kerf_wr_u8(kerf_wr *w, uint8_t v)
{
    write_le(w, v, 1);
}

void
kerf_wr_u16(kerf_wr *w, uint16_t v)
{
    write_le(w, v, 2);
}

void
kerf_wr_u32(kerf_wr *w, uint32_t v)
{
    write_le(w, v, 4);
}

void
kerf_wr_u64(kerf_wr *w, uint64_t v)
{
    write_le(w, v, 8);
}

void
kerf_wr_bytes(kerf_wr *w, const void *data, size_t len)
{
    uint8_t *at = take_room(w, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

void
kerf_wr_zero(kerf_wr *w, size_t len)
{
    uint8_t *at = take_room(w, len);

    if (at != NULL && len > 0)
        memset(at, 0, len);
}

void
kerf_wr_str(kerf_wr *w, const char *text)
{
    size_t len = strlen(text);

    if (len > UINT16_MAX) {
        w->bad = true;
        return;
    }
    kerf_wr_u16(w, (uint16_t)len);
    kerf_wr_bytes(w, text, len);
}

uint64_t
kerf_rd_varint(kerf_rd *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = kerf_rd_u8(r);

        if (shift < 64)
            v |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return v;
    }
    r->bad = true;
    return 0;
}

void
kerf_wr_varint(kerf_wr *w, uint64_t v)
{
    for (; v > 0x7F; v >>= 7)
        kerf_wr_u8(w, (uint8_t)(v | 0x80));
    kerf_wr_u8(w, (uint8_t)v);
}

bool
kerf_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool
kerf_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

size_t
kerf_align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}
