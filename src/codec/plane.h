/*
 * plane.h - words of 2, 4 or 8 bytes to one plane per byte, and back. Exponents
 * of floats come out as bytes of their own, as do the equal bytes of integers.
 * Threads: pure.
 */
#ifndef KERF_CODEC_PLANE_H
#define KERF_CODEC_PLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_PLANES_MOST 8

/*
 * Byte k of each of the count words at words (little-endian, width bytes each,
 * any alignment) to plane[k], count bytes each, anywhere. Rotated: each word is
 * turned left by one bit first, so that a float's sign is at the bottom and its
 * exponent begins at the top. width: 1 (never rotated), 2, 4 or 8.
 */
void kerf_plane_split(uint8_t *const plane[KERF_PLANES_MOST],
                      const uint8_t *words, size_t count, unsigned width,
                      bool rotated);

/* The reverse. */
void kerf_plane_merge(uint8_t *words,
                      const uint8_t *const plane[KERF_PLANES_MOST],
                      size_t count, unsigned width, bool rotated);

#endif
