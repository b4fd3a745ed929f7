/*
 * codec.h - pack an f32 tensor into one blob, and back. Blob layout:
 * docs/PROTOCOL.md, "Tensor blobs".
 *
 * A blob says itself how it is coded and ends in nothing but itself: a check
 * over all of it finds damage, so that a wrong blob is an error and never a
 * wrong tensor.
 *
 * Errors of the values, |x - x'|:
 *   EXACT      none: the same bits, NaN and -0 too
 *   F16, BF16  half a step of the format (round to nearest, ties to even)
 *   Qb         at most step / 2, step = (max - min) / (2^b - 1)
 *   QbC        at most step / 2 of the channel (dim 1 of [N, C, ...]):
 *              step = sqrt(r * R) / (2^b - 1), r the range of the channel with
 *              0 in it and R the mean of these, but at least r / 254; where
 *              256 numbers around 0 do not do, (max - min) / (2^b - 1) of the
 *              channel. Rounded up to 16 bits, by less than 1 %.
 *   QbS        the same, but with planes, [N, C, ..., H, W], at most 7/8 of a
 *              step: there rounding errors go on to neighbours, so that those
 *              of a region cancel out, which is what most networks ask for
 *              (docs/BENCHMARKS.md). step = 15 / 13 of the above there (but
 *              r / 254, and where 256 numbers do not do, as above).
 * Qb, QbC and QbS come with the rounding of f32 itself: 2^-20 of the greatest
 * |value|. What a format cannot hold (NaN and Inf, but in EXACT; values that
 * would become infinite) makes the blob an exact one, whatever was asked for.
 * Qb is made to be fast, QbC and QbS to be small.
 *
 * Threads: a codec owns scratch memory; give each worker its own.
 */
#ifndef KERF_CODEC_H
#define KERF_CODEC_H

#include "kerf/codec_id.h"
#include "kerf/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kerf_codec kerf_codec;

/* Free: kerf_codec_free(). Errors: KERF_ENOMEM. Its memory grows with the
 * largest tensor seen (5 bytes per element at most), then stays. */
KERF_API KERF_NODISCARD kerf_err kerf_codec_new(kerf_codec **out);
KERF_API void kerf_codec_free(kerf_codec *codec); /* accepts NULL */

/*
 * Packs t into out, of which cap bytes may be written; *len is what it took.
 * Errors: KERF_ENOTSUP (t is not f32, or id is RAW or unknown), KERF_ETOOBIG
 * (it does not get smaller than cap: send it raw), KERF_ENOMEM.
 */
KERF_API KERF_NODISCARD kerf_err kerf_codec_encode(kerf_codec *codec,
                                                   kerf_codec_id id,
                                                   const kerf_tensor *t,
                                                   uint8_t *out, size_t cap,
                                                   size_t *len);

/*
 * The same in blocks, each a blob of its own, so that one is sent while the
 * next is coded. Their values are those of one blob, to the bit: begin chooses
 * the steps for all of t, which stays as it is until the last block.
 * first, count   values of the block in row-major order, multiples of
 *                kerf_codec_grain() both.
 * Errors: as for kerf_codec_encode(); after KERF_ETOOBIG other blocks may fit.
 */
KERF_API KERF_NODISCARD kerf_err kerf_codec_begin(kerf_codec *codec,
                                                  kerf_codec_id id,
                                                  const kerf_tensor *t);
KERF_API KERF_NODISCARD kerf_err
kerf_codec_encode_block(kerf_codec *codec, size_t first, size_t count,
                        uint8_t *out, size_t cap, size_t *len);

/* Values of which blocks are made: those of a channel where steps are of
 * channels, else 1. 0: the tensor is empty. */
KERF_API size_t kerf_codec_grain(kerf_codec_id id, const kerf_shape *shape);

/* The part of t that a block is decoded into: a view, of shape [count], or
 * [1, channels, ...] where steps are of channels. */
KERF_API kerf_tensor kerf_codec_block(kerf_codec_id id, const kerf_tensor *t,
                                      size_t first, size_t count);

/*
 * Unpacks the one blob that fills data[0..len) into t, which has the dtype,
 * shape and memory that are expected; its contents are undefined on error.
 * Errors: KERF_ECORRUPT (also: a blob of another codec or number of elements),
 * KERF_ENOTSUP (id RAW or unknown, t is not f32), KERF_ENOMEM.
 */
KERF_API KERF_NODISCARD kerf_err kerf_codec_decode(kerf_codec *codec,
                                                   kerf_codec_id id,
                                                   const uint8_t *data,
                                                   size_t len, kerf_tensor *t,
                                                   kerf_detail *why);

#ifdef __cplusplus
}
#endif
#endif
