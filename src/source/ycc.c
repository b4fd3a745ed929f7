#include "source/ycc.h"

/* Chroma of one sample and its neighbours: 3/4 of the nearest row and 1/4 of
 * the next one, in quarters. */
typedef struct sums {
    int before, here, after;
} sums;

static int
sum_rows(const uint8_t *near_row, const uint8_t *far_row, int i)
{
    return near_row[i] * 3 + far_row[i];
}

/* Moves to sample i; past an end the end is repeated. */
static void
step(sums *s, const uint8_t *near_row, const uint8_t *far_row, int i, int count)
{
    s->before = i == 0 ? sum_rows(near_row, far_row, 0) : s->here;
    s->here = i == 0 ? s->before : s->after;
    s->after = i + 1 < count ? sum_rows(near_row, far_row, i + 1) : s->here;
}

/* The left and the right pixel of a sample; libjpeg rounds them apart. */
static int
left_of(const sums *s)
{
    return (s->here * 3 + s->before + 8) >> 4;
}

static int
right_of(const sums *s)
{
    return (s->here * 3 + s->after + 7) >> 4;
}

static uint8_t
clamp(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void
store(uint8_t *rgb, int y, int cb, int cr)
{
    const int half = 1 << 15;

    cb -= 128;
    cr -= 128;
    rgb[0] = clamp(y + ((91881 * cr + half) >> 16));
    rgb[1] = clamp(y + ((-22554 * cb - 46802 * cr + half) >> 16));
    rgb[2] = clamp(y + ((116130 * cb + half) >> 16));
}

/* Row y of the picture; far: the chroma row that is next nearest. */
static void
convert_row(const kerf_ycc *f, int y, int far, uint8_t *rgb)
{
    const uint8_t *luma = f->y + (size_t)y * f->y_stride;
    size_t near_at = (size_t)(y / 2) * f->c_stride;
    size_t far_at = (size_t)far * f->c_stride;
    int count = (f->width + 1) / 2;
    sums cb = {0};
    sums cr = {0};

    for (int i = 0; i < count; i++, rgb += 6, luma += 2) {
        step(&cb, f->cb + near_at, f->cb + far_at, i, count);
        step(&cr, f->cr + near_at, f->cr + far_at, i, count);
        store(rgb, luma[0], left_of(&cb), left_of(&cr));
        if (2 * i + 1 < f->width)
            store(rgb + 3, luma[1], right_of(&cb), right_of(&cr));
    }
}

void
kerf_ycc_to_rgb(const kerf_ycc *f, uint8_t *rgb, size_t stride)
{
    int rows = (f->height + 1) / 2;

    for (int y = 0; y < f->height; y++) {
        int far = y % 2 == 0 ? y / 2 - 1 : y / 2 + 1;

        far = far < 0 ? 0 : far >= rows ? rows - 1 : far;
        convert_row(f, y, far, rgb + (size_t)y * stride);
    }
}
