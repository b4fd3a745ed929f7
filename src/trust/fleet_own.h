/*
 * fleet_own.h - the inside of a kerf_fleet, for fleet*.c.
 */
#ifndef KERF_TRUST_FLEET_OWN_H
#define KERF_TRUST_FLEET_OWN_H

#include "base/fs.h"
#include "trust/fleet.h"

#include <openssl/x509.h>

struct kerf_fleet {
    char dir[KERF_PATH_MAX], authority[KERF_PATH_MAX];
    int lock;
    kerf_index index;
    /* Of the authorities in use, the oldest first; two at most. */
    X509 *cert[2];
    EVP_PKEY *key[2];
    size_t count;
};

/* fleet.c */
kerf_err kerf_fleet_new(kerf_fleet **out, const char *dir, kerf_detail *why);
kerf_err kerf_fleet_make_dir(const char *path, kerf_detail *why);
kerf_err kerf_fleet_lock(kerf_fleet *f, kerf_detail *why);
kerf_err kerf_fleet_save_index(kerf_fleet *f, kerf_detail *why);
void kerf_fleet_fill_times(const kerf_fleet_ask *ask, int64_t *from_s,
                           int64_t *until_s);
kerf_err kerf_fleet_fail_unknown(const kerf_fleet *f, const char *name,
                                 kerf_detail *why);

/* fleet_authority.c: number N of the folder to f->cert[at]. */
kerf_err kerf_fleet_load_authority(kerf_fleet *f, size_t at, unsigned number,
                                   kerf_detail *why);

/* fleet_revoke.c: whom to trust and whom no more, into the folder only, or,
 * NULL, into all that are there. */
kerf_err kerf_fleet_spread(kerf_fleet *f, const char *only, kerf_detail *why);

/* Marks them, for the next list. name: NULL: the one with that serial. Errors:
 * KERF_ETOOBIG: nothing is marked. */
kerf_err kerf_fleet_mark(kerf_fleet *f, const char *name,
                         const uint8_t serial[16], bool earlier, size_t *count,
                         kerf_detail *why);

#endif
