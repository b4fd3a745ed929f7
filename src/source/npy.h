/*
 * npy.h - NumPy's .npy files, versions 1 to 3: little-endian, C order.
 * Threads: pure.
 */
#ifndef KERF_SOURCE_NPY_H
#define KERF_SOURCE_NPY_H

#include "kerf/tensor.h"

/* Reads the header: *out becomes a view into data. Errors: KERF_ECORRUPT,
 * KERF_ENOTSUP (big-endian, Fortran order, a dtype that we lack),
 * KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_npy_view(kerf_tensor *out, const uint8_t *data,
                                      size_t len, kerf_detail *why);

#define KERF_NPY_HEAD_MAX 512
/* The bytes that go before t's data in a file: *len of them. bf16 has no .npy
 * form: KERF_ENOTSUP. */
KERF_NODISCARD kerf_err kerf_npy_head(uint8_t out[KERF_NPY_HEAD_MAX],
                                      size_t *len, const kerf_tensor *t);

/* The dtype of a file, by its header alone. Errors: those of kerf_npy_view(),
 * but not what only the data shows; KERF_ENOENT, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_npy_dtype(kerf_dtype *out, const char *path,
                                       kerf_detail *why);

/* Reads a file into new memory -> kerf_tensor_free(). */
KERF_NODISCARD kerf_err kerf_npy_read(kerf_tensor *out, const char *path,
                                      kerf_detail *why);
/* Writes a file; bf16 is written as f32. */
KERF_NODISCARD kerf_err kerf_npy_write(const char *path, const kerf_tensor *t,
                                       kerf_detail *why);

#endif
