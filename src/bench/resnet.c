#include "bench/resnet.h"

#include "base/fs.h"
#include "bench/onnx_out.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED 18
#define BRANCH_GAIN 0.5F /* so that sums of branches stay small */

typedef struct cursor { /* the tensor that the next layer takes */
    kerf_onnx g;
    char at[32];
    int number, channels;
} cursor;

static void
step(cursor *c, char next[32])
{
    (void)snprintf(next, 32, "t%d", c->number++);
}

static void
take(cursor *c, const char *name)
{
    (void)snprintf(c->at, sizeof c->at, "%s", name);
}

static void
add_op(cursor *c, const char *op)
{
    char next[32];

    step(c, next);
    kerf_onnx_op(&c->g, op, c->at, NULL, next);
    take(c, next);
}

static void
add_conv(cursor *c, const char *in, char out[32], const kerf_onnx_conv_opts *o)
{
    step(c, out);
    kerf_onnx_conv(&c->g, in, out, o);
}

/* Two 3x3 convolutions beside an identity, or beside a 1x1 one where the shape
 * changes. */
static void
add_block(cursor *c, int channels, int stride)
{
    kerf_onnx_conv_opts first = {.from = c->channels,
                                 .to = channels,
                                 .kernel = 3,
                                 .stride = stride,
                                 .gain = 1};
    kerf_onnx_conv_opts second = {.from = channels,
                                  .to = channels,
                                  .kernel = 3,
                                  .stride = 1,
                                  .gain = BRANCH_GAIN};
    kerf_onnx_conv_opts side = {.from = c->channels,
                                .to = channels,
                                .kernel = 1,
                                .stride = stride,
                                .gain = 1};
    char skip[32];
    char out[32];

    (void)snprintf(skip, sizeof skip, "%s", c->at);
    if (stride != 1 || channels != c->channels)
        add_conv(c, c->at, skip, &side);
    add_conv(c, c->at, out, &first);
    take(c, out);
    add_op(c, "Relu");
    add_conv(c, c->at, out, &second);
    take(c, out);
    step(c, out);
    kerf_onnx_op(&c->g, "Add", c->at, skip, out);
    take(c, out);
    add_op(c, "Relu");
    c->channels = channels;
}

static void
add_head(cursor *c)
{
    static const int64_t image[] = {1, 3, 32, 32};
    static const int64_t crossing[] = {1, 64, 8, 8};
    kerf_onnx_conv_opts stem = {
        .from = 3, .to = 64, .kernel = 7, .stride = 2, .gain = 1};
    char out[32];

    kerf_onnx_input(&c->g, "image", image, 4);
    add_conv(c, "image", out, &stem);
    take(c, out);
    add_op(c, "Relu");
    step(c, out);
    kerf_onnx_max_pool(&c->g, c->at, out, 3, 2);
    take(c, out);
    c->channels = 64;
    add_block(c, 64, 1);
    add_block(c, 64, 1);
    kerf_onnx_output(&c->g, c->at, crossing, 4);
}

static void
add_tail(cursor *c)
{
    static const int64_t crossing[] = {1, 64, 8, 8};
    static const int64_t classes[] = {1, 10};
    char out[32];

    kerf_onnx_input(&c->g, "features", crossing, 4);
    take(c, "features");
    c->channels = 64;
    for (int channels = 128; channels <= 512; channels *= 2) {
        add_block(c, channels, 2);
        add_block(c, channels, 1);
    }
    add_op(c, "GlobalAveragePool");
    add_op(c, "Flatten");
    step(c, out);
    kerf_onnx_dense(&c->g, c->at, out, 512, 10);
    take(c, out);
    add_op(c, "Softmax");
    kerf_onnx_output(&c->g, c->at, classes, 2);
}

static kerf_err
write_half(const char *dir, const char *prefix, void (*add)(cursor *c),
           uint64_t seed, kerf_detail *why)
{
    cursor c = {0};
    char name[64];
    char path[KERF_PATH_MAX];
    uint8_t *data = NULL;
    kerf_rope model = {0};
    kerf_err err;

    kerf_onnx_begin(&c.g, seed);
    add(&c);
    (void)snprintf(name, sizeof name, "%s%s.onnx", prefix, KERF_RESNET_NAME);
    kerf_onnx_finish(&c.g, KERF_RESNET_NAME, &model);
    err = kerf_rope_flatten(&model, &data);
    if (err == KERF_OK)
        err = kerf_path_join(path, dir, name);
    if (err == KERF_OK)
        err = kerf_fs_write(path, data, model.len, why);
    free(data);
    kerf_rope_fini(&model);
    return err;
}

kerf_err
kerf_resnet_write(const char *dir, kerf_detail *why)
{
    kerf_err err = write_half(dir, "client_infer_", add_head, SEED, why);

    if (err == KERF_OK)
        err = write_half(dir, "server_infer_", add_tail, SEED + 1, why);
    return err;
}
