#include "graph/wire.h"

uint64_t
kerf_wire_varint(kerf_rd *r)
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

bool
kerf_wire_next(kerf_rd *r, kerf_wire_field *f)
{
    uint64_t tag, len;

    if (r->left == 0 || r->bad)
        return false;
    *f = (kerf_wire_field){0};
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
