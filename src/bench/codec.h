/*
 * codec.h - the reference's study of compression: a file through each method,
 * packed and unpacked from file to file by the code of kerf pack, and for some
 * also from memory to memory; beside what memcpy takes and the file's entropy.
 *
 * From file to file each measurement is a process of its own, forked from the
 * caller's, so that memory counts from nothing and Ctrl-C ends a long one. From
 * memory to memory a round is a process, in which the methods take turns on the
 * same buffers, each after a run that does not count.
 * Threads: one caller, in a process without other threads.
 */
#ifndef KERF_BENCH_CODEC_H
#define KERF_BENCH_CODEC_H

#include "bench/floor.h"
#include "bench/work.h"

#include <stdbool.h>

#define KERF_CODEC_METHODS_MOST 24
#define KERF_CODEC_NAME 32
#define KERF_CODEC_ROUNDS_MOST 1000

/* Seconds are medians of the rounds; 0: not measured. */
typedef struct kerf_codec_row {
    char method[KERF_CODEC_NAME];
    int threads, rounds;
    uint64_t bytes; /* packed */
    double pack_s, unpack_s;
    double memory_pack_s, memory_unpack_s;
    /* The most that it had besides the file itself; 0: not known. */
    double pack_kib, unpack_kib;
} kerf_codec_row;

typedef struct kerf_codec_file {
    char name[128]; /* folder and file */
    uint64_t bytes;
    kerf_floor floor;
    double memcpy_s;
    kerf_codec_row row[KERF_CODEC_METHODS_MOST];
    size_t row_count;
} kerf_codec_file;

typedef struct kerf_codec_opts {
    const char *work; /* folder for packed files; memory-backed is best */
    int rounds;       /* 1 to KERF_CODEC_ROUNDS_MOST */
    double once_s;    /* what takes longer than this is done once */
    const char *const *only; /* names of methods; count 0: all */
    size_t only_count;
    kerf_progress progress;
} kerf_codec_opts;

/* The number of methods, and the name of one. "kwz" is of one thread, "kwz-N"
 * of N, one per core, where there are several. */
size_t kerf_codec_methods(void);
const char *kerf_codec_method(size_t i);

/* Errors: KERF_ENOENT..., KERF_EMISMATCH (what comes back is another file),
 * KERF_EINTR (kerf_bench_interrupt()), KERF_EIO. */
KERF_NODISCARD kerf_err kerf_bench_codec(kerf_codec_file *out, const char *path,
                                         const kerf_codec_opts *opts,
                                         kerf_detail *why);

#endif
