/*
 * pack.h - files and folders to packed files, and back.
 *
 * Nothing is left half-written: what is made takes its name when it is whole.
 * Threads: one caller; a job uses as many threads as it is told.
 */
#ifndef KERF_PACK_PACK_H
#define KERF_PACK_PACK_H

#include "base/fs.h"

#include <signal.h>

typedef enum kerf_pack_format {
    KERF_PACK_KWZ = 0,
    KERF_PACK_GZIP,
    KERF_PACK_BZ2,
    KERF_PACK_XZ,
    KERF_PACK_ZIP,
    KERF_PACK_TAR_GZ,
    KERF_PACK_ZST,
    KERF_PACK_FORMATS
} kerf_pack_format;

extern const char *const kerf_pack_names[KERF_PACK_FORMATS];
extern const char *const kerf_pack_suffixes[KERF_PACK_FORMATS];

typedef struct kerf_pack_job {
    kerf_pack_format format; /* packing */
    int level;     /* 0: the format's usual one; else 1 to 9; zst: 19 */
    int threads;   /* 1 to 64 */
    bool force;    /* overwrite what is there */
    uint64_t most; /* bytes that may come out of unpacking */
    /* Where to: packing, a file; unpacking, a folder; "-": standard output;
     * NULL: beside what is read. */
    const char *to;
    /* Called now and then; size 0: not known. May be NULL. */
    void (*progress)(void *ctx, const char *name, uint64_t got, uint64_t size);
    void *ctx;
    /* Not 0, as set by a signal handler: end with KERF_EINTR, leaving nothing.
     * May be NULL. */
    const volatile sig_atomic_t *stop;
} kerf_pack_job;

typedef struct kerf_pack_result {
    kerf_pack_format format;
    char to[KERF_PATH_MAX]; /* a file, or the folder that files went to */
    uint64_t in, out;       /* bytes: of the contents before, and after */
    size_t files;
} kerf_pack_result;

/* path "-": standard input (not for zip and tar.gz, which are of named files).
 * Errors: KERF_ENOENT, KERF_EINVAL (there already, a folder in a format for
 * single files), KERF_ETOOBIG, KERF_ENOSPC, KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_pack(const kerf_pack_job *job, const char *path,
                                  kerf_pack_result *result, kerf_detail *why);

/* The file's first bytes tell its format. Errors: as above, and KERF_ECORRUPT,
 * KERF_ENOTSUP (no format that is known), KERF_EVERSION. */
KERF_NODISCARD kerf_err kerf_unpack(const kerf_pack_job *job, const char *path,
                                    kerf_pack_result *result, kerf_detail *why);

/* Which part of a .kwz. */
typedef struct kerf_unpack_one {
    const char *only;   /* name of the file in it; NULL: the only one */
    const char *tensor; /* name or number (look.h); NULL: the whole file */
} kerf_unpack_one;

/* That part alone: blocks that it does not need are not read. A file takes the
 * last part of its name; a tensor is its elements as they stand, little-endian,
 * in NAME.NUMBER.raw. Of the job: to, force, most. result->in is 0. Errors: as
 * above, and KERF_ENOENT (no such file or tensor). */
KERF_NODISCARD kerf_err kerf_unpack_only(const kerf_pack_job *job,
                                         const kerf_unpack_one *one,
                                         const char *path,
                                         kerf_pack_result *result,
                                         kerf_detail *why);

/* A file's bytes to a .kwz without a name and back, from memory to memory.
 * Of the job: level, threads, most, progress. KERF_ETOOBIG: out has no room;
 * unpacking bytes of the same length as they came from needs no more.
 * KERF_ENOMEM, KERF_ECORRUPT, KERF_EVERSION. */
KERF_NODISCARD kerf_err kerf_kwz_pack_bytes(const kerf_pack_job *job,
                                            const uint8_t *data, size_t len,
                                            uint8_t *out, size_t room,
                                            size_t *out_len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_kwz_unpack_bytes(const kerf_pack_job *job,
                                              const uint8_t *data, size_t len,
                                              uint8_t *out, size_t room,
                                              size_t *out_len,
                                              kerf_detail *why);

#endif
