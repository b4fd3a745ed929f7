/*
 * signature.h - what a signature says of a bundle (kerf sign). Threads: values.
 */
#ifndef KERF_SIGNATURE_H
#define KERF_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All text is safe to print; times are UTC, as 2027-02-28T12:00:00Z. */
typedef struct kerf_signature {
    int64_t version;       /* from 1 */
    int64_t rollback_from; /* 0: it permits no way back */
    char issued[21], expires[21];
    char key[17]; /* the first 16 digits of its SHA-256 */
    bool
        checked; /* with a key that is trusted; else anybody may have made it */
} kerf_signature;

#ifdef __cplusplus
}
#endif
#endif
