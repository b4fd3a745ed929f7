#include "cloud/packed.h"

#include "codec/kwz.h"
#include "graph/weights.h"

#include <stdlib.h>
#include <string.h>

#define LEVEL 6          /* kerf pack's */
#define WORTH_PERCENT 98 /* of the file, at most */

_Static_assert(KERF_KWZ_VERSION == 3,
               "other blocks are another kerf_part_codec: docs/PROTOCOL.md");

void
kerf_packed_fini(kerf_packed *packed)
{
    for (size_t i = 0; i < packed->count; i++)
        free(packed->block[i].data);
    free(packed->block);
    *packed = (kerf_packed){.count = 0};
}

static bool
is_worth(uint64_t packed, uint64_t len)
{
    return packed < len / 100 * WORTH_PERCENT;
}

/* One block, by way of room, which holds the longest. */
static kerf_err
pack_block(kerf_packed_block *out, kerf_block_coder *bc, uint8_t *room,
           const kerf_plan *plan, size_t i, const uint8_t *data)
{
    const kerf_block *b = &plan->block[i];
    kerf_block_kind kind = KERF_BLOCK_STORED;
    size_t len = kerf_block_encode(bc, room, plan, i, data, LEVEL, &kind);

    *out = (kerf_packed_block){.offset = b->offset,
                               .len = (uint32_t)b->len,
                               .data_len = (uint32_t)b->len};
    if (kind == KERF_BLOCK_STORED || len >= b->len || len == 0)
        return KERF_OK;
    out->data = malloc(len);
    if (out->data == NULL)
        return KERF_ENOMEM;
    memcpy(out->data, room, len);
    out->data_len = (uint32_t)len;
    out->kind = (uint8_t)kind;
    return KERF_OK;
}

static kerf_err
pack_blocks(kerf_packed *out, const kerf_plan *plan, const uint8_t *data,
            uint64_t *bytes)
{
    kerf_block_coder *bc = NULL;
    uint8_t *room = NULL;
    kerf_err err = kerf_block_coder_new(&bc);

    room = malloc(kerf_block_room_most(plan) + 1);
    out->block = calloc(plan->block_count + 1, sizeof *out->block);
    if (room == NULL || out->block == NULL)
        err = KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < plan->block_count; i++) {
        err = pack_block(&out->block[i], bc, room, plan, i, data);
        out->count = i + 1;
        *bytes += out->block[i].data_len;
    }
    free(room);
    kerf_block_coder_free(bc);
    return err;
}

kerf_err
kerf_packed_make(kerf_packed *out, const uint8_t *data, size_t len)
{
    kerf_segment *segment = NULL;
    size_t count = 0;
    kerf_plan plan = {.block_count = 0};
    uint64_t bytes = 0;
    kerf_err err = kerf_weights_find(data, len, &segment, &count);

    *out = (kerf_packed){.count = 0};
    if (err == KERF_OK)
        err = kerf_plan_make(&plan, data, len, segment, count);
    if (err == KERF_OK)
        err = pack_blocks(out, &plan, data, &bytes);
    if (err != KERF_OK || !is_worth(bytes, len))
        kerf_packed_fini(out);
    kerf_plan_fini(&plan);
    free(segment);
    return err;
}

const kerf_packed_block *
kerf_packed_at(const kerf_packed *packed, uint64_t at)
{
    size_t low = 0;
    size_t high = packed->count;

    while (low < high) { /* the first that ends behind it */
        size_t middle = low + (high - low) / 2;
        const kerf_packed_block *b = &packed->block[middle];

        if (b->offset + b->len > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low < packed->count ? &packed->block[low] : NULL;
}
