/*
 * look.h - a .kwz looked into: what files and tensors are in it, and the bytes
 * of one of them. Blocks that are not asked for are not read.
 *
 * Threads: one.
 */
#ifndef KERF_PACK_LOOK_H
#define KERF_PACK_LOOK_H

#include "base/map.h"
#include "codec/kwz.h"

/* Zeroed: nothing. All of it is read-only. */
typedef struct kerf_look {
    kerf_map map;
    kerf_kwz_index index;
    kerf_block_coder *coder;
    char ***names; /* [index.file_count]: of its tensors, or NULL */
} kerf_look;

/* A container without an index (it is of one block) is decoded for its tensors.
 * Errors: KERF_ENOENT, KERF_ENOTSUP (not a .kwz), KERF_ECORRUPT, KERF_EVERSION,
 * KERF_ENOMEM, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_look_open(kerf_look *look, const char *path,
                                       kerf_detail *why);
void kerf_look_close(kerf_look *look); /* accepts a zeroed one; zeroes it */

/* The file of that name; NULL: the only one. Errors: KERF_ENOENT, KERF_EINVAL
 * (no name, and more than one file). */
KERF_NODISCARD kerf_err kerf_look_file(const kerf_look *look, const char *name,
                                       size_t *file, kerf_detail *why);

/* The tensor of that name or number (from 0) of a file. Paddle's names come
 * from the program: NAME.pdmodel beside NAME.pdiparams in the container.
 * Errors: KERF_ENOENT. */
KERF_NODISCARD kerf_err kerf_look_tensor(const kerf_look *look, size_t file,
                                         const char *name, size_t *tensor,
                                         kerf_detail *why);
/* Its name, or NULL. */
const char *kerf_look_tensor_name(const kerf_look *look, size_t file,
                                  size_t tensor);

/* Where to it is written; ctx: the caller's. */
typedef kerf_err kerf_look_write(void *ctx, const void *data, size_t len,
                                 kerf_detail *why);

/* Bytes [offset, offset + len) of a file, block by block, each checked.
 * Errors: KERF_EINVAL (outside), KERF_ECORRUPT, KERF_ENOMEM, and the
 * callback's. */
KERF_NODISCARD kerf_err kerf_look_read(const kerf_look *look, size_t file,
                                       uint64_t offset, uint64_t len,
                                       kerf_look_write *write, void *ctx,
                                       kerf_detail *why);

#endif
