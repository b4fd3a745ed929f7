/*
 * fleet_index.h - what an authority has made, as text. Buffers only.
 *
 *     kerf-fleet 1 LIST OLDEST NEWEST
 *     SERIAL SIDE NAME ISSUER FROM UNTIL REVOKED HOST,...
 *
 * LIST counts the lists of revoked certificates, OLDEST to NEWEST are the
 * authorities in use, times are seconds since 1970, REVOKED 0 is not, "-" is no
 * host.
 * Threads: one per index.
 */
#ifndef KERF_TRUST_FLEET_INDEX_H
#define KERF_TRUST_FLEET_INDEX_H

#include "trust/cert.h"

#define KERF_AUTHORITY_MOST 100000u
#define KERF_ISSUED_MAX 1000000u
#define KERF_HOSTS_TEXT 2048 /* with commas and the end */
#define KERF_INDEX_MOST ((size_t)256 << 20)

typedef struct kerf_issued {
    uint8_t serial[16];
    kerf_side side;
    char name[KERF_CERT_NAME];
    unsigned issuer;
    int64_t from_s, until_s, revoked_s;
    char *hosts; /* "a,b"; "": none; owned */
} kerf_issued;

typedef struct kerf_index {
    uint64_t list;
    unsigned oldest, newest;
    kerf_issued *issued; /* in the order in which they were made */
    size_t count;
} kerf_index;

/* *index is zeroed, and stays so on error. Errors: KERF_ECORRUPT (with the
 * line), KERF_ENOMEM. text[len] is 0. */
KERF_NODISCARD kerf_err kerf_index_parse(kerf_index *index, const char *text,
                                         size_t len, kerf_detail *why);
/* Free *text. */
KERF_NODISCARD kerf_err kerf_index_format(const kerf_index *index, char **text,
                                          size_t *len);
/* Copies what it is given. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_index_add(kerf_index *index,
                                       const kerf_issued *issued);
/* The last one of that name, or NULL. */
kerf_issued *kerf_index_find(const kerf_index *index, const char *name);
void kerf_index_free(kerf_index *index); /* zeroes it */

#endif
