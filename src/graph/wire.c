#include "graph/wire.h"

#include <stdlib.h>
#include <string.h>

bool
kerf_wire_next(kerf_rd *r, kerf_wire_field *f)
{
    size_t left = r->left;
    uint64_t tag, len;

    if (left == 0 || r->bad)
        return false;
    *f = (kerf_wire_field){.whole = r->at};
    tag = kerf_wire_varint(r);
    f->number = (uint32_t)(tag >> 3);
    f->wire = (uint32_t)tag & 7;
    if (tag >> 32 != 0 || f->number == 0)
        r->bad = true;
    switch (f->wire) {
    case 0:
        f->value = kerf_wire_varint(r);
        break;
    case 1:
        f->value = kerf_rd_u64(r);
        break;
    case 2:
        len = kerf_wire_varint(r);
        if (len > r->left)
            r->bad = true;
        if (!r->bad) {
            f->len = (size_t)len;
            f->bytes = kerf_rd_bytes(r, f->len);
        }
        break;
    case 5:
        f->value = kerf_rd_u32(r);
        break;
    default: /* groups: never in these files */
        r->bad = true;
    }
    f->whole_len = left - r->left;
    return !r->bad;
}

kerf_rd
kerf_wire_inside(const kerf_wire_field *f)
{
    return (kerf_rd){.at = f->bytes, .left = f->len};
}

bool
kerf_wire_has(const void *data, size_t len, uint32_t number)
{
    kerf_rd r = {.at = data, .left = len};
    kerf_wire_field f;
    bool has = false;

    while (kerf_wire_next(&r, &f))
        has |= f.number == number && f.wire == 2;
    return has && !r.bad;
}

static void
put_two(kerf_rope *rope, uint64_t tag, uint64_t value)
{
    uint8_t bytes[2 * KERF_VARINT_MOST];
    kerf_wr w = {.at = bytes, .left = sizeof bytes};

    kerf_wr_varint(&w, tag);
    kerf_wr_varint(&w, value);
    kerf_rope_copy(rope, bytes, sizeof bytes - w.left);
}

void
kerf_wire_put_int(kerf_rope *rope, uint32_t number, uint64_t value)
{
    put_two(rope, (uint64_t)number << 3, value);
}

void
kerf_wire_put_float(kerf_rope *rope, uint32_t number, float value)
{
    uint8_t bytes[KERF_VARINT_MOST + sizeof value];
    kerf_wr w = {.at = bytes, .left = sizeof bytes};

    kerf_wr_varint(&w, (uint64_t)number << 3 | 5);
    kerf_wr_u32(&w, kerf_float_bits(value));
    kerf_rope_copy(rope, bytes, sizeof bytes - w.left);
}

void
kerf_wire_put_head(kerf_rope *rope, uint32_t number, size_t len)
{
    put_two(rope, (uint64_t)number << 3 | 2, len);
}

void
kerf_wire_put_text(kerf_rope *rope, uint32_t number, const char *text)
{
    kerf_wire_put_head(rope, number, strlen(text));
    kerf_rope_copy(rope, text, strlen(text));
}

void
kerf_wire_put_rope(kerf_rope *rope, uint32_t number, kerf_rope *message)
{
    kerf_wire_put_head(rope, number, message->len);
    kerf_rope_move(rope, message);
}

void
kerf_wire_put_message(kerf_rope *rope, uint32_t number,
                      const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1); /* an empty one is no failure */

    if (bytes == NULL) {
        rope->bad = true;
        return;
    }
    (void)protobuf_c_message_pack(message, bytes);
    kerf_wire_put_head(rope, number, len);
    kerf_rope_take(rope, bytes, len);
}
