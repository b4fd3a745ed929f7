#include "graph/onnx_whole.h"

#include "graph/wire.h"

#define DEPTH_MAX 128 /* protobuf itself stops at 100 */

/* onnx.proto: the messages on the way from a model to its tensors. */
enum message {
    SKIP = 0,
    MODEL,
    TRAINING,
    FUNCTION,
    GRAPH,
    NODE,
    ATTRIBUTE,
    SPARSE,
    TENSOR,
};

enum {
    EXTERNAL_DATA = 13, /* fields of TensorProto */
    DATA_LOCATION = 14,
};

static const struct {
    enum message in;
    uint32_t number;
    enum message is;
} ways[] = {
    {MODEL, 7, GRAPH},         {MODEL, 20, TRAINING},   {MODEL, 25, FUNCTION},
    {TRAINING, 1, GRAPH},      {TRAINING, 2, GRAPH},    {FUNCTION, 7, NODE},
    {FUNCTION, 11, ATTRIBUTE}, {GRAPH, 1, NODE},        {GRAPH, 5, TENSOR},
    {GRAPH, 15, SPARSE},       {NODE, 5, ATTRIBUTE},    {ATTRIBUTE, 5, TENSOR},
    {ATTRIBUTE, 6, GRAPH},     {ATTRIBUTE, 10, TENSOR}, {ATTRIBUTE, 11, GRAPH},
    {ATTRIBUTE, 22, SPARSE},   {ATTRIBUTE, 23, SPARSE}, {SPARSE, 1, TENSOR},
    {SPARSE, 2, TENSOR},
};

struct level {
    kerf_rd r;
    enum message is;
};

static enum message
find_way(enum message in, const kerf_wire_field *f)
{
    for (size_t i = 0; f->wire == 2 && i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].in == in && ways[i].number == f->number)
            return ways[i].is;
    }
    return SKIP;
}

/* Not only EXTERNAL = 1: a parser keeps the low 32 bits. */
static bool
is_outside(const kerf_wire_field *f)
{
    return (f->number == DATA_LOCATION && f->wire == 0 && f->value != 0) ||
           (f->number == EXTERNAL_DATA && f->wire == 2);
}

kerf_err
kerf_onnx_check_whole(const void *data, size_t len, kerf_detail *why)
{
    struct level level[DEPTH_MAX];
    kerf_wire_field f;
    size_t depth = 1;

    level[0] = (struct level){.r = {.at = data, .left = len}, .is = MODEL};
    while (depth > 0) {
        struct level *at = &level[depth - 1];
        enum message is;

        if (!kerf_wire_next(&at->r, &f)) {
            if (at->r.bad)
                return kerf_fail(why, KERF_ECORRUPT,
                                 "the .onnx is not a whole ONNX model");
            depth--;
            continue;
        }
        if (at->is == TENSOR && is_outside(&f))
            return kerf_fail(why, KERF_ENOTSUP,
                             "the .onnx keeps weights outside the file: save "
                             "it with the weights inside");
        is = find_way(at->is, &f);
        if (is == SKIP)
            continue;
        if (depth == DEPTH_MAX)
            return kerf_fail(why, KERF_ETOOBIG,
                             "the .onnx is nested deeper than %d messages",
                             DEPTH_MAX);
        level[depth++] = (struct level){.r = kerf_wire_inside(&f), .is = is};
    }
    return KERF_OK;
}
