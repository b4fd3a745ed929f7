/*
 * bytes.h - little-endian reading and writing, byte by byte.
 *
 * Both are sticky: after the first read past the end, or write past the room,
 * `bad` is set, reads give 0 and writes do nothing. Check `bad` once, at the
 * end.
 * Threads: a cursor belongs to one thread.
 */
#ifndef KERF_BASE_BYTES_H
#define KERF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct kerf_rd {
    const uint8_t *at;
    size_t left; /* bytes */
    bool bad;
} kerf_rd;

typedef struct kerf_wr {
    uint8_t *at;
    size_t left; /* bytes of room */
    bool bad;
} kerf_wr;

uint8_t kerf_rd_u8(kerf_rd *r);
uint16_t kerf_rd_u16(kerf_rd *r);
uint32_t kerf_rd_u32(kerf_rd *r);
uint64_t kerf_rd_u64(kerf_rd *r);
/* A view of the next len bytes, or NULL (and bad) when there are fewer. */
const uint8_t *kerf_rd_bytes(kerf_rd *r, size_t len);
/* A u16 length and that many bytes, copied and 0-terminated into out[cap].
 * Bad when it does not fit or holds a 0 byte. */
void kerf_rd_str(kerf_rd *r, char *out, size_t cap);

void kerf_wr_u8(kerf_wr *w, uint8_t v);
void kerf_wr_u16(kerf_wr *w, uint16_t v);
void kerf_wr_u32(kerf_wr *w, uint32_t v);
void kerf_wr_u64(kerf_wr *w, uint64_t v);
void kerf_wr_bytes(kerf_wr *w, const void *data, size_t len);
void kerf_wr_zero(kerf_wr *w, size_t len);
void kerf_wr_str(kerf_wr *w, const char *text); /* u16 length, then bytes */

/* Numbers of 7 bits a byte, the lowest first, as protobuf has them. */
#define KERF_VARINT_MOST 10          /* bytes */
uint64_t kerf_rd_varint(kerf_rd *r); /* bad when longer than that */
void kerf_wr_varint(kerf_wr *w, uint64_t v);

/* A float as the 32 bits that it is made of, and back. */
static inline uint32_t
kerf_float_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float
kerf_float_of(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* a * b, or false when it does not fit into a size_t. */
bool kerf_size_mul(size_t a, size_t b, size_t *out);
bool kerf_size_add(size_t a, size_t b, size_t *out);

/* n rounded up to a multiple of align (a power of two). n must leave room. */
size_t kerf_align_up(size_t n, size_t align);

#endif
