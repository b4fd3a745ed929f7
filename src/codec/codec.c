/*
 * One tensor is one blob (docs/PROTOCOL.md, "Tensor blobs"):
 *
 *     codec content packing 0 | check | count | content ...
 *
 * content is one value, a split of floats, or steps; the last two end in the
 * small numbers, packed in the way that suits how many there are.
 */
#include "kerf/codec.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "codec/ans.h"
#include "codec/huf.h"
#include "codec/scales.h"
#include "codec/split.h"
#include "codec/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 12    /* bytes before the content */
#define CHECK_AT 4 /* the check's own four bytes */
#define REST_PAD 4 /* bytes that kerf_split_join() may read */
#define HUF_UP_TO \
    8192 /* values: below, ans's tables cost more than they save */

/* From here on rounding gives infinity. */
#define F16_LIMIT 65520.0
#define BF16_LIMIT 0x1.ffp127

enum content {
    CONTENT_ONE = 0, /* every element is this one, or there is none */
    CONTENT_F32 = 1, /* kerf_split_form, and 1 */
    CONTENT_F16 = 2,
    CONTENT_BF16 = 3,
    CONTENT_STEPS = 4,
    CONTENT_SCALES = 5,
};

enum packing {
    PACKING_STORED = 0, /* a byte each */
    PACKING_HUF = 1,
    PACKING_ANS = 2,
};

struct kerf_codec {
    kerf_ans *ans;
    uint8_t *number; /* room for one per element, and for what ans takes */
    size_t room;     /* bytes */
    kerf_span *span; /* of each group, and their steps */
    float *step;
    size_t group_room;
};

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
    free(codec->step);
    free(codec);
}

static kerf_err
make_room(kerf_codec *c, size_t bytes)
{
    uint8_t *bigger;

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

static kerf_err
make_group_room(kerf_codec *c, size_t groups)
{
    if (groups <= c->group_room)
        return KERF_OK;
    c->group_room = 0;
    free(c->span);
    free(c->step);
    c->span = calloc(groups, sizeof *c->span);
    c->step = calloc(groups, sizeof *c->step);
    if (c->span == NULL || c->step == NULL)
        return KERF_ENOMEM;
    c->group_room = groups;
    return KERF_OK;
}

static uint32_t
check_of(const uint8_t *blob, size_t len)
{
    uint64_t seed = kerf_xxh3(blob, CHECK_AT);

    return (uint32_t)kerf_xxh3_seed(blob + CHECK_AT + 4, len - CHECK_AT - 4,
                                    seed);
}

static bool
is_channelwise(kerf_codec_id id)
{
    return id >= KERF_CODEC_Q8C && id <= KERF_CODEC_Q2C;
}

/* Bits of a step codec; 0: it is none. */
static unsigned
bits_of(kerf_codec_id id)
{
    if (is_channelwise(id))
        return 8u - (unsigned)(id - KERF_CODEC_Q8C);
    if (id >= KERF_CODEC_Q8 && id <= KERF_CODEC_Q2)
        return 8u - (unsigned)(id - KERF_CODEC_Q8);
    return 0;
}

/* Groups of equal steps: the channels of [N, C, ...], N times; or all. */
static size_t
groups_of(kerf_codec_id id, const kerf_shape *shape)
{
    if (!is_channelwise(id) || shape->rank < 2)
        return 1;
    return (size_t)shape->dims[0] * (size_t)shape->dims[1];
}

/* The last dim: activations are alike along it, and along the one before. Only
 * for the codecs that are made to be small, as it takes time. */
static uint32_t
width_of(kerf_codec_id id, const kerf_shape *shape)
{
    int64_t last = shape->rank < 2 ? 0 : shape->dims[shape->rank - 1];

    return !is_channelwise(id) || last > UINT32_MAX ? 0 : (uint32_t)last;
}

/* The numbers to the end of the blob; the packing to its head. What they need
 * as scratch comes after them. */
static void
pack(kerf_codec *c, kerf_wr *w, uint8_t *head, const kerf_ans_shape *shape,
     size_t count)
{
    uint8_t *scratch = c->number + count;
    size_t len = 0;

    if (count <= HUF_UP_TO) {
        len = kerf_huf_encode(scratch, c->number, count);
        head[2] = PACKING_HUF;
        kerf_wr_bytes(w, scratch, len);
        return;
    }
    len = kerf_ans_encode(c->ans, shape, c->number, count, scratch, w->at,
                          w->left < count ? w->left : count);
    if (len > 0) {
        head[2] = PACKING_ANS;
        w->at += len;
        w->left -= len;
        return;
    }
    head[2] = PACKING_STORED;
    kerf_wr_bytes(w, c->number, count);
}

/* NULL: damaged. */
static const uint8_t *
unpack(kerf_codec *c, uint8_t packing, const uint8_t *in, size_t len,
       size_t count)
{
    switch (packing) {
    case PACKING_STORED:
        return len == count ? in : NULL;
    case PACKING_HUF:
        return kerf_huf_decode(c->number, count, in, len);
    case PACKING_ANS:
        return kerf_ans_decode(c->ans, in, len, c->number, count) ? c->number
                                                                  : NULL;
    default:
        return NULL;
    }
}

/* False: it does not fit the form. */
static bool
put_split(kerf_codec *c, kerf_wr *w, uint8_t *head, kerf_split_form form,
          const kerf_tensor *t, size_t count)
{
    kerf_ans_shape shape = {.kind = form == KERF_SPLIT_F16 ? KERF_ANS_EIGHTS
                                                           : KERF_ANS_LOG};
    uint8_t *rest = w->at + 8; /* after top and its length */
    uint8_t top = 0;
    size_t rest_len = 0;

    if (w->left < 8 + REST_PAD ||
        w->left - 8 - REST_PAD < (count + 1) * kerf_split_width(form) ||
        !kerf_split(form, t->data, count, c->number, rest, &top, &shape.max,
                    &rest_len))
        return false;
    head[1] = (uint8_t)(CONTENT_F32 + form);
    kerf_wr_u32(w, top);
    kerf_wr_u32(w, (uint32_t)rest_len);
    w->at += rest_len;
    w->left -= rest_len;
    kerf_wr_zero(w, REST_PAD);
    pack(c, w, head, &shape, count);
    return true;
}

/* Where the steps of one group begin and how long they are. False: they have no
 * such steps. */
static bool
choose_steps(const kerf_span *s, unsigned most, float *low, float *step)
{
    double range = (double)kerf_span_float(s->greatest) -
                   (double)kerf_span_float(s->least);

    if (!kerf_span_is_finite(s))
        return false;
    *low = kerf_span_float(s->least);
    *step = 0;
    if (range == 0)
        return true;
    *step = (float)(range / most);
    return range >= KERF_RANGE_LEAST && range <= KERF_RANGE_MOST;
}

/* Steps of the channels around one zero. False: they have none. */
static bool
put_scales(kerf_codec *c, kerf_wr *w, uint8_t *head, kerf_codec_id id,
           const kerf_tensor *t, size_t count)
{
    size_t groups = groups_of(id, &t->shape);
    size_t each = count / groups;
    const float *x = t->data;
    kerf_scales s = {0};
    kerf_ans_shape shape = {.kind = KERF_ANS_LOG,
                            .width = width_of(id, &t->shape)};

    for (size_t g = 0; g < groups; g++)
        c->span[g] = kerf_span_of(x + g * each, each);
    if (!kerf_scales_choose(&s, c->step, c->span, groups, bits_of(id)))
        return false;
    shape.max = s.most;
    shape.zero = s.zero;
    head[1] = CONTENT_SCALES;
    kerf_wr_u8(w, s.most);
    kerf_wr_u8(w, s.zero);
    kerf_wr_u16(w, 0);
    kerf_wr_u32(w, (uint32_t)groups);
    for (size_t g = 0; g < groups; g++) {
        uint8_t *number = c->number + g * each;
        float step = c->step[g];

        kerf_wr_u16(w, (uint16_t)(kerf_float_bits(step) >> 16));
        if (step > 0)
            kerf_steps_from(number, x + g * each, each, -(float)s.zero * step,
                            step, s.most);
        else
            memset(number, s.zero, each);
    }
    if (!w->bad)
        pack(c, w, head, &shape, count);
    return true;
}

/* False: the values have no steps. */
static bool
put_steps(kerf_codec *c, kerf_wr *w, uint8_t *head, kerf_codec_id id,
          const kerf_tensor *t, size_t count, const kerf_span *all)
{
    size_t groups = groups_of(id, &t->shape);
    size_t each = count / groups;
    const float *x = t->data;
    kerf_ans_shape shape = {.kind = KERF_ANS_LOG,
                            .max = (uint8_t)((1u << bits_of(id)) - 1),
                            .width = width_of(id, &t->shape)};
    float low;
    float step;

    if (!choose_steps(all, shape.max, &low, &step))
        return false;
    if (low < 0)
        shape.zero = (uint8_t)fmin(round(-(double)low / (double)step),
                                   (double)shape.max);
    head[1] = CONTENT_STEPS;
    kerf_wr_u32(w, shape.max);
    kerf_wr_u32(w, (uint32_t)groups);
    if (groups == 1) {
        kerf_wr_u32(w, kerf_float_bits(low));
        kerf_wr_u32(w, kerf_float_bits(step));
        kerf_steps_from(c->number, x, count, low, step, shape.max);
    }
    for (size_t g = 0; groups > 1 && g < groups; g++) {
        kerf_span span = kerf_span_of(x + g * each, each);

        if (!choose_steps(&span, shape.max, &low, &step))
            return false;
        step = kerf_step_short(step);
        kerf_wr_u32(w, kerf_float_bits(low));
        kerf_wr_u16(w, (uint16_t)(kerf_float_bits(step) >> 16));
        kerf_steps_from(c->number + g * each, x + g * each, each, low, step,
                        shape.max);
    }
    if (!w->bad)
        pack(c, w, head, &shape, count);
    return true;
}

static bool
put_content(kerf_codec *c, kerf_wr *w, uint8_t *head, kerf_codec_id id,
            const kerf_tensor *t, size_t count)
{
    kerf_span span = {0, 0};
    double most;

    if (count > 0)
        span = kerf_span_of(t->data, count);
    if (span.least == span.greatest) {
        head[1] = CONTENT_ONE;
        kerf_wr_u32(w, kerf_float_bits(kerf_span_float(span.least)));
        return true;
    }
    /* What would become infinite, or has no steps, is kept whole. */
    most = kerf_span_is_finite(&span)
               ? fmax(-(double)kerf_span_float(span.least),
                      (double)kerf_span_float(span.greatest))
               : INFINITY;
    if (id == KERF_CODEC_F16 && most < F16_LIMIT)
        return put_split(c, w, head, KERF_SPLIT_F16, t, count);
    if (id == KERF_CODEC_BF16 && most < BF16_LIMIT)
        return put_split(c, w, head, KERF_SPLIT_BF16, t, count);
    if (bits_of(id) != 0) {
        kerf_wr start = *w;

        if (kerf_span_is_finite(&span) && groups_of(id, &t->shape) > 1 &&
            put_scales(c, w, head, id, t, count))
            return true;
        if (put_steps(c, w, head, id, t, count, &span))
            return true;
        *w = start;
    }
    return put_split(c, w, head, KERF_SPLIT_F32, t, count);
}

kerf_err
kerf_codec_encode(kerf_codec *codec, kerf_codec_id id, const kerf_tensor *t,
                  uint8_t *out, size_t cap, size_t *len)
{
    kerf_wr w = {.at = out, .left = cap};
    size_t count = t->bytes / sizeof(float);
    kerf_err err;

    if (t->dtype != KERF_F32 || id <= KERF_CODEC_RAW || id >= KERF_CODEC_COUNT)
        return KERF_ENOTSUP;
    if (cap < HEAD)
        return KERF_ETOOBIG;
    err = make_room(codec, count + kerf_ans_scratch(count) + HUF_UP_TO);
    if (err == KERF_OK && count > 0)
        err = make_group_room(codec, groups_of(id, &t->shape));
    if (err != KERF_OK)
        return err;
    kerf_wr_u8(&w, (uint8_t)id);
    kerf_wr_zero(&w, 7); /* content, packing and check are put in later */
    kerf_wr_u32(&w, (uint32_t)count);
    if (!put_content(codec, &w, out, id, t, count) || w.bad)
        return KERF_ETOOBIG;
    *len = cap - w.left;
    w = (kerf_wr){.at = out + CHECK_AT, .left = 4};
    kerf_wr_u32(&w, check_of(out, *len));
    return KERF_OK;
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
    number = unpack(c, packing, r->at, r->left, count);
    return number != NULL && kerf_split_join(form, (uint8_t)top, number, count,
                                             rest, rest_len, t->data);
}

static bool
get_steps(kerf_codec *c, kerf_rd *r, kerf_codec_id id, uint8_t packing,
          kerf_tensor *t, size_t count)
{
    unsigned most = kerf_rd_u32(r);
    size_t groups = kerf_rd_u32(r);
    size_t each = groups == 0 ? 0 : count / groups;
    kerf_rd table;
    const uint8_t *number;
    float *x = t->data;

    if (most != (1u << bits_of(id)) - 1 || groups != groups_of(id, &t->shape))
        return false;
    table = (kerf_rd){.at = r->at, .left = r->left};
    (void)kerf_rd_bytes(r, groups == 1 ? 8 : 6 * groups);
    if (r->bad)
        return false;
    number = unpack(c, packing, r->at, r->left, count);
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

    if (reserved != 0 || zero > most || groups != groups_of(id, &t->shape))
        return false;
    table = (kerf_rd){.at = r->at, .left = r->left};
    (void)kerf_rd_bytes(r, 2 * groups);
    if (r->bad)
        return false;
    number = unpack(c, packing, r->at, r->left, count);
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
    if (r.bad || zero != 0 || check != check_of(data, len))
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor blob damaged (its check differs)");
    if (said != id || said_count != count) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "tensor blob of codec %s with %lu elements, expected "
                         "%s with %zu",
                         kerf_codec_name(said), (unsigned long)said_count,
                         kerf_codec_name((uint8_t)id), count);
    }
    err = make_room(codec, count + kerf_ans_scratch(count) + HUF_UP_TO);
    if (err != KERF_OK)
        return err;
    if (content == CONTENT_ONE)
        right = get_one(&r, t, count);
    else if (content == CONTENT_STEPS && bits_of(id) != 0)
        right = get_steps(codec, &r, id, packing, t, count);
    else if (content == CONTENT_SCALES && is_channelwise(id))
        right = get_scales(codec, &r, id, packing, t, count);
    else if (content >= CONTENT_F32 && content <= CONTENT_BF16)
        right = get_split(codec, &r, (kerf_split_form)(content - CONTENT_F32),
                          packing, t, count);
    return right ? KERF_OK
                 : kerf_fail(why, KERF_ECORRUPT,
                             "tensor blob of codec %s is malformed",
                             kerf_codec_name((uint8_t)id));
}
