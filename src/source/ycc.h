/*
 * ycc.h - JPEG's 4:2:0 planes to RGB as libjpeg does it: chroma by triangle
 * filter ("fancy upsampling"), full-range BT.601 in 16 bits of fraction.
 * GStreamer's converter is darker in green by one and a half on average.
 * Threads: pure.
 */
#ifndef KERF_SOURCE_YCC_H
#define KERF_SOURCE_YCC_H

#include <stddef.h>
#include <stdint.h>

typedef struct kerf_ycc {
    const uint8_t *y, *cb, *cr; /* cb, cr: (width + 1) / 2 x (height + 1) / 2 */
    size_t y_stride, c_stride;
    int width, height;
} kerf_ycc;

void kerf_ycc_to_rgb(const kerf_ycc *from, uint8_t *rgb, size_t stride);

#endif
