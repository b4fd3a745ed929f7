/*
 * spool.h - records on disk, in order, for when the cloud is away. Each is a
 * file of its own, NNNNNNNNNNNNNNNN.req, that is there whole or not at all: it
 * is written under another name, synced and renamed, and it begins with a hash
 * of the rest. Nothing else has to be right after a crash.
 * Threads: any; one process has a folder at a time.
 */
#ifndef KERF_EDGE_SPOOL_H
#define KERF_EDGE_SPOOL_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kerf_spool kerf_spool;

/* Makes the folder; records of before are there. most: bytes of all. Errors:
 * KERF_EBUSY (another process has it), KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_spool_open(kerf_spool **out, const char *dir,
                                        uint64_t most, kerf_detail *why);
void kerf_spool_close(kerf_spool *s); /* accepts NULL; records stay */

/* A record at the end. The first KERF_SPOOL_HEAD bytes of data are room for the
 * hash. Errors: KERF_ETOOBIG (the bound is reached, or it is larger than that),
 * KERF_ENOSPC (the disk is full), KERF_EIO. */
#define KERF_SPOOL_HEAD 16
#define KERF_SPOOL_RECORD_MAX ((size_t)3 << 30) /* a payload, with room */
KERF_NODISCARD kerf_err kerf_spool_add(kerf_spool *s, uint8_t *data, size_t len,
                                       uint64_t *seq, kerf_detail *why);

/* Whether a record of that length can be there at all. */
bool kerf_spool_holds(const kerf_spool *s, size_t len);

/* The oldest one that is not taken, which now is; false: there is none. */
bool kerf_spool_take(kerf_spool *s, uint64_t *seq);
/* Its bytes -> free(); the record is behind the first KERF_SPOOL_HEAD. Errors:
 * KERF_ECORRUPT (not what was written), KERF_ENOENT; those that may pass:
 * KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_spool_read(kerf_spool *s, uint64_t seq,
                                        uint8_t **data, size_t *len,
                                        kerf_detail *why);
void kerf_spool_give_back(kerf_spool *s, uint64_t seq); /* not taken */
void kerf_spool_remove(kerf_spool *s, uint64_t seq);

/* None is taken any more, but these. */
void kerf_spool_release(kerf_spool *s, const uint64_t *but, size_t count);

size_t kerf_spool_count(kerf_spool *s); /* taken ones, too */
uint64_t kerf_spool_bytes(kerf_spool *s);
/* Records with a lower number were there at the start. */
uint64_t kerf_spool_first_new(const kerf_spool *s);

#endif
