/*
 * pictures.h - pictures as a network takes them, with what they show, and what
 * is left of one after JPEG or WebP.
 * Threads: one owner.
 */
#ifndef KERF_BENCH_PICTURES_H
#define KERF_BENCH_PICTURES_H

#include "source/source.h"
#include "source/gst.h"

#define KERF_PICTURES_MAX 100000

typedef struct kerf_pictures kerf_pictures;

/*
 * input: as for kerf_source_new(), or one .npy file of u8 [N, height, width,
 * 3]. labels: .npy of N integers, or NULL. port: u8 [1, height, width, 3] that
 * takes a picture, prepared by the settled card, which outlives the pictures.
 * Errors: the source's, KERF_EMISMATCH (sizes), KERF_EINVAL (labels).
 */
KERF_NODISCARD kerf_err kerf_pictures_open(
    kerf_pictures **out, const char *const *input, size_t input_count,
    const char *labels, const kerf_port *port, const kerf_card *card,
    kerf_detail *why);
void kerf_pictures_close(kerf_pictures *p); /* accepts NULL */

/* The next one, and its label (-1: none). KERF_ECLOSED: there is no more. */
KERF_NODISCARD kerf_err kerf_pictures_next(kerf_pictures *p, kerf_tensor *to,
                                           int64_t *label, kerf_detail *why);

/* from through an encoder and its decoder; *len is what it took. Errors: those
 * of gst.h. */
KERF_NODISCARD kerf_err kerf_pictures_recode(
    kerf_pictures *p, kerf_image_format format, int quality,
    const kerf_tensor *from, kerf_tensor *to, size_t *len, kerf_detail *why);
/* Whether WebP can be written and read here. */
bool kerf_pictures_can_webp(void);

#endif
