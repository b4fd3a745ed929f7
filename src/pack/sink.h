/*
 * sink.h - a file that is whole or not there: bytes go to a temporary file,
 * which takes the name at the end. Also standard output, by way of a temporary
 * file where bytes are read back or nothing may come out before all is right;
 * and memory of the caller's.
 * Threads: one.
 */
#ifndef KERF_PACK_SINK_H
#define KERF_PACK_SINK_H

#include "base/fs.h"

#include <sys/types.h>

typedef struct kerf_sink {
    int fd;          /* -1: closed */
    bool is_out;     /* standard output is behind it */
    uint8_t *memory; /* NULL, or where the bytes go instead of a file */
    char path[KERF_PATH_MAX], temp[KERF_PATH_MAX]; /* temp "": no name */
    uint64_t len, most; /* bytes so far, and at most */
} kerf_sink;

#define KERF_SINK_NONE \
    {                  \
        .fd = -1       \
    }

/* path NULL: standard output. is_new: path must not be there yet. most: bytes,
 * then KERF_ETOOBIG. Errors: KERF_EINVAL (there already), KERF_EIO... */
KERF_NODISCARD kerf_err kerf_sink_open(kerf_sink *sink, const char *path,
                                       bool is_new, uint64_t most,
                                       kerf_detail *why);
/* Bytes go to memory[0..room), the caller's. It has nothing to commit. */
void kerf_sink_open_memory(kerf_sink *sink, uint8_t *memory, size_t room);
KERF_NODISCARD kerf_err kerf_sink_write(kerf_sink *sink, const void *data,
                                        size_t len, kerf_detail *why);
/* Where its bytes [offset, offset + len) will be, for who makes them there; to
 * write what is there already costs nothing. NULL: it is a file, or has no room
 * for so many. */
uint8_t *kerf_sink_place(const kerf_sink *sink, uint64_t offset, size_t len);
/* Bytes that were written before; ctx: the sink. kerf_recall of codec. */
bool kerf_sink_recall(void *sink, uint64_t offset, uint8_t *to, size_t len);
/* Puts it in place, with these permissions and time (s; 0: now). Closes it. */
KERF_NODISCARD kerf_err kerf_sink_commit(kerf_sink *sink, mode_t mode,
                                         int64_t mtime, kerf_detail *why);
void kerf_sink_drop(kerf_sink *sink); /* of an open or closed one */

/* A file without a name, for what must be read twice. */
KERF_NODISCARD kerf_err kerf_temp_fd(int *fd, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_write_all(int fd, const void *data, size_t len,
                                       const char *name, kerf_detail *why);

#endif
