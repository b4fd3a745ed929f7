/*
 * store.h - the edge's folder of received models. A file is there whole and
 * verified, or not at all; a crash leaves nothing to clean by hand, and what
 * had come is not fetched again.
 *
 *     parts/HEX         a whole file, named by its SHA-256
 *     partial/HEX       one that comes in (HEX.1 where another process has it)
 *     partial/ID.json   the manifest of a bundle that comes in
 *     bundles/ID.json   of one whose shipped parts are all there, written last
 *     bundles/.used     in which order they were used
 *     NAME              links into parts/, for people; Kerf reads none
 *
 * Whoever writes a file has a lock on it (flock), and who runs a bundle has one
 * that its id gives (kerf_store_hold). Links are never followed, and whatever
 * else is in a file's place is put aside. Threads: one at a time; processes may
 * share a folder.
 */
#ifndef KERF_MODEL_STORE_H
#define KERF_MODEL_STORE_H

#include "model/bundle.h"

typedef struct kerf_store kerf_store;
typedef struct kerf_incoming kerf_incoming;
typedef struct kerf_hold kerf_hold;

/* Makes the folder, removes temporary files of dead processes, and takes over
 * what an older Kerf kept there by name. Who may run into a limit on file sizes
 * ignores SIGXFSZ. */
KERF_NODISCARD kerf_err kerf_store_open(kerf_store **out, const char *dir,
                                        kerf_detail *why);
/* The same for plain files alone: it makes no folders in it. */
KERF_NODISCARD kerf_err kerf_store_open_plain(kerf_store **out, const char *dir,
                                              kerf_detail *why);
/* One that is there, as it is: KERF_ENOENT: it is not a store. For the
 * functions below, "To look". */
KERF_NODISCARD kerf_err kerf_store_look(kerf_store **out, const char *dir,
                                        kerf_detail *why);
void kerf_store_close(kerf_store *store); /* accepts NULL */

/* Whether the part is there with its size and hash (reads the file). */
bool kerf_store_has(kerf_store *store, const kerf_file *file);

/* Ids of bundles whose manifest and shipped parts are there and verified, at
 * most cap. Returns the count. */
size_t kerf_store_bundles(kerf_store *store, uint8_t (*id)[KERF_BUNDLE_ID_LEN],
                          size_t cap);

/*
 * One part coming in; room for all of it is taken now. What came earlier and
 * what other files of the store have of it is there at once, as far as its
 * units tell (without units: all or nothing). Reads and hashes that: not for a
 * loop. store outlives it. file is copied, with its units.
 * Errors: KERF_EINVAL, KERF_ENOSPC, KERF_EIO (path and reason), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_incoming_open(kerf_incoming **out,
                                           kerf_store *store,
                                           const kerf_file *file,
                                           kerf_detail *why);
/* The first run of bytes at or behind from that is missing; len 0: none. It
 * ends where bytes follow that are there, or with the file. Also for another
 * thread than the one that writes, while that has it. */
void kerf_incoming_missing(const kerf_incoming *in, uint64_t from,
                           uint64_t *offset, uint64_t *len);
/*
 * Missing bytes, in their order: offset is that of the first missing one, and
 * they end within its run.
 * Errors: KERF_EPROTO (others), KERF_ETOOBIG (past the size), KERF_ENOSPC,
 * KERF_EIO.
 */
KERF_NODISCARD kerf_err kerf_incoming_write_at(kerf_incoming *in,
                                               uint64_t offset,
                                               const void *data, size_t len,
                                               kerf_detail *why);
/* Hashes what was written from offset on, so that commit has less to read.
 * data: those bytes, all of them written just now; NULL: they are read again,
 * as are bytes before them that were not hashed. Maybe on another thread than
 * the one that writes: on the one that commits. */
void kerf_incoming_hash(kerf_incoming *in, uint64_t offset, const void *data,
                        size_t len);
/* Bytes before the first missing one; false: they are not there, or cannot be
 * read. incoming: kerf_incoming *, as kerf_recall of codec/block.h wants it. */
bool kerf_incoming_recall(void *incoming, uint64_t offset, uint8_t *to,
                          size_t len);
uint64_t kerf_incoming_got(const kerf_incoming *in); /* bytes that are there */

typedef struct kerf_incoming_counts { /* bytes */
    uint64_t reused;                  /* of other files */
    uint64_t resumed;                 /* that came earlier */
    uint64_t received;                /* written */
} kerf_incoming_counts;

kerf_incoming_counts kerf_incoming_count(const kerf_incoming *in);

/* Checks size and hash (reads what was not hashed yet: not for a loop),
 * syncs and renames. KERF_ECORRUPT when they differ: units that are right stay
 * for the next time. The handle is gone in every case. */
KERF_NODISCARD kerf_err kerf_incoming_commit(kerf_incoming *in,
                                             kerf_detail *why);
void kerf_incoming_abort(kerf_incoming *in); /* keeps what came; accepts NULL */

/*
 * Before a bundle's parts are looked for: keeps the manifest as that of one
 * that comes in, so that what is there of it stays, and makes room for what is
 * not. Bundles that were used least lately go for it, when the store would be
 * larger than its bound, or the disk has not got the room; never one that a
 * process holds. tail: it comes, too. Errors: KERF_ENOSPC, KERF_EIO.
 */
KERF_NODISCARD kerf_err kerf_store_begin(kerf_store *store,
                                         const kerf_manifest *m, bool tail,
                                         kerf_detail *why);
/* How many bytes it may hold; 0: as many as the disk. */
void kerf_store_bound(kerf_store *store, uint64_t bytes);
/* At the start: removes what no bundle needs, and bundles beyond the bound, but
 * never this one; NULL: none. What cannot be done is left to later. */
void kerf_store_tidy(kerf_store *store, const uint8_t *but);

/*
 * Nobody takes the bundle away until kerf_hold_free(), or the end of the
 * process: not this one, no other one, whether it is there yet, replaced, or
 * running beside a newer one. Any thread; it outlives the store.
 * Errors: KERF_EBUSY (another process is at the store for very long),
 * KERF_ENOMEM, KERF_EIO.
 */
KERF_NODISCARD kerf_err kerf_store_hold(kerf_hold **out, kerf_store *store,
                                        const uint8_t id[KERF_BUNDLE_ID_LEN],
                                        kerf_detail *why);
void kerf_hold_free(kerf_hold *hold); /* accepts NULL; any thread */
/* A bundle that is there is about to run: it is the latest from now on. */
void kerf_store_use(kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN]);

/* After all shipped parts are committed: writes the manifest, and the links. It
 * comes in no longer: who is to run it has a hold of its own. */
KERF_NODISCARD kerf_err kerf_store_finish(kerf_store *store,
                                          const kerf_manifest *m,
                                          kerf_detail *why);
/* Reads the shipped parts of a bundle (head, card; the tail, too) and verifies
 * each hash. pair->manifest is a copy of m (probes and units left out). Errors:
 * KERF_EAGAIN (a part is not there, or not right, any more), KERF_ECORRUPT
 * (the card), KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_store_load(kerf_store *store,
                                        const kerf_manifest *m, bool tail,
                                        kerf_pair *pair, kerf_detail *why);
/* The manifest of that name, or with NULL any, that ran last; if none did, that
 * came last. Its parts need not be right. KERF_ENOENT: there is none ->
 * kerf_manifest_fini(). */
KERF_NODISCARD kerf_err kerf_store_latest(kerf_store *store, const char *name,
                                          kerf_manifest *out);
/* The manifest of that bundle, likewise. */
KERF_NODISCARD kerf_err kerf_store_find(kerf_store *store,
                                        const uint8_t id[KERF_BUNDLE_ID_LEN],
                                        kerf_manifest *out);

/* To look. */

typedef struct kerf_stored { /* a bundle */
    uint8_t id[KERF_BUNDLE_ID_LEN];
    char name[KERF_NAME_MAX]; /* of the model */
    uint64_t bytes;           /* of its shipped parts and tails that are here */
    uint64_t missing;         /* bytes of shipped parts */
    int64_t used_s;           /* since 1970; when it came or ran last */
    bool is_held;             /* a process runs it, or it comes in now */
    bool is_coming;           /* not yet whole */
} kerf_stored;

/* All bundles, used last first -> free(). *bytes: of all there is, parts that
 * several need once. */
KERF_NODISCARD kerf_err kerf_store_list(kerf_store *store, kerf_stored **out,
                                        size_t *count, uint64_t *bytes,
                                        kerf_detail *why);

/* What is wrong with what: "parts/HEX", "not the bytes of its name". */
typedef void (*kerf_store_finding)(void *ctx, const char *what,
                                   const char *why);
/* Reads all of it. Damaged parts are put where one that comes in is, so that
 * only what is damaged is fetched again; manifests that cannot be read go.
 * *checked: bytes of parts that are right. */
KERF_NODISCARD kerf_err kerf_store_verify(kerf_store *store,
                                          kerf_store_finding tell, void *ctx,
                                          uint64_t *checked, kerf_detail *why);

/* Removes what no bundle needs, and bundles that nobody holds, least lately
 * used first, until no more than the bound is left. freed: bytes; bundles.
 * Errors: KERF_ENOSPC (what is held is more), KERF_EBUSY. */
KERF_NODISCARD kerf_err kerf_store_collect(kerf_store *store, uint64_t bound,
                                           uint64_t *freed, size_t *bundles,
                                           kerf_detail *why);

/*
 * For peers that say neither hash nor unit (src/legacy): a plain file under its
 * name, whole or not at all. Nothing is known of it at the next start.
 * file->sha256 is not looked at. kerf_incoming_write_at() and _hash() from 0
 * on, then accept, which renames it, and gives its hash; abort leaves nothing.
 */
KERF_NODISCARD kerf_err kerf_incoming_open_plain(kerf_incoming **out,
                                                 kerf_store *store,
                                                 const kerf_file *file,
                                                 kerf_detail *why);
KERF_NODISCARD kerf_err kerf_incoming_accept(kerf_incoming *in,
                                             uint8_t sha256[KERF_SHA256_LEN],
                                             kerf_detail *why);
/* As kerf_store_load(), of plain files. */
KERF_NODISCARD kerf_err kerf_store_load_plain(kerf_store *store,
                                              const kerf_manifest *m,
                                              kerf_pair *pair,
                                              kerf_detail *why);

#endif
