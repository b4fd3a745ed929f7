/*
 * gst.h - decode one image file with GStreamer: bytes in, RGB rows out; and the
 * reverse, to compare with what a camera would send. gst.c
 * is the sole includer of GStreamer, and starts it at the first image.
 *
 * Decoder elements are driven directly, on the caller's thread, and are kept
 * for the next image: no pipeline, no queue, no other thread.
 * Threads: one owner.
 */
#ifndef KERF_SOURCE_GST_H
#define KERF_SOURCE_GST_H

#include "source/image_head.h"

typedef struct kerf_gst kerf_gst;

/* Packed RGB, 8 bits; rows of stride bytes. */
typedef struct kerf_picture {
    const uint8_t *rgb;
    int width, height;
    size_t stride;
} kerf_picture;

/* Errors: KERF_ENOMEM, KERF_ENOTSUP (GStreamer does not start). */
KERF_NODISCARD kerf_err kerf_gst_new(kerf_gst **out, kerf_detail *why);
void kerf_gst_free(kerf_gst *gst); /* accepts NULL */

/* Decodes; alpha is dropped, 16 bits become 8, grey and palettes become RGB;
 * orientation is the caller's. *out is valid until the next call.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP (no decoder for the format installed). */
KERF_NODISCARD kerf_err kerf_gst_decode(kerf_gst *gst,
                                        const kerf_image_head *head,
                                        const uint8_t *data, size_t len,
                                        kerf_picture *out, kerf_detail *why);

/*
 * JPEG (4:2:0, as cameras write it) or WEBP of quality 0..100. The caller owns
 * *out -> free().
 * Errors: KERF_ENOTSUP (no such encoder installed), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_gst_encode(kerf_image_format format, int quality,
                                        const kerf_picture *picture,
                                        uint8_t **out, size_t *len,
                                        kerf_detail *why);

#endif
