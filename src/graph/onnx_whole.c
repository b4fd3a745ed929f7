#include "graph/onnx_whole.h"

#define DEPTH_MAX 128 /* protobuf itself stops at 100 */

enum {
    EXTERNAL_DATA = 13, /* fields of TensorProto */
    DATA_LOCATION = 14,
};

static const struct {
    kerf_onnx_message in;
    uint32_t number;
    kerf_onnx_message is;
} ways[] = {
    {KERF_ONNX_MODEL, 7, KERF_ONNX_GRAPH},
    {KERF_ONNX_MODEL, 20, KERF_ONNX_TRAINING},
    {KERF_ONNX_MODEL, 25, KERF_ONNX_FUNCTION},
    {KERF_ONNX_TRAINING, 1, KERF_ONNX_GRAPH},
    {KERF_ONNX_TRAINING, 2, KERF_ONNX_GRAPH},
    {KERF_ONNX_FUNCTION, 7, KERF_ONNX_NODE},
    {KERF_ONNX_FUNCTION, 11, KERF_ONNX_ATTRIBUTE},
    {KERF_ONNX_GRAPH, 1, KERF_ONNX_NODE},
    {KERF_ONNX_GRAPH, 5, KERF_ONNX_TENSOR},
    {KERF_ONNX_GRAPH, 15, KERF_ONNX_SPARSE},
    {KERF_ONNX_NODE, 5, KERF_ONNX_ATTRIBUTE},
    {KERF_ONNX_ATTRIBUTE, 5, KERF_ONNX_TENSOR},
    {KERF_ONNX_ATTRIBUTE, 6, KERF_ONNX_GRAPH},
    {KERF_ONNX_ATTRIBUTE, 10, KERF_ONNX_TENSOR},
    {KERF_ONNX_ATTRIBUTE, 11, KERF_ONNX_GRAPH},
    {KERF_ONNX_ATTRIBUTE, 22, KERF_ONNX_SPARSE},
    {KERF_ONNX_ATTRIBUTE, 23, KERF_ONNX_SPARSE},
    {KERF_ONNX_SPARSE, 1, KERF_ONNX_TENSOR},
    {KERF_ONNX_SPARSE, 2, KERF_ONNX_TENSOR},
};

struct level {
    kerf_rd r;
    kerf_onnx_message is;
    const uint8_t *at;
    size_t len;
    bool is_outside;
};

kerf_onnx_message
kerf_onnx_inside(kerf_onnx_message in, const kerf_wire_field *f)
{
    for (size_t i = 0; f->wire == 2 && i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].in == in && ways[i].number == f->number)
            return ways[i].is;
    }
    return KERF_ONNX_SKIP;
}

/* Not only EXTERNAL = 1: a parser keeps the low 32 bits. */
bool
kerf_onnx_is_outside(const kerf_wire_field *f)
{
    return (f->number == DATA_LOCATION && f->wire == 0 && f->value != 0) ||
           (f->number == EXTERNAL_DATA && f->wire == 2);
}

static struct level
enter(kerf_onnx_message is, const uint8_t *at, size_t len)
{
    return (struct level){
        .r = {.at = at, .left = len}, .is = is, .at = at, .len = len};
}

/* all: every tensor is seen, else those with data outside. */
static kerf_err
walk(kerf_onnx_message is, const void *data, size_t len, bool all,
     kerf_onnx_see *see, void *context, kerf_detail *why)
{
    struct level level[DEPTH_MAX];
    kerf_wire_field f;
    size_t depth = 1;
    kerf_err err = KERF_OK;

    level[0] = enter(is, data, len);
    while (err == KERF_OK && depth > 0) {
        struct level *at = &level[depth - 1];

        if (!kerf_wire_next(&at->r, &f)) {
            if (at->r.bad)
                return kerf_fail(why, KERF_ECORRUPT,
                                 "the .onnx is not a whole ONNX model");
            if (at->is_outside || (all && at->is == KERF_ONNX_TENSOR))
                err = see(context, at->at, at->len, why);
            depth--;
            continue;
        }
        at->is_outside |=
            at->is == KERF_ONNX_TENSOR && kerf_onnx_is_outside(&f);
        is = kerf_onnx_inside(at->is, &f);
        if (is == KERF_ONNX_SKIP)
            continue;
        if (depth == DEPTH_MAX)
            return kerf_fail(why, KERF_ETOOBIG,
                             "the .onnx is nested deeper than %d messages",
                             DEPTH_MAX);
        level[depth++] = enter(is, f.bytes, f.len);
    }
    return err;
}

kerf_err
kerf_onnx_each_outside(kerf_onnx_message is, const void *data, size_t len,
                       kerf_onnx_see *see, void *context, kerf_detail *why)
{
    return walk(is, data, len, false, see, context, why);
}

kerf_err
kerf_onnx_each_tensor(const void *data, size_t len, kerf_onnx_see *see,
                      void *context, kerf_detail *why)
{
    return walk(KERF_ONNX_MODEL, data, len, true, see, context, why);
}

static kerf_err
refuse(void *context, const uint8_t *tensor, size_t len, kerf_detail *why)
{
    (void)context;
    (void)tensor;
    (void)len;
    return kerf_fail(why, KERF_ENOTSUP,
                     "the .onnx keeps weights outside the file: save it with "
                     "the weights inside");
}

kerf_err
kerf_onnx_check_whole(const void *data, size_t len, kerf_detail *why)
{
    return kerf_onnx_each_outside(KERF_ONNX_MODEL, data, len, refuse, NULL,
                                  why);
}
