/*
 * store.h - the edge's folder of received models. Files appear whole, verified
 * and under their name, or not at all; a crash leaves nothing to clean by hand.
 *
 * A part is written to `.kerf-PID-N.tmp` (locked as long as its writer lives),
 * hashed on the way, synced, and renamed. NAME.manifest.json is written last:
 * it says that all are there. Threads: one owner; processes may share a folder.
 */
#ifndef KERF_MODEL_STORE_H
#define KERF_MODEL_STORE_H

#include "model/bundle.h"

typedef struct kerf_store kerf_store;
typedef struct kerf_incoming kerf_incoming;

/* Makes the folder, removes temporary files of dead processes. Who may run into
 * a limit on file sizes ignores SIGXFSZ. */
KERF_NODISCARD kerf_err kerf_store_open(kerf_store **out, const char *dir,
                                        kerf_detail *why);
void kerf_store_close(kerf_store *store); /* accepts NULL */

/* Whether the part is there with its size and hash (reads the file). */
bool kerf_store_has(kerf_store *store, const kerf_file *file);

/* Ids of bundles whose manifest and shipped parts are there and verified, at
 * most cap. Returns the count. */
size_t kerf_store_bundles(kerf_store *store, uint8_t (*id)[KERF_BUNDLE_ID_LEN],
                          size_t cap);

/* One part coming in; room for all of it is taken now. store outlives it.
 * Errors: KERF_EINVAL, KERF_ENOSPC, KERF_EIO (path and reason). */
KERF_NODISCARD kerf_err kerf_incoming_open(kerf_incoming **out,
                                           kerf_store *store,
                                           const kerf_file *file,
                                           kerf_detail *why);
/* Bytes in order. KERF_ETOOBIG past the size, KERF_ENOSPC, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_incoming_write(kerf_incoming *in, const void *data,
                                            size_t len, kerf_detail *why);
/* Bytes that were written before; false: they were not, or cannot be read.
 * incoming: kerf_incoming *, as kerf_recall of codec/block.h wants it. */
bool kerf_incoming_recall(void *incoming, uint64_t offset, uint8_t *to,
                          size_t len);
uint64_t kerf_incoming_got(const kerf_incoming *in); /* bytes so far */
/* Checks size and hash, syncs and renames. KERF_ECORRUPT when they differ. The
 * handle is gone in every case. */
KERF_NODISCARD kerf_err kerf_incoming_commit(kerf_incoming *in,
                                             kerf_detail *why);
/* As commit, for a peer that gives no hash: any bytes of the size are taken,
 * file->sha256 was not looked at and sha256 becomes theirs. */
KERF_NODISCARD kerf_err kerf_incoming_accept(kerf_incoming *in,
                                             uint8_t sha256[KERF_SHA256_LEN],
                                             kerf_detail *why);
void kerf_incoming_abort(kerf_incoming *in); /* accepts NULL */

/* After all shipped parts are committed: writes NAME.manifest.json. */
KERF_NODISCARD kerf_err kerf_store_finish(kerf_store *store,
                                          const kerf_manifest *m,
                                          kerf_detail *why);
/* Reads the shipped parts of a bundle (head, card; the tail, too) and verifies
 * each hash. pair->manifest is a copy of m (probes left out). */
KERF_NODISCARD kerf_err kerf_store_load(kerf_store *store,
                                        const kerf_manifest *m, bool tail,
                                        kerf_pair *pair, kerf_detail *why);
/* The manifest of that name, or with NULL the one that came last; its parts
 * need not be right. KERF_ENOENT: there is none -> kerf_manifest_fini(). */
KERF_NODISCARD kerf_err kerf_store_latest(kerf_store *store, const char *name,
                                          kerf_manifest *out);

#endif
