/*
 * codec_own.h - the inside of the tensor codec, shared by codec.c (life,
 * decoding) and codec_encode.c only.
 */
#ifndef KERF_CODEC_OWN_H
#define KERF_CODEC_OWN_H

#include "codec/ans.h"
#include "codec/split.h"
#include "codec/steps.h"
#include "kerf/codec.h"

#define HEAD 12    /* bytes before the content */
#define CHECK_AT 4 /* the check's own four bytes */
#define REST_PAD 4 /* bytes that kerf_split_join() may read */
#define THIN_UP_TO \
    8192 /* values: below, ans's tables cost more than they save */

enum content {
    CONTENT_ONE = 0, /* every element is this one, or there is none */
    CONTENT_EXACT = 1,
    CONTENT_F16 = 2, /* kerf_split_form, and 2 */
    CONTENT_BF16 = 3,
    CONTENT_STEPS = 4,
    CONTENT_SCALES = 5,
};

enum packing {
    PACKING_STORED = 0, /* a byte each */
    PACKING_THIN = 1,
    PACKING_ANS = 2,
};

/* How a tensor is coded, all its blocks alike. */
struct choice {
    kerf_codec_id id;
    enum content content;
    const float *x;
    size_t groups, each; /* groups of equal steps, and their values */
    uint32_t width, row; /* values that are below each other, or 0 */
    uint8_t most, zero;  /* of STEPS and SCALES */
    bool spread;         /* of SCALES: errors are, over rows of `width` */
    float one;           /* of ONE */
};

struct kerf_codec {
    kerf_ans *ans;
    uint8_t *number; /* room for one per element, and for what coding takes */
    size_t room;     /* bytes */
    kerf_span *span; /* of each group, and their steps */
    float *low, *step;
    size_t group_room;
    float *errors; /* what kerf_spread() takes */
    size_t error_room;
    struct choice choice;
};

/* Room for the numbers and what coding them takes. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_codec_room(kerf_codec *c, size_t count);
uint32_t kerf_codec_check(const uint8_t *blob, size_t len);
/* Steps are of channels. */
bool kerf_codec_is_channelwise(kerf_codec_id id);
/* Bits of a step codec; 0: it is none. */
unsigned kerf_codec_bits(kerf_codec_id id);
/* Groups of equal steps: the channels of [N, C, ...], N times; or all. */
size_t kerf_codec_groups(kerf_codec_id id, const kerf_shape *shape);

#endif
