/*
 * tensor.h - dtype, shape and a view of tensor data.
 *
 * A tensor here is dense and row-major. A view does not own its data.
 * Threads: values; as safe as the memory they point to.
 */
#ifndef KERF_TENSOR_H
#define KERF_TENSOR_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERF_RANK_MAX 8
/* One tensor on the wire or in a file; 1 GiB. */
#define KERF_TENSOR_BYTES_MAX ((size_t)1 << 30)
/* Data of a received or computed tensor starts at a multiple of this. */
#define KERF_TENSOR_ALIGN 64

/* Sent on the wire: append, never renumber. */
typedef enum kerf_dtype {
    KERF_F32 = 0,
    KERF_F16 = 1,
    KERF_BF16 = 2,
    KERF_F64 = 3,
    KERF_U8 = 4,
    KERF_I8 = 5,
    KERF_U16 = 6,
    KERF_I16 = 7,
    KERF_U32 = 8,
    KERF_I32 = 9,
    KERF_U64 = 10,
    KERF_I64 = 11,
    KERF_BOOL = 12, /* one byte, 0 or 1 */
    KERF_DTYPE_COUNT
} kerf_dtype;

KERF_API size_t kerf_dtype_size(kerf_dtype dtype);      /* bytes; 0: unknown */
KERF_API const char *kerf_dtype_name(kerf_dtype dtype); /* "f32", "?" */
KERF_API bool kerf_dtype_from_name(const char *name, kerf_dtype *out);

/* rank 0 is a scalar (one element); a dim of 0 makes the tensor empty. */
typedef struct kerf_shape {
    uint32_t rank;
    int64_t dims[KERF_RANK_MAX]; /* -1 in a model's port: not fixed */
} kerf_shape;

KERF_API bool kerf_shape_equal(const kerf_shape *a, const kerf_shape *b);
KERF_API bool kerf_shape_is_static(const kerf_shape *s);

/* Product of the dims. KERF_EINVAL for a negative dim or rank over the limit,
 * KERF_ETOOBIG when it does not fit. */
KERF_API KERF_NODISCARD kerf_err kerf_shape_count(const kerf_shape *s,
                                                  size_t *count);
/* count * dtype size; KERF_ETOOBIG over KERF_TENSOR_BYTES_MAX. */
KERF_API KERF_NODISCARD kerf_err kerf_shape_bytes(const kerf_shape *s,
                                                  kerf_dtype dtype,
                                                  size_t *bytes);
/* "(1, 64, 8, 8)", "(3,)", "()" as Python prints it; "?" for -1. Returns out.
 */
#define KERF_SHAPE_TEXT 192
KERF_API char *kerf_shape_text(char out[KERF_SHAPE_TEXT], const kerf_shape *s);

/* A tensor whose memory belongs to somebody else. */
typedef struct kerf_tensor {
    kerf_dtype dtype;
    kerf_shape shape;
    void *data;
    size_t bytes;
} kerf_tensor;

/* Fills t with new zeroed memory, aligned to KERF_TENSOR_ALIGN (never NULL,
 * also when empty). Errors: those of kerf_shape_bytes(), KERF_ENOMEM. */
KERF_API KERF_NODISCARD kerf_err kerf_tensor_alloc(kerf_tensor *t,
                                                   kerf_dtype dtype,
                                                   const kerf_shape *shape);
/* Only for what kerf_tensor_alloc() filled, or a zeroed tensor. */
KERF_API void kerf_tensor_free(kerf_tensor *t);
/* Each of t[0..count); t may be NULL. */
KERF_API void kerf_tensors_free(kerf_tensor *t, size_t count);

/* Element i as double (any dtype; i < count). */
KERF_API double kerf_tensor_at(const kerf_tensor *t, size_t i);

/* Fills with the seeded probe input: floats in [0, 1) by splitmix64 in
 * row-major order, integers 0 or 1 (next() >> 63). state runs on over the
 * inputs of one probe; it starts as the seed. */
KERF_API void kerf_tensor_fill_seeded(kerf_tensor *t, uint64_t *state);

#ifdef __cplusplus
}
#endif
#endif
