/*
 * ran.h - which versions have run, so that no older one runs again: a small
 * file in the edge's store, STORE/ran.json.
 *
 * Of each model: the statement that is in force, and the highest version that
 * ran or was rolled back from. A statement may run when
 *
 *     its version is higher than that,
 *     or it is the version and the bundle in force (signed anew, mostly),
 *     or it permits to go back from that version (rollback_from) and was issued
 *     after the one in force: so an old permission is of no use again.
 *
 * A file that is damaged is an error and not an empty one. Who can write the
 * store can delete it, though: docs/SECURITY.md.
 * Threads: any, and processes, too: each call locks the folder.
 */
#ifndef KERF_TRUST_RAN_H
#define KERF_TRUST_RAN_H

#include "trust/statement.h"

#define KERF_RAN_FILE "ran.json"

/* May it run? Errors: KERF_EDENIED (why says what ran); KERF_ECORRUPT (the
 * file), KERF_EIO, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_ran_allows(const char *dir,
                                        const kerf_statement *s,
                                        kerf_detail *why);
/* The same, and then it is in force, on disk and synced. */
KERF_NODISCARD kerf_err kerf_ran_add(const char *dir, const kerf_statement *s,
                                     kerf_detail *why);
/* The bundle in force of that model; false: none, or it cannot be read. */
bool kerf_ran_bundle(const char *dir, const char *model,
                     uint8_t bundle[KERF_STATEMENT_BUNDLE]);

#endif
