/*
 * ed25519.h - keys that sign, and keys that check: Ed25519 by OpenSSL, in PEM
 * files that `openssl pkey` reads, too.
 *
 *     FILE       the secret one, 0600
 *     FILE.pub   the public one, for everybody
 *
 * Threads: values; a secret key belongs to one at a time.
 */
#ifndef KERF_TRUST_ED25519_H
#define KERF_TRUST_ED25519_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_ED25519_LEN 32      /* bytes of a public key */
#define KERF_ED25519_SIG 64      /* bytes of a signature */
#define KERF_KEY_ID_LEN 8        /* the first of its SHA-256: for people */
#define KERF_KEY_ID_HEX 17       /* and as text, with the end */
#define KERF_KEY_FILE_MAX 16384u /* bytes of a PEM file */

typedef struct kerf_secret_key kerf_secret_key;

typedef struct kerf_public_key {
    uint8_t bytes[KERF_ED25519_LEN];
    uint8_t id[KERF_KEY_ID_LEN];
} kerf_public_key;

/* Makes a pair and writes it to path and path.pub. Neither may be there.
 * Errors: KERF_EINVAL (there is one), KERF_EIO, KERF_ENOSPC, KERF_ENOMEM; then
 * neither file is left. */
KERF_NODISCARD kerf_err kerf_key_make(const char *path, kerf_public_key *out,
                                      kerf_detail *why);
/* Errors: those of kerf_fs_read(), KERF_EINVAL when others may read the file
 * or it is no such key. *public is the other half. */
KERF_NODISCARD kerf_err kerf_secret_key_read(kerf_secret_key **out,
                                             const char *path,
                                             kerf_public_key *public,
                                             kerf_detail *why);
void kerf_secret_key_free(kerf_secret_key *key); /* accepts NULL */
KERF_NODISCARD kerf_err kerf_sign(const kerf_secret_key *key, const void *data,
                                  size_t len, uint8_t sig[KERF_ED25519_SIG],
                                  kerf_detail *why);

/* pem[0..len): the text of a .pub file. Errors: KERF_EINVAL, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_public_key_parse(kerf_public_key *out,
                                              const void *pem, size_t len,
                                              kerf_detail *why);
KERF_NODISCARD kerf_err kerf_public_key_read(kerf_public_key *out,
                                             const char *path,
                                             kerf_detail *why);
/* False also when memory runs out. */
bool kerf_verify(const kerf_public_key *key, const void *data, size_t len,
                 const uint8_t sig[KERF_ED25519_SIG]);

#endif
