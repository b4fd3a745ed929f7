/*
 * Encoding: how a tensor is coded is chosen for all of it; then its blocks, or
 * all as one, are put down.
 */
#include "codec/codec_own.h"

#include "base/bytes.h"
#include "codec/exact.h"
#include "codec/scales.h"
#include "codec/spread.h"
#include "codec/thin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From here on rounding gives infinity. */
#define F16_LIMIT 65520.0
#define BF16_LIMIT 0x1.ffp127

static kerf_err
make_group_room(kerf_codec *c, size_t groups)
{
    if (groups <= c->group_room)
        return KERF_OK;
    c->group_room = 0;
    free(c->span);
    free(c->low);
    free(c->step);
    c->span = calloc(groups, sizeof *c->span);
    c->low = calloc(groups, sizeof *c->low);
    c->step = calloc(groups, sizeof *c->step);
    if (c->span == NULL || c->low == NULL || c->step == NULL)
        return KERF_ENOMEM;
    c->group_room = groups;
    return KERF_OK;
}

/* Rows whose errors are spread: that takes 64 bytes for each place of one. */
#define SPREAD_WIDTH_MOST 4096

static kerf_err
make_error_room(kerf_codec *c)
{
    size_t need = kerf_spread_scratch(c->choice.width);

    if (!c->choice.spread || need <= c->error_room)
        return KERF_OK;
    c->error_room = 0;
    free(c->errors);
    c->errors = malloc(need * sizeof *c->errors);
    if (c->errors == NULL)
        return KERF_ENOMEM;
    c->error_room = need;
    return KERF_OK;
}

/* The last dim: activations are alike along it, and along the one before. */
static uint32_t
row_of(const kerf_shape *shape)
{
    int64_t last = shape->rank < 2 ? 0 : shape->dims[shape->rank - 1];

    return last > UINT32_MAX ? 0 : (uint32_t)last;
}

/* The numbers to the end of the blob; the packing to its head. What they need
 * as scratch comes after them. */
static void
pack(kerf_codec *c, kerf_wr *w, uint8_t *head, const kerf_ans_shape *shape,
     size_t count)
{
    uint8_t *scratch = c->number + count;
    size_t len = 0;

    bool fast = c->choice.content == CONTENT_STEPS &&
                !kerf_codec_is_channelwise(c->choice.id);

    if (fast || count <= THIN_UP_TO) {
        head[2] = PACKING_THIN;
        kerf_thin_put(w, c->number, count, shape->zero, scratch);
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
choose_scales(kerf_codec *c, const float *x)
{
    struct choice *k = &c->choice;
    unsigned numbers = 1u << kerf_codec_bits(k->id);
    kerf_scales s = {0};

    for (size_t g = 0; g < k->groups; g++)
        c->span[g] = kerf_span_of(x + g * k->each, k->each);
    /* Of spread errors a network sees less: longer steps do. */
    if (!kerf_scales_choose(&s, c->step, c->span, k->groups,
                            (numbers - 1) * (k->spread ? 13.0 / 15 : 1)))
        return false;
    k->content = CONTENT_SCALES;
    k->most = s.most;
    k->zero = s.zero;
    return true;
}

/* Steps of each group. False: the values have none. */
static bool
choose_offsets(kerf_codec *c, const float *x, const kerf_span *all)
{
    struct choice *k = &c->choice;
    float low;
    float step;

    k->content = CONTENT_STEPS;
    k->most = (uint8_t)((1u << kerf_codec_bits(k->id)) - 1);
    k->zero = 0;
    if (!choose_steps(all, k->most, &low, &step))
        return false;
    if (low < 0)
        k->zero =
            (uint8_t)fmin(round(-(double)low / (double)step), (double)k->most);
    c->low[0] = low;
    c->step[0] = step;
    for (size_t g = 0; k->groups > 1 && g < k->groups; g++) {
        kerf_span span = kerf_span_of(x + g * k->each, k->each);

        if (!choose_steps(&span, k->most, &c->low[g], &step))
            return false;
        c->step[g] = kerf_step_short(step);
    }
    return true;
}

static bool
is_one(const float *x, size_t count)
{
    size_t i = 1;

    while (i < count && kerf_float_bits(x[i]) == kerf_float_bits(x[0]))
        i++;
    return i >= count;
}

/* How all of the tensor is coded: its blocks are as one blob would be. */
static void
choose(kerf_codec *c, const float *x, size_t count)
{
    struct choice *k = &c->choice;
    kerf_span span = {0, 0};
    double most;

    if (k->id == KERF_CODEC_EXACT && !is_one(x, count)) {
        k->content = CONTENT_EXACT; /* whatever the span is */
        return;
    }
    if (count > 0)
        span = kerf_span_of(x, count);
    k->content = CONTENT_ONE;
    k->one = kerf_span_float(span.least);
    if (span.least == span.greatest)
        return;
    /* What would become infinite, or has no steps, is kept whole. */
    most = kerf_span_is_finite(&span)
               ? fmax(-(double)kerf_span_float(span.least),
                      (double)kerf_span_float(span.greatest))
               : INFINITY;
    k->content = CONTENT_EXACT;
    if (k->id == KERF_CODEC_F16 && most < F16_LIMIT)
        k->content = CONTENT_F16;
    if (k->id == KERF_CODEC_BF16 && most < BF16_LIMIT)
        k->content = CONTENT_BF16;
    if (kerf_codec_bits(k->id) == 0)
        return;
    if (kerf_span_is_finite(&span) && k->groups > 1 && choose_scales(c, x))
        return;
    if (!choose_offsets(c, x, &span))
        k->content = CONTENT_EXACT;
}

/* False: it does not fit the form. */
static bool
put_split(kerf_codec *c, kerf_wr *w, uint8_t *head, const float *x,
          size_t count)
{
    kerf_split_form form = (kerf_split_form)(c->choice.content - CONTENT_F16);
    kerf_ans_shape shape = {.kind = form == KERF_SPLIT_F16 ? KERF_ANS_EIGHTS
                                                           : KERF_ANS_LOG};
    uint8_t *rest = w->at + 8; /* after top and its length */
    uint8_t top = 0;
    size_t rest_len = 0;

    if (w->left < 8 + REST_PAD || w->left - 8 - REST_PAD < count + 1 ||
        !kerf_split(form, x, count, c->number, rest, &top, &shape.max,
                    &rest_len))
        return false;
    kerf_wr_u32(w, top);
    kerf_wr_u32(w, (uint32_t)rest_len);
    w->at += rest_len;
    w->left -= rest_len;
    kerf_wr_zero(w, REST_PAD);
    pack(c, w, head, &shape, count);
    return true;
}

static void
put_scales(kerf_codec *c, kerf_wr *w, size_t first, size_t groups,
           const float *x)
{
    const struct choice *k = &c->choice;

    kerf_wr_u8(w, k->most);
    kerf_wr_u8(w, k->zero);
    kerf_wr_u16(w, 0);
    kerf_wr_u32(w, (uint32_t)groups);
    for (size_t g = 0; g < groups; g++)
        kerf_wr_u16(w, (uint16_t)(kerf_float_bits(c->step[first + g]) >> 16));
    if (k->spread)
        kerf_spread(c->number, x, groups, k->each / k->width, k->width,
                    &(kerf_scales){.zero = k->zero, .most = k->most},
                    c->step + first, c->span + first, c->errors);
    for (size_t g = 0; !k->spread && g < groups; g++) {
        uint8_t *number = c->number + g * k->each;
        float step = c->step[first + g];

        if (step > 0)
            kerf_steps_from(number, x + g * k->each, k->each,
                            -(float)k->zero * step, step, k->most);
        else
            memset(number, k->zero, k->each);
    }
}

static void
put_steps(kerf_codec *c, kerf_wr *w, size_t first, size_t groups,
          const float *x, size_t each)
{
    const struct choice *k = &c->choice;

    for (size_t g = 0; g < groups; g++) {
        float low = c->low[first + g];
        float step = c->step[first + g];

        kerf_wr_u32(w, kerf_float_bits(low));
        if (groups == 1)
            kerf_wr_u32(w, kerf_float_bits(step));
        else
            kerf_wr_u16(w, (uint16_t)(kerf_float_bits(step) >> 16));
        kerf_steps_from(c->number + g * each, x + g * each, each, low, step,
                        k->most);
    }
}

/* Values of a plane of [N, C, ..., H, W]; 0: channels have none. */
static uint32_t
plane_of(const struct choice *k)
{
    return k->groups > 1 && k->each <= UINT32_MAX ? (uint32_t)k->each : 0;
}

/* The values from `first` on. False: they do not fit. */
static bool
put_content(kerf_codec *c, kerf_wr *w, uint8_t *head, size_t first,
            size_t count)
{
    const struct choice *k = &c->choice;
    const float *x = k->x + first;
    bool grouped = k->groups > 1;
    size_t group = grouped ? first / k->each : 0;
    size_t groups = grouped ? count / k->each : 1;
    kerf_ans_shape shape = {.kind = KERF_ANS_LOG,
                            .max = k->most,
                            .zero = k->zero,
                            .width = k->width,
                            .plane = plane_of(k)};

    head[1] = (uint8_t)k->content;
    switch (k->content) {
    case CONTENT_ONE:
        kerf_wr_u32(w, kerf_float_bits(k->one));
        return true;
    case CONTENT_STEPS:
        put_steps(c, w, group, groups, x, grouped ? k->each : count);
        break;
    case CONTENT_SCALES:
        put_scales(c, w, group, groups, x);
        break;
    case CONTENT_EXACT:
        kerf_exact_put(w, x, count, k->row, c->number);
        return true;
    case CONTENT_F16:
    case CONTENT_BF16:
        return put_split(c, w, head, x, count);
    }
    if (!w->bad)
        pack(c, w, head, &shape, count);
    return true;
}

kerf_err
kerf_codec_begin(kerf_codec *codec, kerf_codec_id id, const kerf_tensor *t)
{
    struct choice *k = &codec->choice;
    size_t count = t->bytes / sizeof(float);
    kerf_err err;

    if (t->dtype != KERF_F32 || id <= KERF_CODEC_RAW || id >= KERF_CODEC_COUNT)
        return KERF_ENOTSUP;
    *k = (struct choice){.id = id, .x = t->data, .groups = 1, .each = count};
    if (count > 0) {
        k->groups = kerf_codec_groups(id, &t->shape);
        k->each = count / k->groups;
    }
    k->row = row_of(&t->shape);
    k->width = kerf_codec_is_channelwise(id) ? k->row : 0;
    k->spread = id >= KERF_CODEC_Q8S && t->shape.rank >= 4 && k->width > 0 &&
                k->width <= SPREAD_WIDTH_MOST;
    err = make_group_room(codec, k->groups);
    if (err == KERF_OK)
        err = make_error_room(codec);
    if (err == KERF_OK)
        choose(codec, t->data, count);
    return err;
}

kerf_err
kerf_codec_encode_block(kerf_codec *codec, size_t first, size_t count,
                        uint8_t *out, size_t cap, size_t *len)
{
    kerf_wr w = {.at = out, .left = cap};
    kerf_err err;

    if (cap < HEAD)
        return KERF_ETOOBIG;
    err = kerf_codec_room(codec, count);
    if (err != KERF_OK)
        return err;
    kerf_wr_u8(&w, (uint8_t)codec->choice.id);
    kerf_wr_zero(&w, 7); /* content, packing and check are put in later */
    kerf_wr_u32(&w, (uint32_t)count);
    if (!put_content(codec, &w, out, first, count) || w.bad)
        return KERF_ETOOBIG;
    *len = cap - w.left;
    w = (kerf_wr){.at = out + CHECK_AT, .left = 4};
    kerf_wr_u32(&w, kerf_codec_check(out, *len));
    return KERF_OK;
}

kerf_err
kerf_codec_encode(kerf_codec *codec, kerf_codec_id id, const kerf_tensor *t,
                  uint8_t *out, size_t cap, size_t *len)
{
    kerf_err err = kerf_codec_begin(codec, id, t);

    if (err == KERF_OK)
        err = kerf_codec_encode_block(codec, 0, t->bytes / sizeof(float), out,
                                      cap, len);
    return err;
}
