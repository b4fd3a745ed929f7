#include "kerf/tensor.h"

#include "base/bytes.h"
#include "base/large.h"
#include "base/rng.h"
#include "tensor/half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(KERF_LARGE_ALIGN >= KERF_TENSOR_ALIGN, "as kerf/tensor.h says");

static const struct {
    const char *name;
    size_t size;
} dtypes[KERF_DTYPE_COUNT] = {
    [KERF_F32] = {"f32", 4},   [KERF_F16] = {"f16", 2},
    [KERF_BF16] = {"bf16", 2}, [KERF_F64] = {"f64", 8},
    [KERF_U8] = {"u8", 1},     [KERF_I8] = {"i8", 1},
    [KERF_U16] = {"u16", 2},   [KERF_I16] = {"i16", 2},
    [KERF_U32] = {"u32", 4},   [KERF_I32] = {"i32", 4},
    [KERF_U64] = {"u64", 8},   [KERF_I64] = {"i64", 8},
    [KERF_BOOL] = {"bool", 1},
};

size_t
kerf_dtype_size(kerf_dtype dtype)
{
    return (unsigned)dtype < KERF_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

const char *
kerf_dtype_name(kerf_dtype dtype)
{
    return (unsigned)dtype < KERF_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

bool
kerf_dtype_from_name(const char *name, kerf_dtype *out)
{
    for (int i = 0; i < KERF_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = (kerf_dtype)i;
            return true;
        }
    }
    return false;
}

bool
kerf_shape_equal(const kerf_shape *a, const kerf_shape *b)
{
    return a->rank == b->rank && a->rank <= KERF_RANK_MAX &&
           memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0;
}

bool
kerf_shape_is_static(const kerf_shape *s)
{
    for (uint32_t i = 0; i < s->rank && i < KERF_RANK_MAX; i++) {
        if (s->dims[i] < 0)
            return false;
    }
    return true;
}

kerf_err
kerf_shape_count(const kerf_shape *s, size_t *count)
{
    size_t n = 1;

    if (s->rank > KERF_RANK_MAX || !kerf_shape_is_static(s))
        return KERF_EINVAL;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dims[i] == 0) {
            *count = 0;
            return KERF_OK;
        }
    }
    for (uint32_t i = 0; i < s->rank; i++) {
        if (!kerf_size_mul(n, (size_t)s->dims[i], &n))
            return KERF_ETOOBIG;
    }
    *count = n;
    return KERF_OK;
}

kerf_err
kerf_shape_bytes(const kerf_shape *s, kerf_dtype dtype, size_t *bytes)
{
    size_t size = kerf_dtype_size(dtype);
    size_t count = 0;
    size_t n;
    kerf_err err;

    if (size == 0)
        return KERF_EINVAL;
    err = kerf_shape_count(s, &count);
    if (err != KERF_OK)
        return err;
    if (!kerf_size_mul(count, size, &n) || n > KERF_TENSOR_BYTES_MAX)
        return KERF_ETOOBIG;
    *bytes = n;
    return KERF_OK;
}

char *
kerf_shape_text(char out[KERF_SHAPE_TEXT], const kerf_shape *s)
{
    size_t used = 1;

    out[0] = '(';
    for (uint32_t i = 0; i < s->rank && i < KERF_RANK_MAX; i++) {
        const char *comma = i + 1 < s->rank ? ", " : s->rank == 1 ? "," : "";
        int n;

        if (s->dims[i] < 0)
            n = snprintf(out + used, KERF_SHAPE_TEXT - used, "?%s", comma);
        else
            n = snprintf(out + used, KERF_SHAPE_TEXT - used, "%lld%s",
                         (long long)s->dims[i], comma);
        used += n < 0 ? 0 : (size_t)n;
    }
    (void)snprintf(out + used, KERF_SHAPE_TEXT - used, ")");
    return out;
}

kerf_err
kerf_tensor_alloc(kerf_tensor *t, kerf_dtype dtype, const kerf_shape *shape)
{
    size_t bytes = 0;
    size_t room;
    void *data;
    kerf_err err = kerf_shape_bytes(shape, dtype, &bytes);

    if (err != KERF_OK)
        return err;
    room = kerf_align_up(bytes == 0 ? 1 : bytes, KERF_TENSOR_ALIGN);
    data = kerf_large_alloc(room);
    if (data == NULL)
        return KERF_ENOMEM;
    memset(data, 0, room);
    *t = (kerf_tensor){
        .dtype = dtype, .shape = *shape, .data = data, .bytes = bytes};
    return KERF_OK;
}

void
kerf_tensor_free(kerf_tensor *t)
{
    free(t->data);
    *t = (kerf_tensor){0};
}

void
kerf_tensors_free(kerf_tensor *t, size_t count)
{
    for (size_t i = 0; t != NULL && i < count; i++)
        kerf_tensor_free(&t[i]);
}

#define READ_AS(type)                                                  \
    do {                                                               \
        type v;                                                        \
        memcpy(&v, (const uint8_t *)t->data + i * sizeof v, sizeof v); \
        return (double)v;                                              \
    } while (0)

double
kerf_tensor_at(const kerf_tensor *t, size_t i)
{
    uint16_t half = 0;

    switch (t->dtype) {
    case KERF_F32:
        READ_AS(float);
    case KERF_F64:
        READ_AS(double);
    case KERF_U8:
    case KERF_BOOL:
        READ_AS(uint8_t);
    case KERF_I8:
        READ_AS(int8_t);
    case KERF_U16:
        READ_AS(uint16_t);
    case KERF_I16:
        READ_AS(int16_t);
    case KERF_U32:
        READ_AS(uint32_t);
    case KERF_I32:
        READ_AS(int32_t);
    case KERF_U64:
        READ_AS(uint64_t);
    case KERF_I64:
        READ_AS(int64_t);
    case KERF_F16:
        memcpy(&half, (const uint8_t *)t->data + i * 2, 2);
        return (double)kerf_f16_to_f32(half);
    case KERF_BF16:
        memcpy(&half, (const uint8_t *)t->data + i * 2, 2);
        return (double)kerf_bf16_to_f32(half);
    case KERF_DTYPE_COUNT:
        break;
    }
    return 0.0;
}

static void
store_seeded(kerf_tensor *t, size_t i, uint64_t *state)
{
    size_t size = kerf_dtype_size(t->dtype);
    uint8_t *at = (uint8_t *)t->data + i * size;
    bool is_float = t->dtype == KERF_F32 || t->dtype == KERF_F64 ||
                    t->dtype == KERF_F16 || t->dtype == KERF_BF16;

    if (is_float) {
        float f = kerf_rng_unit(state);
        double d = (double)f;
        uint16_t half =
            t->dtype == KERF_F16 ? kerf_f32_to_f16(f) : kerf_f32_to_bf16(f);

        if (t->dtype == KERF_F32)
            memcpy(at, &f, sizeof f);
        else if (t->dtype == KERF_F64)
            memcpy(at, &d, sizeof d);
        else
            memcpy(at, &half, sizeof half);
    } else {
        memset(at, 0, size);
        at[0] = (uint8_t)(kerf_rng_next(state) >> 63); /* little-endian host */
    }
}

void
kerf_tensor_fill_seeded(kerf_tensor *t, uint64_t *state)
{
    size_t size = kerf_dtype_size(t->dtype);
    size_t count = size == 0 ? 0 : t->bytes / size;

    for (size_t i = 0; i < count; i++)
        store_seeded(t, i, state);
}
