/*
 * pem.h - files with keys and certificates: bounded, regular, with the right
 * modes. A file may be a symbolic link; what it leads to is what counts.
 * Threads: any.
 */
#ifndef KERF_TRUST_PEM_H
#define KERF_TRUST_PEM_H

#include "trust/cert.h"

#define KERF_PEM_MOST ((size_t)64 << 10)
#define KERF_CRL_MOST ((size_t)4 << 20)
#define KERF_REVOKED_MAX 75000u /* certificates; at 53 bytes they fit */

/* The bytes of DIR/name (free(): kerf_pem_free(), which clears them). A secret
 * must not be readable or writable for others; when it belongs to another user
 * than root or this one, a line in the log says so. Errors:
 * KERF_ENOENT, KERF_EINVAL (no regular file; its mode), KERF_ETOOBIG. */
typedef struct kerf_pem {
    uint8_t *data;
    size_t len;
} kerf_pem;

KERF_NODISCARD kerf_err kerf_pem_read(kerf_pem *out, const char *dir,
                                      const char *name, size_t most,
                                      bool secret, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pem_read_path(kerf_pem *out, const char *path,
                                           size_t most, bool secret,
                                           kerf_detail *why);
void kerf_pem_free(kerf_pem *pem); /* zeroes it */

/* most: up to KERF_AUTHORITIES_MAX. Errors of these: KERF_ECORRUPT, with what
 * is wrong; path is for the line. */
#define KERF_AUTHORITIES_MAX 8 /* in one file */
KERF_NODISCARD kerf_err kerf_pem_certs(struct x509_st **out, size_t most,
                                       size_t *count, const kerf_pem *pem,
                                       const char *path, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pem_crls(struct X509_crl_st **out, size_t most,
                                      size_t *count, const kerf_pem *pem,
                                      const char *path, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pem_key(struct evp_pkey_st **out,
                                     const kerf_pem *pem, const char *path,
                                     kerf_detail *why);

/* Writes them whole or not at all; a key with mode 0600. */
KERF_NODISCARD kerf_err kerf_pem_write_key(const char *dir, const char *name,
                                           struct evp_pkey_st *key,
                                           kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pem_write_certs(const char *dir, const char *name,
                                             struct x509_st *const *list,
                                             size_t count, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pem_write_crls(const char *dir, const char *name,
                                            struct X509_crl_st *const *list,
                                            size_t count, kerf_detail *why);

#endif
