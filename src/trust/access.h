/*
 * access.h - which models an edge may have: a text file in the cloud's folder.
 *
 *     # NAME   MODEL...
 *     door-*   digits  resnet*
 *     *        digits
 *
 * The first line whose NAME fits counts; without one the edge may have none. In
 * names * is any number of characters, ? one.
 * Threads: any, read only once parsed. Buffers only.
 */
#ifndef KERF_TRUST_ACCESS_H
#define KERF_TRUST_ACCESS_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>

#define KERF_ACCESS_MOST ((size_t)1 << 20) /* bytes */
#define KERF_ACCESS_WORD 127               /* bytes of a word, at most */

typedef struct kerf_access kerf_access;

/* Errors: KERF_EINVAL (with the line), KERF_ETOOBIG, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_access_parse(kerf_access **out, const char *text,
                                          size_t len, kerf_detail *why);
/* Of NULL: NULL. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_access_copy(kerf_access **out,
                                         const kerf_access *from);
void kerf_access_free(kerf_access *access); /* accepts NULL */
/* access NULL: there is no such file, and everything is allowed. */
bool kerf_access_allows(const kerf_access *access, const char *name,
                        const char *model);

#endif
