/*
 * fs.h - files: read whole within a limit, write whole or not at all.
 * Threads: any, on different paths.
 */
#ifndef KERF_BASE_FS_H
#define KERF_BASE_FS_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_PATH_MAX 1024

/* "dir/name" into out[KERF_PATH_MAX]; KERF_ETOOBIG when it does not fit. */
KERF_NODISCARD kerf_err kerf_path_join(char out[KERF_PATH_MAX], const char *dir,
                                       const char *name);
const char *kerf_path_base(const char *path); /* after the last '/' */
/* What stands before the base, "." when nothing does: "a/" of "a/b". Returns
 * out; path is shorter than KERF_PATH_MAX. */
char *kerf_path_dir(char out[KERF_PATH_MAX], const char *path);
bool kerf_path_ends(const char *path, const char *suffix);

/* Opens a regular file to read. Errors: KERF_ENOENT, KERF_EINVAL (no regular
 * file), KERF_ETOOBIG (over max_bytes), KERF_EIO. */
KERF_NODISCARD kerf_err kerf_fs_open(int *fd, const char *path,
                                     size_t max_bytes, size_t *len,
                                     kerf_detail *why);
/* The bytes of a regular file into *data (free() it; a 0 byte follows them).
 * Errors: those of kerf_fs_open(), KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_fs_read(const char *path, size_t max_bytes,
                                     uint8_t **data, size_t *len,
                                     kerf_detail *why);

/* All of these bytes of an open file; false: it has not got them. */
bool kerf_fs_read_at(int fd, uint64_t offset, uint8_t *to, size_t len);

/* Writes a temporary file beside path, syncs it, renames it over path and syncs
 * the folder: it is there after a power failure, too. On any failure the
 * temporary file is gone, and path is as it was; only when the folder cannot be
 * synced it may be the new one. Errors: KERF_ENOSPC, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_fs_write(const char *path, const void *data,
                                      size_t len, kerf_detail *why);
/* The same with this mode, in place of 0644. */
KERF_NODISCARD kerf_err kerf_fs_write_mode(const char *path, const void *data,
                                           size_t len, unsigned mode,
                                           kerf_detail *why);

/* Syncs the folder that path is in: what was renamed there stays. 0, or an
 * errno. */
int kerf_fs_sync_folder(const char *path);
/* Likewise, an open folder. */
int kerf_fs_sync_dir(int fd);

/* mkdir -p. */
KERF_NODISCARD kerf_err kerf_fs_mkdirs(const char *path, kerf_detail *why);

/* Cheap identity of a file as it is now (device, inode, size, times); 0 when it
 * is not there. */
uint64_t kerf_fs_stamp(const char *path);

bool kerf_fs_exists(const char *path);
bool kerf_fs_is_dir(const char *path);

/* errno as kerf_err: ENOSPC, EDQUOT, EFBIG -> KERF_ENOSPC; ENOENT, ENOTDIR ->
 * KERF_ENOENT; ENOMEM; EADDRINUSE; others KERF_EIO. */
kerf_err kerf_err_from_errno(int code);

typedef struct kerf_names {
    char **name; /* sorted byte-wise */
    size_t count;
} kerf_names;

/* Names in dir that do not start with a dot, at most `most`. */
KERF_NODISCARD kerf_err kerf_fs_list(const char *dir, size_t most,
                                     kerf_names *out, kerf_detail *why);
/* The same of an open folder. */
KERF_NODISCARD kerf_err kerf_fs_list_at(int fd, size_t most, kerf_names *out);
void kerf_names_free(kerf_names *names);

/* Raises this process's limit of open files as far as it may: how many it may
 * have open now. */
size_t kerf_fs_raise_files(void);

#endif
