#include "bench/pictures.h"

#include "source/npy.h"

#include <stdlib.h>
#include <string.h>

struct kerf_pictures {
    kerf_source *source; /* or */
    kerf_tensor batch;
    kerf_tensor labels;
    uint64_t next;
    const kerf_card *card;
    kerf_gst *gst;
    uint8_t *rgb; /* one picture */
};

/* One .npy file of many pictures. KERF_ENOTSUP without words: it is none. */
static kerf_err
open_batch(kerf_pictures *p, const char *path, const kerf_port *port,
           kerf_detail *why)
{
    const char *dot = strrchr(path, '.');
    kerf_dtype dtype;
    const int64_t *d = p->batch.shape.dims;
    const int64_t *want = port->shape.dims;
    kerf_err err;

    if (dot == NULL || strcmp(dot, ".npy") != 0 ||
        kerf_npy_dtype(&dtype, path, NULL) != KERF_OK || dtype != KERF_U8)
        return KERF_ENOTSUP;
    err = kerf_npy_read(&p->batch, path, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", path);
    if (p->batch.shape.rank == 4 && d[1] == want[1] && d[2] == want[2] &&
        d[3] == want[3])
        return KERF_OK;
    return kerf_fail(
        why, KERF_EMISMATCH,
        "%s: not u8 [N, %lld, %lld, %lld], which the network takes", path,
        (long long)want[1], (long long)want[2], (long long)want[3]);
}

static kerf_err
open_source(kerf_pictures *p, const char *const *input, size_t count,
            const kerf_port *port, kerf_detail *why)
{
    kerf_source_opts o = {.spec = input,
                          .spec_count = count,
                          .port = port,
                          .port_count = 1,
                          .card = p->card,
                          .image_port = 0,
                          .repeat = 1};

    return kerf_source_new(&p->source, &o, why);
}

static kerf_err
open_labels(kerf_pictures *p, const char *path, kerf_detail *why)
{
    const kerf_tensor *t = &p->labels;
    kerf_err err = kerf_npy_read(&p->labels, path, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", path);
    if (t->shape.rank != 1 ||
        (t->dtype != KERF_I64 && t->dtype != KERF_I32 && t->dtype != KERF_U8))
        return kerf_fail(why, KERF_EINVAL,
                         "%s: not one i64, i32 or u8 for each picture", path);
    if (p->batch.data != NULL && p->batch.shape.dims[0] != t->shape.dims[0])
        return kerf_fail(why, KERF_EMISMATCH, "%s: %lld labels, %lld pictures",
                         path, (long long)t->shape.dims[0],
                         (long long)p->batch.shape.dims[0]);
    return KERF_OK;
}

kerf_err
kerf_pictures_open(kerf_pictures **out, const char *const *input,
                   size_t input_count, const char *labels,
                   const kerf_port *port, const kerf_card *card,
                   kerf_detail *why)
{
    kerf_pictures *p = calloc(1, sizeof *p);
    size_t bytes = 0;
    kerf_err err = KERF_ENOTSUP;

    if (p == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for pictures");
    p->card = card;
    if (kerf_shape_bytes(&port->shape, KERF_U8, &bytes) == KERF_OK)
        p->rgb = malloc(bytes + 1); /* never NULL for being empty */
    if (p->rgb == NULL)
        err = kerf_fail(why, KERF_ENOMEM, "no memory for a picture");
    else if (input_count == 1)
        err = open_batch(p, input[0], port, why);
    if (err == KERF_ENOTSUP)
        err = open_source(p, input, input_count, port, why);
    if (err == KERF_OK && labels != NULL)
        err = open_labels(p, labels, why);
    if (err == KERF_OK)
        err = kerf_gst_new(&p->gst, why);
    if (err != KERF_OK) {
        kerf_pictures_close(p);
        return err;
    }
    *out = p;
    return KERF_OK;
}

void
kerf_pictures_close(kerf_pictures *p)
{
    if (p == NULL)
        return;
    kerf_source_free(p->source);
    kerf_tensor_free(&p->batch);
    kerf_tensor_free(&p->labels);
    kerf_gst_free(p->gst);
    free(p->rgb);
    free(p);
}

static int64_t
label_at(const kerf_tensor *t, uint64_t i)
{
    if (t->data == NULL || i >= (uint64_t)t->shape.dims[0])
        return -1;
    return t->dtype == KERF_I64   ? ((const int64_t *)t->data)[i]
           : t->dtype == KERF_I32 ? ((const int32_t *)t->data)[i]
                                  : ((const uint8_t *)t->data)[i];
}

kerf_err
kerf_pictures_next(kerf_pictures *p, kerf_tensor *to, int64_t *label,
                   kerf_detail *why)
{
    kerf_item item;
    kerf_err err = KERF_OK;

    if (p->next >= KERF_PICTURES_MAX)
        return KERF_ECLOSED;
    if (p->source != NULL) {
        err = kerf_source_next(p->source, to, &item, why);
        if (err == KERF_OK && item.err != KERF_OK)
            err = kerf_fail(why, item.err, "%s", item.why.text);
    } else if (p->next < (uint64_t)p->batch.shape.dims[0]) {
        memcpy(to->data, (const uint8_t *)p->batch.data + p->next * to->bytes,
               to->bytes);
    } else {
        err = KERF_ECLOSED;
    }
    if (err != KERF_OK)
        return err;
    *label = label_at(&p->labels, p->next);
    p->next++;
    return KERF_OK;
}

/* Between the card's order of colours and RGB. */
static void
copy_row(uint8_t *to, const uint8_t *from, size_t pixels, bool is_bgr)
{
    for (size_t i = 0; i < pixels * 3; i++)
        to[i] = from[is_bgr ? i / 3 * 3 + 2 - i % 3 : i];
}

kerf_err
kerf_pictures_recode(kerf_pictures *p, kerf_image_format format, int quality,
                     const kerf_tensor *from, kerf_tensor *to, size_t *len,
                     kerf_detail *why)
{
    size_t height = (size_t)from->shape.dims[1];
    size_t width = (size_t)from->shape.dims[2];
    bool is_bgr = p->card->colour == KERF_COLOUR_BGR;
    kerf_picture picture = {.rgb = p->rgb,
                            .width = (int)width,
                            .height = (int)height,
                            .stride = width * 3};
    kerf_image_head head;
    uint8_t *file = NULL;
    kerf_err err;

    copy_row(p->rgb, from->data, width * height, is_bgr);
    err = kerf_gst_encode(format, quality, &picture, &file, len, why);
    if (err == KERF_OK)
        err = kerf_image_head_read(&head, file, *len, why);
    if (err == KERF_OK)
        err = kerf_gst_decode(p->gst, &head, file, *len, &picture, why);
    for (size_t y = 0; err == KERF_OK && y < height; y++)
        copy_row((uint8_t *)to->data + y * width * 3,
                 picture.rgb + y * picture.stride, width, is_bgr);
    free(file);
    return err;
}

bool
kerf_pictures_can_webp(void)
{
    static const uint8_t grey[16 * 16 * 3] = {0};
    kerf_picture picture = {
        .rgb = grey, .width = 16, .height = 16, .stride = 48};
    kerf_image_head head;
    kerf_gst *gst = NULL;
    uint8_t *file = NULL;
    size_t len = 0;
    bool can =
        kerf_gst_encode(KERF_IMAGE_WEBP, 50, &picture, &file, &len, NULL) ==
            KERF_OK &&
        kerf_image_head_read(&head, file, len, NULL) == KERF_OK &&
        kerf_gst_new(&gst, NULL) == KERF_OK &&
        kerf_gst_decode(gst, &head, file, len, &picture, NULL) == KERF_OK;

    kerf_gst_free(gst);
    free(file);
    return can;
}
