/*
 * hash.h - SHA-256 for files and identities (OpenSSL), XXH3-64 for frames
 * (xxHash). Threads: one owner per state.
 */
#ifndef KERF_BASE_HASH_H
#define KERF_BASE_HASH_H

#include "kerf/err.h"

#include <stddef.h>
#include <stdint.h>

#define KERF_SHA256_LEN 32
#define KERF_SHA256_HEX 65 /* 64 digits and the end */

typedef struct kerf_sha256 kerf_sha256;

KERF_NODISCARD kerf_err kerf_sha256_new(kerf_sha256 **out);
void kerf_sha256_add(kerf_sha256 *h, const void *data, size_t len);
/* The digest of all bytes added; the state starts anew. */
void kerf_sha256_end(kerf_sha256 *h, uint8_t out[KERF_SHA256_LEN]);
void kerf_sha256_free(kerf_sha256 *h); /* accepts NULL */

/* Lower-case hex of len bytes into out[2 * len + 1]. */
void kerf_hex(char *out, const uint8_t *data, size_t len);
/* False unless text is exactly 2 * len hex digits. */
int kerf_unhex(uint8_t *out, size_t len, const char *text);

uint64_t kerf_xxh3(const void *data, size_t len);
uint64_t kerf_xxh3_seed(const void *data, size_t len, uint64_t seed);

/* The same in parts. */
typedef struct kerf_xxh3_state kerf_xxh3_state;
kerf_xxh3_state *kerf_xxh3_new(void); /* NULL: no memory */
void kerf_xxh3_begin(kerf_xxh3_state *h, uint64_t seed);
void kerf_xxh3_add(kerf_xxh3_state *h, const void *data, size_t len);
uint64_t kerf_xxh3_end(kerf_xxh3_state *h);
void kerf_xxh3_free(kerf_xxh3_state *h); /* accepts NULL */

#endif
