/*
 * store_incoming_own.h - the inside of a file coming in: store_incoming.c opens
 * it, store_write.c writes it. Threads: store.h says which parts of it.
 */
#ifndef KERF_MODEL_STORE_INCOMING_OWN_H
#define KERF_MODEL_STORE_INCOMING_OWN_H

#include "model/store_own.h"

struct kerf_incoming {
    kerf_store *store;   /* borrowed */
    kerf_file file;      /* units: owned */
    uint64_t *end;       /* of each unit, in the file */
    bool *had;           /* of each unit: it was there from the first */
    _Atomic uint64_t at; /* the first byte that is missing */
    kerf_sha256 *hash;   /* of the bytes before hashed */
    uint64_t hashed;     /* of whoever hashes, like hash and step */
    uint8_t *step;       /* KERF_STORE_STEP bytes, or NULL */
    kerf_incoming_counts count;
    int fd;
    kerf_store_dir dir; /* of name; the root: a plain file */
    char name[KERF_STORE_NAME];
    bool is_bad; /* to be removed */
};

/* Past what was there from the first. */
void kerf_incoming_skip(kerf_incoming *in);
/* Whether the bytes there are unit i: of `from`, from which they are copied, or
 * of the file itself. step: KERF_STORE_STEP bytes. */
bool kerf_incoming_is_unit(const kerf_incoming *in, size_t i, int from,
                           uint8_t *step);

#endif
