#include "graph/weights.h"

#include "graph/onnx_own.h"
#include "graph/pdiparams.h"

#include <stdlib.h>

struct found {
    const uint8_t *data;
    kerf_segment *at;
    size_t count, room;
};

/* After how many elements the channel is the same again, be it of the last
 * dimension, as in products with matrices, or of the second one. */
static uint32_t
columns_of(const kerf_shape *shape)
{
    const int64_t kernel = 16; /* of a convolution, not channels */
    uint64_t all = 1;

    if (shape->rank < 2)
        return 0;
    if (shape->dims[shape->rank - 1] >= kernel)
        all = (uint64_t)shape->dims[shape->rank - 1];
    else
        for (uint32_t i = 1; i < shape->rank && all <= UINT32_MAX; i++)
            all *= shape->dims[i] > 0 ? (uint64_t)shape->dims[i] : 0;
    return all <= UINT32_MAX ? (uint32_t)all : 0;
}

static kerf_err
add(struct found *found, const uint8_t *bytes, size_t len, kerf_dtype dtype,
    const kerf_shape *shape)
{
    if (len == 0)
        return KERF_OK;
    if (found->count == found->room) {
        size_t room = found->room > 0 ? 2 * found->room : 256;
        kerf_segment *grown = reallocarray(found->at, room, sizeof *found->at);

        if (grown == NULL)
            return KERF_ENOMEM;
        found->at = grown;
        found->room = room;
    }
    found->at[found->count++] =
        (kerf_segment){.offset = (size_t)(bytes - found->data),
                       .len = len,
                       .dtype = dtype,
                       .columns = columns_of(shape)};
    return KERF_OK;
}

static kerf_err
find_paddle(struct found *found, size_t len)
{
    kerf_rd r = {.at = found->data, .left = len};
    kerf_pd_record record;
    kerf_err err = KERF_OK;

    while (err == KERF_OK && r.left > 0 &&
           kerf_pd_record_read(&r, &record) == KERF_OK)
        err = add(found, record.data, record.data_len, record.desc.dtype,
                  &record.desc.shape);
    return err;
}

/* One tensor: its raw bytes, or packed floats. */
static kerf_err
see_onnx(void *context, const uint8_t *tensor, size_t len, kerf_detail *why)
{
    kerf_rd r = {.at = tensor, .left = len};
    kerf_onnx_tensor t = {0};
    kerf_wire_field f;
    kerf_err err = KERF_OK;

    (void)why;
    if (kerf_onnx_tensor_read(&t, tensor, len, NULL) != KERF_OK ||
        t.type != KERF_VALUE_TENSOR)
        return KERF_OK; /* other bytes, then */
    while (err == KERF_OK && kerf_wire_next(&r, &f)) {
        if (f.wire == 2 &&
            (f.number == ONNX_TENSOR_RAW ||
             (f.number == ONNX_TENSOR_FLOATS && t.dtype == KERF_F32) ||
             (f.number == ONNX_TENSOR_DOUBLES && t.dtype == KERF_F64)))
            err = add(context, f.bytes, f.len, t.dtype, &t.shape);
    }
    return err;
}

kerf_err
kerf_weights_find(const uint8_t *data, size_t len, kerf_segment **out,
                  size_t *count)
{
    struct found found = {.data = data};
    kerf_err err = find_paddle(&found, len);

    if (err == KERF_OK && found.count == 0 &&
        kerf_wire_has(data, len, ONNX_MODEL_GRAPH))
        err = kerf_onnx_each_tensor(data, len, see_onnx, &found, NULL);
    if (err == KERF_ENOMEM) {
        free(found.at);
        return err;
    }
    *out = found.at;
    *count = found.count;
    return KERF_OK;
}
