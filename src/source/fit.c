/*
 * Two passes, rows first, each with a table of integer weights per output
 * position (22 bits of fraction: 8 bits of pixel and a sign fit beside them).
 */
#include "source/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRACTION 22

/* A part of the source, in pixels, that becomes an output of width x height. */
typedef struct box {
    double left, top, width, height;
} box;

/* For each of `count` positions: `taps` weights from index first on. */
typedef struct table {
    int32_t *weight;
    int *first;
    int taps;
} table;

void
kerf_fit_fini(kerf_fit *fit)
{
    free(fit->turned.at);
    free(fit->rows.at);
    free(fit->weight.at);
    free(fit->first.at);
    *fit = (kerf_fit){0};
}

/* Room for at least `bytes`, or NULL; old content is not kept. */
static void *
reserve(kerf_scratch *s, size_t bytes)
{
    if (s->room < bytes) {
        free(s->at);
        s->at = malloc(bytes);
        s->room = s->at == NULL ? 0 : bytes;
    }
    return s->at;
}

static int
count_taps(double extent, int out)
{
    double scale = extent / out;

    return (int)ceil(scale < 1.0 ? 1.0 : scale) * 2 + 1;
}

/* Weights of one axis: source positions [start, start + extent) of `in` pixels
 * become `out` pixels. */
static void
fill_table(table *t, int in, double start, double extent, int out)
{
    double scale = extent / out;
    double reach = scale < 1.0 ? 1.0 : scale;

    for (int i = 0; i < out; i++) {
        double centre = start + (i + 0.5) * scale;
        int from = (int)(centre - reach + 0.5);
        int to = (int)(centre + reach + 0.5);
        double sum = 0.0;
        int32_t *w = t->weight + (size_t)i * (size_t)t->taps;

        from = from < 0 ? 0 : from;
        to = to > in ? in : to;
        for (int k = from; k < to; k++)
            sum += fmax(0.0, 1.0 - fabs(k + 0.5 - centre) / reach);
        for (int k = 0; k < t->taps; k++) {
            double v =
                from + k >= to
                    ? 0.0
                    : fmax(0.0, 1.0 - fabs(from + k + 0.5 - centre) / reach);

            w[k] = (int32_t)lround(v / sum * (1 << FRACTION));
        }
        /* The last taps may lie past the end: their weight is 0, and whoever
         * reads them stops at the end. */
        t->first[i] = from;
    }
}

static uint8_t
round_pixel(int32_t sum)
{
    int32_t v = sum >> FRACTION;

    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row of `in` RGB pixels to `out` pixels. */
static void
resize_row(const table *t, const uint8_t *src, int in, uint8_t *dst, int out)
{
    for (int i = 0; i < out; i++, dst += 3) {
        const int32_t *w = t->weight + (size_t)i * (size_t)t->taps;
        const uint8_t *p = src + (size_t)t->first[i] * 3;
        int taps = in - t->first[i] < t->taps ? in - t->first[i] : t->taps;
        int32_t r = 1 << (FRACTION - 1);
        int32_t g = r;
        int32_t b = r;

        for (int k = 0; k < taps; k++, p += 3) {
            r += p[0] * w[k];
            g += p[1] * w[k];
            b += p[2] * w[k];
        }
        dst[0] = round_pixel(r);
        dst[1] = round_pixel(g);
        dst[2] = round_pixel(b);
    }
}

/* One output row out of `taps` rows of n bytes each, stride apart. */
static void
blend_rows(const int32_t *w, int taps, const uint8_t *src, size_t stride,
           uint8_t *dst, size_t n)
{
    for (size_t x = 0; x < n; x++) {
        int32_t sum = 1 << (FRACTION - 1);

        for (int k = 0; k < taps; k++)
            sum += src[(size_t)k * stride + x] * w[k];
        dst[x] = round_pixel(sum);
    }
}

static bool
reserve_table(kerf_fit *fit, table *t, double extent, int out)
{
    t->taps = count_taps(extent, out);
    t->weight = reserve(&fit->weight,
                        (size_t)t->taps * (size_t)out * sizeof *t->weight);
    t->first = reserve(&fit->first, (size_t)out * sizeof *t->first);
    return t->weight != NULL && t->first != NULL;
}

/* The box of the picture to width x height RGB pixels at out. */
static kerf_err
resample(kerf_fit *fit, const kerf_picture *p, box from, int width, int height,
         uint8_t *out, size_t stride)
{
    size_t row = (size_t)width * 3;
    int top = (int)fmax(0.0, floor(from.top - from.height / height - 1));
    int end = (int)fmin(
        p->height, ceil(from.top + from.height + from.height / height + 1));
    uint8_t *rows = reserve(&fit->rows, row * (size_t)(end - top));
    table t;

    if (rows == NULL || !reserve_table(fit, &t, from.width, width))
        return KERF_ENOMEM;
    fill_table(&t, p->width, from.left, from.width, width);
    for (int y = top; y < end; y++)
        resize_row(&t, p->rgb + (size_t)y * p->stride, p->width,
                   rows + (size_t)(y - top) * row, width);

    if (!reserve_table(fit, &t, from.height, height))
        return KERF_ENOMEM;
    fill_table(&t, end - top, from.top - top, from.height, height);
    for (int y = 0; y < height; y++) {
        int left = end - top - t.first[y];

        blend_rows(t.weight + (size_t)y * (size_t)t.taps,
                   left < t.taps ? left : t.taps,
                   rows + (size_t)t.first[y] * row, row,
                   out + (size_t)y * stride, row);
    }
    return KERF_OK;
}

/* Where pixel (x, y) of the upright picture is in the stored one. */
static const uint8_t *
stored_pixel(const kerf_picture *p, int orientation, int x, int y)
{
    bool swap = orientation >= 5;
    int sx = swap ? y : x;
    int sy = swap ? x : y;

    if (orientation == 2 || orientation == 3 || orientation == 7 ||
        orientation == 8)
        sx = p->width - 1 - sx;
    if (orientation == 3 || orientation == 4 || orientation == 6 ||
        orientation == 7)
        sy = p->height - 1 - sy;
    return p->rgb + (size_t)sy * p->stride + (size_t)sx * 3;
}

static kerf_err
turn(kerf_fit *fit, kerf_picture *p, int orientation)
{
    int width = orientation >= 5 ? p->height : p->width;
    int height = orientation >= 5 ? p->width : p->height;
    size_t stride = (size_t)width * 3;
    uint8_t *turned = reserve(&fit->turned, stride * (size_t)height);

    if (turned == NULL)
        return KERF_ENOMEM;
    for (int y = 0; y < height; y++) {
        uint8_t *dst = turned + (size_t)y * stride;

        for (int x = 0; x < width; x++)
            memcpy(dst + (size_t)x * 3, stored_pixel(p, orientation, x, y), 3);
    }
    *p = (kerf_picture){
        .rgb = turned, .width = width, .height = height, .stride = stride};
    return KERF_OK;
}

static kerf_err
letterbox(kerf_fit *fit, const kerf_card *card, const kerf_picture *p,
          uint8_t *out)
{
    double ratio =
        fmin((double)card->width / p->width, (double)card->height / p->height);
    int width = (int)fmax(1.0, round(p->width * ratio));
    int height = (int)fmax(1.0, round(p->height * ratio));
    size_t stride = (size_t)card->width * 3;
    size_t at;

    width = width > card->width ? card->width : width;
    height = height > card->height ? card->height : height;
    at = (size_t)((card->height - height) / 2) * stride +
         (size_t)((card->width - width) / 2) * 3;
    memset(out, card->pad, stride * (size_t)card->height);
    return resample(fit, p, (box){0, 0, p->width, p->height}, width, height,
                    out + at, stride);
}

static box
crop_box(const kerf_card *card, const kerf_picture *p)
{
    double ratio =
        fmax((double)card->width / p->width, (double)card->height / p->height);
    double width = fmin(card->width / ratio, p->width);
    double height = fmin(card->height / ratio, p->height);

    return (box){(p->width - width) / 2, (p->height - height) / 2, width,
                 height};
}

/* RGB at `from` to the card's channels at `to`, which may be the same. */
static void
order_channels(kerf_colour colour, const uint8_t *from, uint8_t *to,
               size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, from += 3) {
        if (colour == KERF_COLOUR_GRAY) {
            /* BT.601 in 16 bits, as Pillow's "L". */
            to[i] = (uint8_t)((from[0] * 19595U + from[1] * 38470U +
                               from[2] * 7471U + 0x8000U) >>
                              16);
        } else {
            uint8_t red = from[0];

            to[i * 3] = from[2];
            to[i * 3 + 1] = from[1];
            to[i * 3 + 2] = red;
        }
    }
}

static kerf_err
fit_rgb(kerf_fit *fit, const kerf_card *card, const kerf_picture *p,
        uint8_t *out)
{
    size_t stride = (size_t)card->width * 3;

    if (p->width == card->width && p->height == card->height) {
        for (int y = 0; y < p->height; y++)
            memcpy(out + (size_t)y * stride, p->rgb + (size_t)y * p->stride,
                   stride);
        return KERF_OK;
    }
    if (card->resize == KERF_RESIZE_LETTERBOX)
        return letterbox(fit, card, p, out);
    return resample(fit, p,
                    card->resize == KERF_RESIZE_CROP
                        ? crop_box(card, p)
                        : (box){0, 0, p->width, p->height},
                    card->width, card->height, out, stride);
}

kerf_err
kerf_fit_picture(kerf_fit *fit, const kerf_card *card,
                 const kerf_picture *picture, int orientation, uint8_t *out)
{
    size_t pixels = (size_t)card->width * (size_t)card->height;
    kerf_picture p = *picture;
    uint8_t *rgb = out;
    kerf_err err = KERF_OK;

    if (orientation != 1)
        err = turn(fit, &p, orientation);
    if (err == KERF_OK && card->colour == KERF_COLOUR_GRAY) {
        rgb = malloc(pixels * 3);
        err = rgb == NULL ? KERF_ENOMEM : KERF_OK;
    }
    if (err == KERF_OK)
        err = fit_rgb(fit, card, &p, rgb);
    if (err == KERF_OK && card->colour != KERF_COLOUR_RGB)
        order_channels(card->colour, rgb, out, pixels);
    if (rgb != out)
        free(rgb);
    return err;
}
