/*
 * One tensor is one blob (docs/PROTOCOL.md, "Tensor blobs"):
 *
 *     codec content packing 0 | check | count | content ...
 *
 * content is one value, exact floats (exact.h), a split of halves, or steps;
 * the last two end in small numbers, packed to be fast or to be small.
 */
#include "codec/codec_own.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "codec/exact.h"
#include "codec/thin.h"

#include <stdlib.h>

kerf_err
kerf_codec_new(kerf_codec **out)
{
    kerf_codec *c = calloc(1, sizeof *c);
    kerf_err err = c == NULL ? KERF_ENOMEM : kerf_ans_new(&c->ans);

    if (err != KERF_OK) {
        free(c);
        return err;
    }
    *out = c;
    return KERF_OK;
}

void
kerf_codec_free(kerf_codec *codec)
{
    if (codec == NULL)
        return;
    kerf_ans_free(codec->ans);
    free(codec->number);
    free(codec->span);
    free(codec->low);
    free(codec->step);
    free(codec->errors);
    free(codec);
}

kerf_err
kerf_codec_room(kerf_codec *c, size_t count)
{
    size_t thin = count + kerf_thin_scratch(count);
    size_t ans = count + kerf_ans_scratch(count);
    size_t bytes = kerf_exact_scratch(count);
    uint8_t *bigger;

    bytes = thin > bytes ? thin : bytes;
    bytes = ans > bytes ? ans : bytes;

    if (bytes <= c->room)
        return KERF_OK;
    bigger = malloc(bytes);
    if (bigger == NULL)
        return KERF_ENOMEM;
    free(c->number);
    c->number = bigger;
    c->room = bytes;
    return KERF_OK;
}

uint32_t
kerf_codec_check(const uint8_t *blob, size_t len)
{
    uint64_t seed = kerf_xxh3(blob, CHECK_AT);

    return (uint32_t)kerf_xxh3_seed(blob + CHECK_AT + 4, len - CHECK_AT - 4,
                                    seed);
}

bool
kerf_codec_is_channelwise(kerf_codec_id id)
{
    return id >= KERF_CODEC_Q8C && id <= KERF_CODEC_Q2S;
}

unsigned
kerf_codec_bits(kerf_codec_id id)
{
    if (kerf_codec_is_channelwise(id))
        return 8u - (unsigned)(id - KERF_CODEC_Q8C) % 7;
    if (id >= KERF_CODEC_Q8 && id <= KERF_CODEC_Q2)
        return 8u - (unsigned)(id - KERF_CODEC_Q8);
    return 0;
}

size_t
kerf_codec_groups(kerf_codec_id id, const kerf_shape *shape)
{
    if (!kerf_codec_is_channelwise(id) || shape->rank < 2)
        return 1;
    return (size_t)shape->dims[0] * (size_t)shape->dims[1];
}

/* All that is left. NULL: damaged. */
static const uint8_t *
unpack(kerf_codec *c, uint8_t packing, kerf_rd *r, size_t count)
{
    switch (packing) {
    case PACKING_STORED:
        return r->left == count ? r->at : NULL;
    case PACKING_THIN:
        return kerf_thin_get(r, c->number, count, c->number + count) ? c->number
                                                                     : NULL;
    case PACKING_ANS:
        return kerf_ans_decode(c->ans, r->at, r->left, c->number, count)
                   ? c->number
                   : NULL;
    default:
        return NULL;
    }
}

static bool
get_split(kerf_codec *c, kerf_rd *r, kerf_split_form form, uint8_t packing,
          kerf_tensor *t, size_t count)
{
    uint32_t top = kerf_rd_u32(r);
    size_t rest_len = kerf_rd_u32(r);
    const uint8_t *rest = kerf_rd_bytes(r, rest_len);
    const uint8_t *number;

    if (kerf_rd_bytes(r, REST_PAD) == NULL || top > 255)
        return false;
    number = unpack(c, packing, r, count);
    return number != NULL && kerf_split_join(form, (uint8_t)top, number, count,
                                             rest, rest_len, t->data);
}

static bool
get_steps(kerf_codec *c, kerf_rd *r, kerf_codec_id id, uint8_t packing,
          kerf_tensor *t, size_t count)
{
    size_t groups = kerf_codec_groups(id, &t->shape);
    size_t each = groups == 0 ? 0 : count / groups;
    kerf_rd table;
    const uint8_t *number;
    float *x = t->data;

    table = (kerf_rd){.at = r->at, .left = r->left};
    (void)kerf_rd_bytes(r, groups == 1 ? 8 : 6 * groups);
    if (r->bad)
        return false;
    number = unpack(c, packing, r, count);
    if (number == NULL)
        return false;
    for (size_t g = 0; g < groups; g++) {
        float low = kerf_float_of(kerf_rd_u32(&table));
        float step =
            kerf_float_of(groups == 1 ? kerf_rd_u32(&table)
                                      : (uint32_t)kerf_rd_u16(&table) << 16);

        kerf_steps_to(x + g * each, number + g * each, each, low, step);
    }
    return true;
}

static bool
get_scales(kerf_codec *c, kerf_rd *r, kerf_codec_id id, uint8_t packing,
           kerf_tensor *t, size_t count)
{
    uint8_t most = kerf_rd_u8(r);
    uint8_t zero = kerf_rd_u8(r);
    uint16_t reserved = kerf_rd_u16(r);
    size_t groups = kerf_rd_u32(r);
    size_t each = groups == 0 ? 0 : count / groups;
    kerf_rd table;
    const uint8_t *number;
    float *x = t->data;

    if (reserved != 0 || zero > most ||
        groups != kerf_codec_groups(id, &t->shape))
        return false;
    table = (kerf_rd){.at = r->at, .left = r->left};
    (void)kerf_rd_bytes(r, 2 * groups);
    if (r->bad)
        return false;
    number = unpack(c, packing, r, count);
    if (number == NULL)
        return false;
    for (size_t g = 0; g < groups; g++) {
        float step = kerf_float_of((uint32_t)kerf_rd_u16(&table) << 16);

        kerf_steps_to(x + g * each, number + g * each, each,
                      -(float)zero * step, step);
    }
    return true;
}

static bool
get_one(kerf_rd *r, kerf_tensor *t, size_t count)
{
    float one = kerf_float_of(kerf_rd_u32(r));
    float *x = t->data;

    if (r->bad || r->left != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        x[i] = one;
    return true;
}

kerf_err
kerf_codec_decode(kerf_codec *codec, kerf_codec_id id, const uint8_t *data,
                  size_t len, kerf_tensor *t, kerf_detail *why)
{
    kerf_rd r = {.at = data, .left = len};
    size_t count = t->bytes / sizeof(float);
    uint8_t said = kerf_rd_u8(&r);
    uint8_t content = kerf_rd_u8(&r);
    uint8_t packing = kerf_rd_u8(&r);
    uint8_t zero = kerf_rd_u8(&r);
    uint32_t check = kerf_rd_u32(&r);
    uint32_t said_count = kerf_rd_u32(&r);
    bool right = false;
    kerf_err err;

    if (t->dtype != KERF_F32 || id <= KERF_CODEC_RAW || id >= KERF_CODEC_COUNT)
        return kerf_fail(why, KERF_ENOTSUP, "no codec for this tensor");
    if (r.bad || zero != 0 || check != kerf_codec_check(data, len))
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor blob damaged (its check differs)");
    if (said != id || said_count != count) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor blob of codec %s with %lu elements, expected "
                         "%s with %zu",
                         kerf_codec_name(said), (unsigned long)said_count,
                         kerf_codec_name((uint8_t)id), count);
    }
    err = kerf_codec_room(codec, count);
    if (err != KERF_OK)
        return err;
    if (content == CONTENT_ONE)
        right = get_one(&r, t, count);
    else if (content == CONTENT_STEPS && kerf_codec_bits(id) != 0)
        right = get_steps(codec, &r, id, packing, t, count);
    else if (content == CONTENT_SCALES && kerf_codec_is_channelwise(id))
        right = get_scales(codec, &r, id, packing, t, count);
    else if (content == CONTENT_EXACT && packing == 0 && count > 0)
        right = kerf_exact_get(&r, t->data, count, codec->number);
    else if (content == CONTENT_F16 || content == CONTENT_BF16)
        right = get_split(codec, &r, (kerf_split_form)(content - CONTENT_F16),
                          packing, t, count);
    return right ? KERF_OK
                 : kerf_fail(why, KERF_ECORRUPT,
                             "tensor blob of codec %s is malformed",
                             kerf_codec_name((uint8_t)id));
}

size_t
kerf_codec_grain(kerf_codec_id id, const kerf_shape *shape)
{
    size_t grain = 1;

    for (uint32_t i = 2; kerf_codec_is_channelwise(id) && i < shape->rank; i++)
        grain *= (size_t)shape->dims[i];
    return grain;
}

kerf_tensor
kerf_codec_block(kerf_codec_id id, const kerf_tensor *t, size_t first,
                 size_t count)
{
    kerf_tensor block = {.dtype = KERF_F32,
                         .shape = {.rank = 1, .dims = {(int64_t)count}},
                         .data = (float *)t->data + first,
                         .bytes = count * sizeof(float)};

    if (kerf_codec_is_channelwise(id) && t->shape.rank >= 2) {
        block.shape = t->shape;
        block.shape.dims[0] = 1;
        block.shape.dims[1] =
            (int64_t)(count / kerf_codec_grain(id, &t->shape));
    }
    return block;
}
