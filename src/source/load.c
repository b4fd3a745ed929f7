#include "source/load.h"

#include "base/clock.h"
#include "base/rng.h"
#include "source/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A kept file that changes is seen this much later, at most. */
#define LOOK_AGAIN_NS 10000000

void
kerf_load_fini(kerf_load_ctx *ctx)
{
    free(ctx->kept.data);
    kerf_gst_free(ctx->gst);
    kerf_fit_fini(&ctx->fit);
    ctx->gst = NULL;
}

static kerf_err
fail_image(kerf_err err, const char *path, kerf_item *item)
{
    return kerf_fail_in(&item->why, err, "%s", path);
}

static kerf_err
set_pair(kerf_tensor *t, const char *name, float height, float width,
         kerf_detail *why)
{
    char text[KERF_SHAPE_TEXT];
    float *v = t->data;

    if (t->dtype != KERF_F32 || t->bytes != 2 * sizeof *v)
        return kerf_fail(
            why, KERF_EMISMATCH, "input %s is %s %s, expected f32 (1, 2)", name,
            kerf_dtype_name(t->dtype), kerf_shape_text(text, &t->shape));
    v[0] = height;
    v[1] = width;
    return KERF_OK;
}

/* Models get the image's size back as side / scale, cut to whole pixels: the
 * scale is such that a / b and a * (1 / b) both give at least that. */
static float
scale_of(int side, int original)
{
    float scale = (float)side / (float)original;

    while ((float)side / scale < (float)original ||
           (float)side * (1.0F / scale) < (float)original)
        scale = nextafterf(scale, 0.0F);
    return scale;
}

/* PaddleDetection's extra inputs, from the image's size. */
static kerf_err
fill_extras(const kerf_load_ctx *ctx, kerf_tensor *dest, kerf_item *item)
{
    float height = (float)ctx->card->height;
    float width = (float)ctx->card->width;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < ctx->port_count && err == KERF_OK; i++) {
        const char *name = ctx->port[i].name;

        if (i == ctx->image_port)
            continue;
        if (strcmp(name, "im_shape") == 0)
            err = set_pair(&dest[i], name, height, width, &item->why);
        else if (strcmp(name, "scale_factor") == 0) {
            err = set_pair(&dest[i], name,
                           scale_of(ctx->card->height, item->height),
                           scale_of(ctx->card->width, item->width), &item->why);
        } else {
            err = kerf_fail(&item->why, KERF_ENOTSUP,
                            "the model also wants input '%s': give .npy files "
                            "for all inputs, --input a.npy,b.npy",
                            name);
        }
    }
    return err;
}

static kerf_err
decode_image(kerf_load_ctx *ctx, const uint8_t *data, size_t len,
             kerf_tensor *dest, kerf_item *item)
{
    kerf_image_head head = {0};
    kerf_picture picture = {0};
    kerf_err err = kerf_image_head_read(&head, data, len, &item->why);
    bool turned;

    if (err == KERF_OK && ctx->gst == NULL)
        err = kerf_gst_new(&ctx->gst, &item->why);
    if (err == KERF_OK)
        err = kerf_gst_decode(ctx->gst, &head, data, len, &picture, &item->why);
    if (err != KERF_OK)
        return err;
    turned = head.orientation >= 5;
    item->is_image = true;
    item->width = turned ? picture.height : picture.width;
    item->height = turned ? picture.width : picture.height;
    err = kerf_fit_picture(&ctx->fit, ctx->card, &picture, head.orientation,
                           dest[ctx->image_port].data);
    if (err != KERF_OK)
        return kerf_fail(&item->why, err, "no memory for the image");
    return fill_extras(ctx, dest, item);
}

/* Equal, but for a leading 1 that one of them may lack. */
static bool
shapes_agree(const kerf_shape *a, const kerf_shape *b)
{
    const kerf_shape *longer = a->rank > b->rank ? a : b;
    const kerf_shape *shorter = a->rank > b->rank ? b : a;

    if (a->rank == b->rank)
        return kerf_shape_equal(a, b);
    return longer->rank == shorter->rank + 1 && longer->dims[0] == 1 &&
           memcmp(longer->dims + 1, shorter->dims,
                  shorter->rank * sizeof *shorter->dims) == 0;
}

static kerf_err
copy_tensor(const kerf_load_ctx *ctx, const kerf_tensor *t, size_t port,
            kerf_tensor *dest, kerf_item *item)
{
    const kerf_port *p = &ctx->port[port];
    char has[KERF_SHAPE_TEXT];
    char wants[KERF_SHAPE_TEXT];

    if (t->dtype != p->dtype || !shapes_agree(&t->shape, &p->shape)) {
        return kerf_fail(
            &item->why, KERF_EMISMATCH,
            "it is %s %s, but the model's input '%s' takes %s %s",
            kerf_dtype_name(t->dtype), kerf_shape_text(has, &t->shape), p->name,
            kerf_dtype_name(p->dtype), kerf_shape_text(wants, &p->shape));
    }
    memcpy(dest[port].data, t->data, t->bytes);
    return KERF_OK;
}

static kerf_err
load_kept(kerf_load_ctx *ctx, size_t port, kerf_tensor *dest, kerf_item *item)
{
    kerf_kept *kept = &ctx->kept;
    kerf_err err = KERF_OK;

    if (kept->tensor.data == NULL)
        err = kerf_npy_view(&kept->tensor, kept->data, kept->len, &item->why);
    return err == KERF_OK ? copy_tensor(ctx, &kept->tensor, port, dest, item)
                          : err;
}

bool
kerf_load_is_kept(const kerf_load_ctx *ctx, const char *path)
{
    return ctx->kept.stamp != 0 && strcmp(path, ctx->kept.path) == 0;
}

/* The bytes of a .npy file into ctx->kept. */
static kerf_err
keep_file(kerf_load_ctx *ctx, const char *path, kerf_detail *why)
{
    kerf_kept *kept = &ctx->kept;
    bool same = kerf_load_is_kept(ctx, path);
    uint64_t now_ns = kerf_now_ns();
    uint64_t stamp;
    kerf_err err;

    if (same && now_ns - kept->looked_ns < LOOK_AGAIN_NS)
        return KERF_OK;
    stamp = kerf_fs_stamp(path);
    kept->looked_ns = now_ns;
    if (same && stamp == kept->stamp)
        return KERF_OK;
    free(kept->data);
    kept->data = NULL;
    kept->tensor.data = NULL;
    kept->stamp = 0;
    err = kerf_fs_read(path, KERF_TENSOR_BYTES_MAX + 65536, &kept->data,
                       &kept->len, why);
    if (err == KERF_OK) {
        (void)snprintf(kept->path, sizeof kept->path, "%s", path);
        kept->stamp = stamp;
    }
    return err;
}

static kerf_err
load_one(kerf_load_ctx *ctx, const char *path, size_t port, kerf_tensor *dest,
         kerf_item *item)
{
    bool npy = kerf_path_ends(path, ".npy");
    uint64_t start = kerf_now_ns();
    uint8_t *data = NULL;
    size_t len = 0;
    uint64_t read;
    kerf_err err =
        npy ? keep_file(ctx, path, &item->why)
            : kerf_fs_read(path, KERF_IMAGE_BYTES_MAX, &data, &len, &item->why);

    read = kerf_now_ns();
    item->capture_ns += read - start;
    if (err != KERF_OK)
        return err; /* names the file already */
    if (npy)
        err = load_kept(ctx, port, dest, item);
    else if (ctx->card == NULL) {
        err = kerf_fail(&item->why, KERF_EINVAL,
                        "the model takes .npy tensors: no card says how an "
                        "image becomes its input, and no image rules "
                        "(--resize, --colour, --scale) were given");
    } else {
        err = decode_image(ctx, data, len, dest, item);
    }
    free(data);
    item->preprocess_ns += kerf_now_ns() - read;
    return err == KERF_OK ? err : fail_image(err, path, item);
}

kerf_err
kerf_load_file(kerf_load_ctx *ctx, const char *path, kerf_tensor *dest,
               kerf_item *item)
{
    char part[KERF_PATH_MAX];
    size_t port = 0;

    if (strchr(path, ',') == NULL || kerf_fs_exists(path)) {
        if (ctx->port_count > 1 && kerf_path_ends(path, ".npy")) {
            return kerf_fail(&item->why, KERF_EMISMATCH,
                             "%s: the model has %zu inputs: give one .npy file "
                             "for each, --input a.npy,b.npy",
                             path, ctx->port_count);
        }
        return load_one(ctx, path, ctx->card == NULL ? 0 : ctx->image_port,
                        dest, item);
    }
    for (const char *at = path;; port++) {
        size_t len = strcspn(at, ",");
        kerf_err err;

        if (port == ctx->port_count ||
            (at[len] == '\0' && port + 1 != ctx->port_count))
            return kerf_fail(&item->why, KERF_EMISMATCH,
                             "%s: the model has %zu input%s", path,
                             ctx->port_count, ctx->port_count == 1 ? "" : "s");
        (void)snprintf(part, sizeof part, "%.*s", (int)len, at);
        err = load_one(ctx, part, port, dest, item);
        if (err != KERF_OK || at[len] == '\0')
            return err;
        at += len + 1;
    }
}

void
kerf_load_random(kerf_load_ctx *ctx, kerf_tensor *dest, uint64_t seed)
{
    for (size_t i = 0; i < ctx->port_count; i++) {
        if (ctx->card == NULL || i != ctx->image_port) {
            kerf_tensor_fill_seeded(&dest[i], &seed);
            continue;
        }
        for (size_t k = 0; k < dest[i].bytes; k++)
            ((uint8_t *)dest[i].data)[k] =
                (uint8_t)(kerf_rng_next(&seed) >> 56);
    }
}

bool
kerf_load_is_raw(const char *spec, bool *known)
{
    char path[KERF_PATH_MAX];
    kerf_dtype dtype = KERF_F32;

    *known = true;
    (void)snprintf(
        path, sizeof path, "%.*s",
        (int)(kerf_fs_exists(spec) ? strlen(spec) : strcspn(spec, ",")), spec);
    if (!kerf_path_ends(path, ".npy"))
        return false;
    /* What is wrong with the file is said when its turn comes. */
    *known = kerf_npy_dtype(&dtype, path, NULL) == KERF_OK;
    return dtype != KERF_U8;
}
