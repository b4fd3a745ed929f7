/*
 * fresh.h - files that appear in a folder together and whole, or not at all.
 *
 *     kerf_fresh_open() -> kerf_fresh_claim() every name
 *         -> kerf_fresh_add() ... -> kerf_fresh_commit() -> kerf_fresh_fini()
 *
 * Until the commit they stand under temporary names that begin with a dot,
 * which nobody who looks for models sees. Nothing is synced: what a power cut
 * takes can be made again.
 * Threads: one owner.
 */
#ifndef KERF_CUT_FRESH_H
#define KERF_CUT_FRESH_H

#include "base/fs.h"
#include "base/hash.h"
#include "base/rope.h"
#include "model/bundle.h"

#define KERF_FRESH_MAX 8

typedef struct kerf_fresh_file {
    char name[KERF_PART_NAME];
    char temp[KERF_PATH_MAX]; /* where it is now */
    uint64_t size;
    uint8_t sha256[KERF_SHA256_LEN];
} kerf_fresh_file;

typedef struct kerf_fresh {
    char dir[KERF_PATH_MAX];
    bool made_dir;
    bool force; /* may take the place of files that are there */
    bool is_committed;
    kerf_fresh_file file[KERF_FRESH_MAX];
    size_t count;
} kerf_fresh;

/* Makes the folder when it is not there. Errors: those of kerf_fs_mkdirs(). */
KERF_NODISCARD kerf_err kerf_fresh_open(kerf_fresh *f, const char *dir,
                                        bool force, kerf_detail *why);
/* Whether a file of that name may be written. Errors: KERF_EINVAL (one is there
 * already, or no regular file is), KERF_ETOOBIG. */
KERF_NODISCARD kerf_err kerf_fresh_claim(const kerf_fresh *f, const char *name,
                                         kerf_detail *why);
typedef struct kerf_fresh_item {
    const char *name;
    const kerf_rope *rope;
    bool hash; /* fills kerf_fresh_file.sha256 */
} kerf_fresh_item;

/* Writes them, and hashes in threads of its own, which have ended when it
 * returns. Errors: KERF_ENOSPC, KERF_EIO, KERF_ENOMEM, those of
 * kerf_fresh_claim(). */
KERF_NODISCARD kerf_err kerf_fresh_add(kerf_fresh *f,
                                       const kerf_fresh_item *item,
                                       size_t count, kerf_detail *why);
/* Gives every file its name, in the order of adding. After an error those that
 * have theirs are removed again. */
KERF_NODISCARD kerf_err kerf_fresh_commit(kerf_fresh *f, kerf_detail *why);
/* Removes what is not committed, and the folder when it was made for it. Only
 * calls that a signal handler may make. */
void kerf_fresh_fini(kerf_fresh *f);

#endif
