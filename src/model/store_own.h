/*
 * store_own.h - the inside of the store: store.c (bundles), store_fs.c (files
 * in its folders), store_hold.c (locks), store_used.c (what was used when),
 * store_survey.c and store_gc.c (what stays), store_incoming.c (opens what
 * comes in), store_write.c (writes it), store_seeds.c, store_old.c.
 */
#ifndef KERF_MODEL_STORE_OWN_H
#define KERF_MODEL_STORE_OWN_H

#include "model/store.h"

#define KERF_STORE_FILES_MOST 65536 /* looked at in a folder */
#define KERF_STORE_BUNDLES_MOST 4096
#define KERF_STORE_BUNDLES_KEPT 1024 /* the least lately used go beyond */
#define KERF_STORE_NAME 80           /* HEX.json, a temporary one */
#define KERF_STORE_STEP ((size_t)256 << 10) /* read and hashed at once */
#define KERF_MANIFEST_END ".json"
#define KERF_STORE_USED ".used" /* in bundles/ */

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
    uint64_t bound;    /* bytes; 0: none */
    kerf_hold *coming; /* of what comes in; NULL: nothing does */
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

/* ID.json */
void kerf_store_bundle_name(char out[KERF_STORE_NAME],
                            const uint8_t id[KERF_BUNDLE_ID_LEN]);
/* False: not such a name. */
bool kerf_store_bundle_id(uint8_t id[KERF_BUNDLE_ID_LEN], const char *name);

/* store_hold.c */

/* As kerf_store_hold(), with the store's lock. */
KERF_NODISCARD kerf_err kerf_hold_take(kerf_hold **out, const kerf_store *store,
                                       const uint8_t id[KERF_BUNDLE_ID_LEN],
                                       kerf_detail *why);
/* Whether somebody has it, this process too. With the store's lock it stays so
 * that nobody does. */
bool kerf_store_is_held(const kerf_store *store,
                        const uint8_t id[KERF_BUNDLE_ID_LEN]);
/* One process at a time changes what bundles there are, or takes hold of one.
 * Errors: KERF_EBUSY (another one has been at it for very long), KERF_EIO. */
KERF_NODISCARD kerf_err kerf_store_lock(int *lock, const kerf_store *store,
                                        kerf_detail *why);
void kerf_store_unlock(int lock); /* -1: none */
/* Locks a file that nobody has; -1: somebody does, or it is no file. */
int kerf_store_try(const kerf_store *store, kerf_store_dir dir,
                   const char *name);

/* store_used.c */

typedef struct kerf_used_one {
    uint8_t id[KERF_BUNDLE_ID_LEN];
    uint64_t count; /* larger: later */
    bool ran;       /* else it only came */
} kerf_used_one;

typedef struct kerf_used {
    kerf_used_one *one;
    size_t count;
} kerf_used;

#define KERF_USED_MOST ((size_t)2 * KERF_STORE_BUNDLES_KEPT)

/* Lines that are none are passed over -> kerf_used_free(). KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_used_parse(kerf_used *used, const char *text,
                                        size_t len);
/* New text -> free(); NULL: no memory. */
char *kerf_used_format(const kerf_used *used);
/* What the store has of it, which may be nothing -> kerf_used_free(). */
KERF_NODISCARD kerf_err kerf_used_read(kerf_used *used,
                                       const kerf_store *store);
void kerf_used_free(kerf_used *used);
/* NULL: it has none of it. */
kerf_used_one *kerf_used_find(const kerf_used *used,
                              const uint8_t id[KERF_BUNDLE_ID_LEN]);
/* With the store's lock: it ran, or came anew, later than all others. That it
 * cannot be kept is passed over. */
void kerf_used_note(const kerf_store *store,
                    const uint8_t id[KERF_BUNDLE_ID_LEN], bool ran);

/* store_survey.c: all that is there. */

typedef struct kerf_listed { /* one manifest, by its name alone */
    kerf_store_dir dir;
    char name[KERF_STORE_NAME];
    uint64_t used; /* of the record: larger is later; 0: it has none */
    int64_t used_ns;
} kerf_listed;

/* Least lately used first; also those that cannot be read. New -> free().
 * Errors: KERF_ETOOBIG, KERF_ENOMEM, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_survey_list(const kerf_store *store,
                                         kerf_listed **out, size_t *count);

typedef struct kerf_found { /* one manifest */
    kerf_store_dir dir;
    char name[KERF_STORE_NAME];
    int64_t used_ns;
    kerf_manifest manifest; /* without units and probes */
} kerf_found;

typedef struct kerf_survey {
    kerf_found *found; /* least lately used first */
    size_t count, room;
} kerf_survey;

/* Those that cannot be read are left out. Errors: KERF_ETOOBIG (more than
 * KERF_STORE_BUNDLES_MOST), KERF_ENOMEM, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_survey_make(kerf_survey *survey,
                                         const kerf_store *store);
void kerf_survey_free(kerf_survey *survey);
/* Whether some manifest but `but` needs the part of these 64 hex digits. */
bool kerf_survey_needs(const kerf_survey *survey, const char *hex,
                       const kerf_found *but);
/* 64 hex digits, and nothing or ".json" or ".N" behind them, as `more` says. */
bool kerf_store_is_hex(const char *name, const char **more);
/* When a manifest was last used: its time. 0: it is not there. */
int64_t kerf_store_used_ns(const kerf_store *store, kerf_store_dir dir,
                           const char *name);
/* Bytes of what stands there; 0: no file. */
uint64_t kerf_store_size(const kerf_store *store, kerf_store_dir dir,
                         const char *name);

/* store_gc.c: both with the store's lock. */

typedef struct kerf_freed {
    uint64_t bytes;
    size_t bundles, files;
} kerf_freed;

/* Bytes of all that is there, manifests too. Errors: KERF_ETOOBIG (files that
 * cannot be Kerf's), KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_store_measure(const kerf_store *store,
                                           uint64_t *bytes, kerf_detail *why);
/* Removes what no manifest needs, and names that lead nowhere. */
void kerf_store_sweep(const kerf_store *store, kerf_freed *freed);
/* Makes room for `need` bytes more, and for one bundle more if need is not 0;
 * but is not to go, may be NULL. Errors: KERF_ENOSPC, KERF_ETOOBIG,
 * KERF_ENOMEM, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_store_room(const kerf_store *store, uint64_t bound,
                                        uint64_t need, const char *but,
                                        kerf_freed *freed, kerf_detail *why);

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

/* Finds all units that the store's manifests tell of, in files that are there;
 * not in the one that comes in: what is right of it stays where it is. What it
 * has not got the memory for is left out. */
void kerf_seeds_open(kerf_seeds *seeds, const kerf_store *store,
                     const kerf_file *in);
void kerf_seeds_close(kerf_seeds *seeds);
/* Copies that unit to offset of fd; false: none has it. */
bool kerf_seeds_copy(const kerf_seeds *seeds, const kerf_unit *unit, int fd,
                     uint64_t offset, kerf_sha256 *hash, uint8_t *step);

/* store_old.c: takes over what an older Kerf kept by name. */
void kerf_store_take_over(kerf_store *store);

#endif
