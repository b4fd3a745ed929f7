/*
 * store_own.h - the inside of the store: store.c (bundles), store_fs.c (files
 * in its folders), store_incoming.c, store_seeds.c, store_old.c.
 */
#ifndef KERF_MODEL_STORE_OWN_H
#define KERF_MODEL_STORE_OWN_H

#include "model/store.h"

#define KERF_STORE_FILES_MOST 65536         /* looked at in a folder */
#define KERF_STORE_NAME 80                  /* HEX.json, a temporary one */
#define KERF_STORE_STEP ((size_t)256 << 10) /* read and hashed at once */
#define KERF_MANIFEST_END ".json"

/* A folder of the store, open. */
typedef enum kerf_store_dir {
    KERF_STORE_ROOT = 0,
    KERF_STORE_PARTS,
    KERF_STORE_PARTIAL,
    KERF_STORE_BUNDLES,
    KERF_STORE_DIRS
} kerf_store_dir;

struct kerf_store {
    int dir[KERF_STORE_DIRS];
    char path[KERF_PATH_MAX];
};

/* store_fs.c */

/* Its name, for messages. */
const char *kerf_store_dir_name(kerf_store_dir dir);
/* KERF_ENOSPC, KERF_ENOMEM or KERF_EIO, by errno. what: the file, for people.
 */
kerf_err kerf_store_fail(const kerf_store *store, const char *what, int code,
                         kerf_detail *why);
/* Opens a regular file to read; what else stands there is not one. It never
 * waits and follows no link. -1: errno. */
int kerf_store_open_file(const kerf_store *store, kerf_store_dir dir,
                         const char *name, uint64_t *size);
/* The whole file -> free(). KERF_ENOENT also for what is no regular file. */
KERF_NODISCARD kerf_err kerf_store_read(const kerf_store *store,
                                        kerf_store_dir dir, const char *name,
                                        uint64_t most, uint8_t **data,
                                        size_t *len, kerf_detail *why);
/* A new locked temporary file there; -1, errno. */
int kerf_store_temp(const kerf_store *store, kerf_store_dir dir,
                    char name[KERF_STORE_NAME]);
/* Syncs the file, gives it its name in `to`, and syncs that folder. What is no
 * file in its place is put aside. 0, or an errno: it has its old name then, or
 * both may be. */
int kerf_store_publish(const kerf_store *store, int fd, kerf_store_dir from,
                       const char *temp, kerf_store_dir to, const char *name);
/* Removes what stands there, if it is not a file that may be written to. */
int kerf_store_clear(const kerf_store *store, kerf_store_dir dir,
                     const char *name);
/* A whole file, crash-safe. 0, or an errno. */
int kerf_store_write(const kerf_store *store, kerf_store_dir dir,
                     const char *name, const void *data, size_t len);
/* Removes temporary files of processes that are gone. */
void kerf_store_clean(const kerf_store *store, kerf_store_dir dir);
/* All of len bytes to offset; 0, or an errno. *done: how many were written. */
int kerf_store_write_at(int fd, uint64_t offset, const void *data, size_t len,
                        size_t *done);
/* Hashes len bytes from offset on; and copies them to `to` unless that is -1.
 * False: they cannot be read (or written). step: KERF_STORE_STEP bytes. */
bool kerf_store_hash(kerf_sha256 *hash, int fd, uint64_t offset, uint64_t len,
                     int to, uint64_t to_offset, uint8_t *step);

/* store.c */

void kerf_store_part_name(char out[KERF_STORE_NAME], const kerf_file *file);
/* Whether an open file of its size has its hash. */
bool kerf_store_is(int fd, const kerf_file *file);
/* A stored manifest. Its name must be that of its id. */
KERF_NODISCARD kerf_err kerf_store_manifest(const kerf_store *store,
                                            kerf_store_dir dir,
                                            const char *name,
                                            kerf_manifest *out);

/* store_seeds.c: bytes of other files of the store. Zeroed: none. */

typedef struct kerf_seed {
    uint64_t key;    /* first bytes of the unit's hash */
    uint64_t offset; /* in the file */
    uint32_t file;
} kerf_seed;

typedef struct kerf_seeds {
    kerf_seed *seed; /* sorted by key */
    size_t count, room;
    int *fd; /* of the files */
    size_t file_count, file_room;
} kerf_seeds;

/* Finds all units that the store's manifests tell of, in files that are there.
 * What it has not got the memory for is left out. */
void kerf_seeds_open(kerf_seeds *seeds, const kerf_store *store);
void kerf_seeds_close(kerf_seeds *seeds);
/* Copies that unit to offset of fd; false: none has it. */
bool kerf_seeds_copy(const kerf_seeds *seeds, const kerf_unit *unit, int fd,
                     uint64_t offset, kerf_sha256 *hash, uint8_t *step);

/* store_old.c: takes over what an older Kerf kept by name. */
void kerf_store_take_over(kerf_store *store);

#endif
