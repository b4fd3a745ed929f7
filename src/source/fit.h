/*
 * fit.h - a picture into the network's rectangle: orientation, resize rule,
 * colour order.
 *
 * Resampling is bilinear with half-pixel centres; when it shrinks, the
 * triangle grows with the ratio, so that no pixel is skipped (as Pillow's
 * BILINEAR does). Coefficients are integers: the same result on every machine,
 * and an image of the right size keeps its exact pixels.
 * Threads: one owner per kerf_fit.
 */
#ifndef KERF_SOURCE_FIT_H
#define KERF_SOURCE_FIT_H

#include "kerf/card.h"
#include "source/gst.h"

typedef struct kerf_scratch {
    void *at;
    size_t room; /* bytes */
} kerf_scratch;

typedef struct kerf_fit { /* kept between images */
    kerf_scratch turned, rows, weight, first;
} kerf_fit;

void kerf_fit_fini(kerf_fit *fit); /* accepts a zeroed one */

/* Writes height * width * channels bytes of the card to out. A picture has at
 * most KERF_IMAGE_PIXELS_MAX. orientation: EXIF, 1..8.
 * Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_fit_picture(kerf_fit *fit, const kerf_card *card,
                                         const kerf_picture *picture,
                                         int orientation, uint8_t *out);

#endif
