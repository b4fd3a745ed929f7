/*
 * image_head.h - what an image file says about itself, read before anything is
 * decoded: format, size, orientation. Bounded and safe on any bytes.
 * Threads: pure.
 */
#ifndef KERF_SOURCE_IMAGE_HEAD_H
#define KERF_SOURCE_IMAGE_HEAD_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

#define KERF_IMAGE_BYTES_MAX ((size_t)256 << 20)    /* of a file */
#define KERF_IMAGE_PIXELS_MAX ((uint64_t)100000000) /* of a picture */
#define KERF_IMAGE_SIDE_MAX 65535
/* A progressive JPEG costs a pass over all pixels per scan. */
#define KERF_IMAGE_SCANS_MAX 128

typedef enum kerf_image_format {
    KERF_IMAGE_PNG = 0,
    KERF_IMAGE_JPEG,
    KERF_IMAGE_GIF,
    KERF_IMAGE_BMP,
    KERF_IMAGE_TIFF,
    KERF_IMAGE_PNM,
    KERF_IMAGE_WEBP,
    KERF_IMAGE_FORMAT_COUNT
} kerf_image_format;

typedef struct kerf_image_head {
    kerf_image_format format;
    uint32_t width, height; /* as stored, before orientation */
    int orientation;        /* EXIF, 1..8; 1: as stored */
} kerf_image_head;

const char *kerf_image_format_name(kerf_image_format format); /* "PNG" */
const char *kerf_image_format_mime(kerf_image_format format); /* "image/png" */
/* Whether a file of this name is taken from a folder: by its ending. */
int kerf_image_has_ending(const char *name);

/* Errors: KERF_ENOTSUP (not an image that we know), KERF_ECORRUPT (cut short,
 * broken), KERF_ETOOBIG (pixels or scans). */
KERF_NODISCARD kerf_err kerf_image_head_read(kerf_image_head *out,
                                             const uint8_t *data, size_t len,
                                             kerf_detail *why);

#endif
